"""Element types and arrays as ONNX writes them, in a model or in a file beside it.

The messages: github.com/onnx/onnx, onnx.proto (``TensorProto``) and docs/ExternalData.md. They are
read by their field names alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from ..errors import DataError, UnsupportedOp, shown
from ..types import Array, DType

# TensorProto.DataType by DType.
NUMBERS: dict[DType, int] = {
    DType.F32: 1,
    DType.U8: 2,
    DType.I8: 3,
    DType.U16: 4,
    DType.I16: 5,
    DType.I32: 6,
    DType.I64: 7,
    DType.BOOL: 9,
    DType.F16: 10,
    DType.F64: 11,
    DType.U32: 12,
    DType.U64: 13,
    DType.BF16: 16,
}
_BY_NUMBER = {number: dtype for dtype, number in NUMBERS.items()}
# By name, for the message.
_OTHERS = {
    8: "string",
    14: "complex64",
    15: "complex128",
    17: "float8e4m3fn",
    18: "float8e4m3fnuz",
    19: "float8e5m2",
    20: "float8e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4e2m1",
    24: "float8e8m0",
    25: "uint2",
    26: "int2",
    27: "float6e2m3",
    28: "float6e3m2",
}
# The field that holds the elements where raw_data does not, int32_data else.
_FIELDS = {
    DType.F32: "float_data",
    DType.F64: "double_data",
    DType.I64: "int64_data",
    DType.U32: "uint64_data",
    DType.U64: "uint64_data",
}
_ELEMENTS = {"float_data": np.float32, "double_data": np.float64, "uint64_data": np.uint64}
_EXTERNAL = 1  # TensorProto.DataLocation
# The most elements of an array that is made from less, so that a small file stays small.
MOST_FILLED = 2**26


def dtype_of(number: int, what: str) -> DType:
    """The dtype with a number of ``TensorProto.DataType``; ``what`` has it.

    Raises:
        UnsupportedOp: cauce has no such dtype.
    """
    found = _BY_NUMBER.get(number)
    if found is None:
        raise UnsupportedOp(
            f"{what} has the ONNX element type {_OTHERS.get(number, number)}",
            fix=f"convert it: cauce computes in {', '.join(map(str, NUMBERS))}",
        )
    return found


def raw(array: Array, dtype: DType) -> bytes:
    """The elements of ``array``, carried as :class:`DType` says, in ONNX's order of bytes.

    A bfloat16 is the upper half of the float32 that carries it.
    """
    carried = np.ascontiguousarray(array, dtype=dtype.numpy)
    if dtype is DType.BF16:
        carried = (carried.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return carried.astype(carried.dtype.newbyteorder("<"), copy=False).tobytes()


class Bytes(Protocol):
    """A model of whose message the large tensors were cut out."""

    def elements(self, raw_data: bytes, field: str) -> bytes | memoryview | None:
        """The bytes that ``raw_data`` stands for, of a tensor that has its elements in the named
        field where it has no ``raw_data``; None where it stands for itself."""

    def start(self, raw_data: bytes) -> int | None:
        """Where these bytes begin in the model."""

    def at(self, start: int, count: int) -> bytes | memoryview:
        """So many bytes from a place on."""


@dataclass
class Place:
    """Where the elements of a tensor lie that are not in the message of its model.

    Attributes:
        dtype: theirs.
        shape: theirs.
        start: the first of their bytes.
        file: in which file beside the model; "" for the model itself.
        used: whether anything depends on what they are.
    """

    dtype: DType
    shape: tuple[int, ...]
    start: int
    file: str = ""
    used: bool = False

    @property
    def nbytes(self) -> int:
        """How many bytes they are."""
        return prod(self.shape) * self.dtype.itemsize


class Decoder:
    """Reads the tensors of one model.

    Args:
        folder: where the files with external data lie; None where that is not known.
        model: what was cut out of its message; None where that is whole.

    Attributes:
        places: where those lie that were read and are not in the message.
    """

    def __init__(self, folder: str | None = None, model: Bytes | None = None) -> None:
        self._folder = folder
        self._model = model
        self._filled = 0
        self._read: dict[bytes, Array] = {}  # what stands elsewhere, by raw_data
        self.places: list[Place] = []

    def __call__(self, tensor: Any) -> tuple[Array, DType]:
        """The elements of a ``TensorProto``, and their dtype.

        Raises:
            DataError: the elements are not as many as the shape says, or lie outside the folder.
            UnsupportedOp: a dtype that cauce does not have.
        """
        array, dtype, place = self.placed(tensor)
        if place is not None:
            place.used = True
        return array, dtype

    def placed(self, tensor: Any) -> tuple[Array, DType, Place | None]:
        """The same, and where the elements lie: who looks at them notes that they are used."""
        what = _what(tensor)
        dtype = dtype_of(tensor.data_type, what)
        shape = tuple(tensor.dims)
        if any(size < 0 for size in shape):
            raise DataError(
                f"{what} has the shape {shown(shape)}", fix="the file is damaged: export it again"
            )
        place = None
        if tensor.data_location == _EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            nbytes = prod(shape) * dtype.itemsize
            stored = _external(entries, self._folder, nbytes, what)
            array = _of_bytes(stored, what, shape, dtype)
            place = Place(dtype, shape, int(entries.get("offset", 0)), entries["location"])
        elif tensor.HasField("raw_data"):
            array = self._raw(tensor.raw_data, what, shape, dtype)
            start = None if self._model is None else self._model.start(tensor.raw_data)
            place = None if start is None else Place(dtype, shape, start)
        else:
            array = _typed(tensor, dtype)
        self.places += [] if place is None else [place]
        return _shaped(array, what, shape, dtype), dtype, place

    def again(self, place: Place) -> Array:
        """The elements that lie at a place.

        Raises:
            DataError: they do no longer.
        """
        what = "a tensor"
        stored = np.frombuffer(self.content(place), np.uint8)
        return _shaped(
            _of_bytes(stored, what, place.shape, place.dtype), what, place.shape, place.dtype
        )

    def content(self, place: Place) -> bytes | memoryview:
        """The bytes that lie at a place.

        Raises:
            DataError: there are not so many.
        """
        if place.file:
            entries = {"location": place.file, "offset": place.start}
            return _external(entries, self._folder, place.nbytes, "a tensor").data
        assert self._model is not None, "only what was cut out of a message has a place in it"
        return self._model.at(place.start, place.nbytes)

    def _raw(self, raw_data: bytes, what: str, shape: tuple[int, ...], dtype: DType) -> Array:
        """The elements in a row that ``raw_data`` holds, or stands for: these are read once."""
        if raw_data in self._read:
            return self._read[raw_data]
        field = _FIELDS.get(dtype, "int32_data")
        kept = None if self._model is None else self._model.elements(raw_data, field)
        stored = np.frombuffer(raw_data if kept is None else kept, np.uint8)
        array = _of_bytes(stored, what, shape, dtype)
        if kept is not None:
            self._read[raw_data] = array
        return array

    def sparse(self, sparse: Any) -> tuple[Array, DType]:
        """The elements of a ``SparseTensorProto``, zeros put in, and their dtype.

        Indices are [n], places in row-major order, or [n, rank].

        Raises:
            DataError: indices that do not fit the shape, or more than ``MOST_FILLED`` elements in
                all sparse tensors of the model.
            UnsupportedOp: a dtype that cauce does not have.
        """
        values, dtype = self(sparse.values)
        indices, _ = self(sparse.indices)
        shape = tuple(sparse.dims)
        what = f"the sparse {_what(sparse.values).removeprefix('the ')}"
        if min(shape, default=0) >= 0:
            self._filled += prod(shape)
        if min(shape, default=0) < 0 or self._filled > MOST_FILLED:
            raise DataError(
                f"{what} has the shape {shown(shape)}",
                fix=f"cauce fills in zeros, for at most {MOST_FILLED} elements: use a dense one",
            )
        try:
            dense = np.zeros(shape, dtype.numpy)
            if indices.ndim == 2:
                indices = np.ravel_multi_index(tuple(indices.T), shape)
            if indices.size and indices.min() < 0:
                raise ValueError("a negative index")
            dense.reshape(-1)[indices] = values
        except (ValueError, IndexError, TypeError) as error:
            raise DataError(
                f"the indices of {what} do not fit its shape {shown(shape)}: {error}",
                fix="the file is damaged: export it again",
            ) from error
        return dense, dtype


def _what(tensor: Any) -> str:
    return f"the tensor {shown(tensor.name)}"


def _of_bytes(stored: Array, what: str, shape: tuple[int, ...], dtype: DType) -> Array:
    """Bytes in ONNX's order as elements in a row, in the carrier of ``dtype``.

    They are aligned, which those in the midst of a file are not.
    """
    if stored.nbytes != prod(shape) * dtype.itemsize:
        raise _damaged(what, stored.nbytes, "bytes", shape, dtype)
    if dtype is DType.BF16:
        return _widened(stored.view("<u2"))
    carried = stored.view(dtype.numpy.newbyteorder("<")).astype(dtype.numpy, copy=False)
    return carried if carried.flags.aligned else carried.copy()


def _widened(halves: Array) -> Array:
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _typed(tensor: Any, dtype: DType) -> Array:
    """The elements in the field of their dtype; float16 and bfloat16 are there as bits."""
    name = _FIELDS.get(dtype, "int32_data")
    field = getattr(tensor, name)
    # Read one by one: a list of them takes eight times their memory.
    elements = np.fromiter(field, _ELEMENTS.get(name, np.int64), len(field))
    if dtype in (DType.F16, DType.BF16):
        bits = elements.astype(np.uint16)
        return bits.view(np.float16) if dtype is DType.F16 else _widened(bits)
    return elements.astype(dtype.numpy, copy=False)


def _shaped(array: Array, what: str, shape: tuple[int, ...], dtype: DType) -> Array:
    """Elements in their shape, if it is one that they and NumPy can have."""
    if array.size != prod(shape):
        raise _damaged(what, array.size, "elements", shape, dtype)
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise DataError(
            f"{what} has the shape {shown(shape)}: {error}",
            fix="the file is damaged: export it again",
        ) from error


def _external(
    entries: Mapping[str, Any], folder: str | None, nbytes: int, what: str
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of a tensor that lie in a file beside the model."""
    location = entries.get("location", "")
    if folder is None:
        raise DataError(
            f"{what} lies in the file {shown(location)}, and where that is is not known",
            fix="give the path of the model, whose folder holds it",
        )
    path = _within(folder, location)
    if path is None:
        raise DataError(
            f"{what} lies in {shown(location)}, outside the folder of the model",
            fix="put the file beside the model, and name it by a relative path",
        )
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", nbytes))
        # What is no plain file could have any contents, or none for ever.
        if not os.path.isfile(path):
            raise ValueError("there is no such file")
        if offset < 0 or length != nbytes or offset + length > os.path.getsize(path):
            raise ValueError(f"{length} bytes from {offset} on")
        return np.fromfile(path, np.uint8, count=length, offset=offset)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{what} takes {nbytes} bytes of {shown(location)}, which cannot be read: {error}",
            fix="export the model again, and keep both files in one folder",
        ) from error


def _within(folder: str, location: object) -> str | None:
    """The file at a relative path from a folder, links followed; None where it is outside."""
    if not isinstance(location, str) or not location or "\0" in location:
        return None
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, location))
    inside = not os.path.isabs(location) and os.path.commonpath([root, path]) == root
    return path if inside else None


def _damaged(what: str, found: int, unit: str, shape: tuple[int, ...], dtype: DType) -> DataError:
    return DataError(
        f"{what} is {dtype}{shown(list(shape))}, and holds {found} {unit}",
        fix="the file is damaged: export it again",
    )
