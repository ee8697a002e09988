"""Named arrays with text metadata in one safetensors file, written all or nothing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from operator import index
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .errors import DataError, MissingExtra, install
from .files import existing, replacing
from .types import Array


def save_tensors(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays and metadata; an earlier file at ``path`` stays whole unless all went well.

    Raises:
        MissingExtra: safetensors is not installed.
        OSError: the file cannot be written.
    """
    _need_safetensors()
    from safetensors.numpy import save

    data = save({name: np.array(a, order="C") for name, a in arrays.items()}, dict(metadata))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Read arrays and metadata.

    The arrays lie side by side in one piece of memory, into which the file is read as it stands:
    nothing is in memory twice, and what happens to the file later does not matter.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: not a safetensors file, or a damaged one.
    """
    name = existing(path)
    try:
        with open(name, "rb") as file:
            entries, metadata, nbytes = _read_header(file)
            data = np.empty(nbytes, np.uint8)
            if file.readinto(data.data) != nbytes:
                raise ValueError("the file ends before its arrays do")
        return {entry.name: entry.array(data) for entry in entries}, metadata
    except DataError:
        raise  # which is a ValueError too
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{name} is not a safetensors file, or is damaged",
            fix="load a file that save wrote, or an earlier checkpoint",
        ) from error


# The types that NumPy has, by the names of the format.
_DTYPES = {
    "BOOL": "?",
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


class _Entry(NamedTuple):
    """What the header says of an array: where its bytes begin and end behind the header."""

    start: int
    end: int
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def array(self, data: Array) -> Array:
        """The array, as a view of the bytes of all arrays."""
        found = data[self.start : self.end].view(self.dtype).reshape(self.shape)
        return found if found.flags.aligned else found.copy()


def _read_header(file: BinaryIO) -> tuple[list[_Entry], dict[str, str], int]:
    """The arrays in the order of the file, the metadata, and how many bytes the arrays have.

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
    fields = json.loads(file.read(length))
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
    return entries, metadata, end


def _entry(file: str, name: str, dtype: str, shape: list[int], data_offsets: list[int]) -> _Entry:
    if dtype not in _DTYPES:
        raise DataError(
            f"{file} holds {name} as {dtype}, a type that NumPy does not have",
            fix="save the weights as float32",
        )
    start, end = data_offsets
    return _Entry(start, end, name, np.dtype(_DTYPES[dtype]), tuple(map(index, shape)))


def _need_safetensors() -> None:
    import importlib.util

    if importlib.util.find_spec("safetensors") is None:
        raise MissingExtra(
            "saving needs safetensors, which is not installed", fix=install("safetensors")
        )
