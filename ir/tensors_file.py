"""Named arrays with text metadata in one safetensors file, written all or nothing."""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Mapping
from operator import index
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .errors import DataError, MissingExtra, install
from .files import existing, read_into, replacing
from .types import Array, DType


def save_tensors(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays and metadata; an earlier file at ``path`` stays whole unless all went well.

    The metadata get a checksum of the whole file, which :func:`load_tensors` compares.

    Raises:
        MissingExtra: safetensors is not installed.
        OSError: the file cannot be written.
    """
    _need_safetensors()
    from safetensors.numpy import save

    zeros = {**metadata, CHECKSUM: f"{0:08x}"}
    data = save({name: np.array(a, order="C") for name, a in arrays.items()}, zeros)
    start = 8 + int.from_bytes(data[:8], "little")
    found = checksum(data[8:start], np.frombuffer(data, np.uint8, offset=start))
    data = _DIGITS.sub(found.encode(), data, count=1)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Read arrays and metadata.

    The arrays lie side by side in one piece of memory, into which the file is read as it stands:
    nothing is in memory twice, and what happens to the file later does not matter. Bfloat16, which
    NumPy does not have, becomes float32.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: not a safetensors file, or a damaged one: a file with a checksum, as
            :func:`save_tensors` writes, of which a bit has changed.
    """
    name = existing(path)
    try:
        with open(name, "rb") as file:
            header, entries, metadata, nbytes = _read_header(file)
            data = np.empty(nbytes, np.uint8)
            if read_into(file, data.data) != nbytes:
                raise ValueError("the file ends before its arrays do")
        written = metadata.pop(CHECKSUM, None)
        if written is not None and written != checksum(header, data):
            raise DataError(
                f"{name} is damaged: bits of its {len(entries)} arrays, or of what it says of "
                "them, have changed since it was written",
                fix="take another copy of the file, or an earlier checkpoint; who has changed it "
                f"on purpose leaves {CHECKSUM!r} out of its metadata",
            )
        return {entry.name: entry.array(data) for entry in entries}, metadata
    except DataError:
        raise  # which is a ValueError too
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _refusal(name) from error


_TORCH = (
    "is a file of PyTorch, and such files can run any code when they are opened",
    "let PyTorch read it: models.load_torch_weights(model, "
    "torch.load({name!r}, map_location='cpu', weights_only=True))",
)
_NPZ = ("is a file of NumPy", "take its arrays: model.load_state_dict(dict(np.load({name!r})))")
_HDF5 = (
    "is a file of Keras",
    "let Keras read it, and give its arrays to model.load_state_dict by the names of the model",
)
_ONNX = ("is an ONNX file", "cauce.load_onnx({name!r}) reads it")
_BY_ENDING = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin", ".pkl"), _TORCH),
    ".npz": _NPZ,
    **dict.fromkeys((".h5", ".keras", ".hdf5"), _HDF5),
    ".onnx": _ONNX,
}


def _refusal(name: str) -> DataError:
    """What to say of a file that is no safetensors file: that of another program, by its ending,
    or a damaged one."""
    ending = os.path.splitext(name)[1].lower()
    if ending in _BY_ENDING:
        what, fix = _BY_ENDING[ending]
        return DataError(f"{name} {what}", fix=fix.format(name=name))
    return DataError(
        f"{name} is not a safetensors file, or is damaged",
        fix="load a file that save wrote, or an earlier checkpoint",
    )


# ---- checksums ---------------------------------------------------------------------------------

CHECKSUM = "checksum"  # its name in the metadata
_DIGITS = re.compile(b'(?<="checksum":")[0-9a-f]{8}(?=")')  # quotes within text have a backslash
_WORDS = 512  # in a block


def checksum(header: bytes, data: Array) -> str:
    """Eight hexadecimal digits that depend on every bit of a file.

    They are the CRC-32 of the header (with zeros in the place of these digits), of the sum of each
    block of 512 words of 64 bits, modulo 2**64, and of the bytes behind the last whole block. (The
    sums take a sixth of the time that the CRC of all bytes would.)

    Args:
        header: the header's text.
        data: the bytes of all arrays, u8[n].
    """
    blocks = len(data) // (8 * _WORDS)
    words = data[: blocks * 8 * _WORDS].view("<u8").reshape(blocks, _WORDS)
    crc = zlib.crc32(_DIGITS.sub(b"00000000", header, count=1))
    crc = zlib.crc32(words.sum(axis=1, dtype=np.uint64).astype("<u8").tobytes(), crc)
    return f"{zlib.crc32(data[words.nbytes :].tobytes(), crc):08x}"


# ---- the format --------------------------------------------------------------------------------

# The types that NumPy has, by the names of the format.
_BF16 = "BF16"  # the upper halves of float32: read as such, every value as it is
_DTYPES = {
    **{dtype.value.upper(): dtype.numpy.newbyteorder("<") for dtype in DType},
    _BF16: np.dtype("<u2"),
}


class _Entry(NamedTuple):
    """What the header says of an array: where its bytes begin and end behind the header."""

    start: int
    end: int
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    widened: bool

    def array(self, data: Array) -> Array:
        """The array, as a view of the bytes of all arrays."""
        found = data[self.start : self.end].view(self.dtype).reshape(self.shape)
        if self.widened:
            return np.asarray(found.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return found if found.flags.aligned else found.copy()


def _read_header(file: BinaryIO) -> tuple[bytes, list[_Entry], dict[str, str], int]:
    """Its text, the arrays in the order of the file, the metadata, and how many bytes they have.

    The file begins with the length of the header, eight bytes, and the header, in JSON; the arrays
    follow without gaps (the format: github.com/huggingface/safetensors).

    Raises:
        ValueError, TypeError, AttributeError, RecursionError: it is otherwise.
        DataError: an array of a type that NumPy does not have.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise ValueError("the file ends before its header does")
    header = file.read(length)
    fields = json.loads(header)
    metadata = fields.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("metadata is text")
    entries = sorted(_entry(file.name, key, **entry) for key, entry in fields.items())
    end = 0
    for entry in entries:
        count = math.prod(entry.shape)
        if entry.start != end or entry.end != end + count * entry.dtype.itemsize or count < 0:
            raise ValueError(f"{entry.name} does not lie where it should")
        end = entry.end
    if end != size - 8 - length:
        raise ValueError("the file does not end where its arrays do")
    return header, entries, metadata, end


def _entry(file: str, name: str, dtype: str, shape: list[int], data_offsets: list[int]) -> _Entry:
    if dtype not in _DTYPES:
        raise DataError(
            f"{file} holds {name} as {dtype}, a type that NumPy does not have",
            fix="save the weights as float32",
        )
    start, end = data_offsets
    sizes = tuple(map(index, shape))
    return _Entry(start, end, name, _DTYPES[dtype], sizes, dtype == _BF16)


def _need_safetensors() -> None:
    import importlib.util

    if importlib.util.find_spec("safetensors") is None:
        raise MissingExtra(
            "saving needs safetensors, which is not installed", fix=install("safetensors")
        )
