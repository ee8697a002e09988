"""Element types and arrays as ONNX writes them, in a model or in a file beside it.

The messages: github.com/onnx/onnx, onnx.proto (``TensorProto``) and docs/ExternalData.md. They are
read by their field names alone.
"""

from __future__ import annotations

import os
from math import prod
from typing import Any

import numpy as np

from ..errors import DataError, UnsupportedOp
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
_OTHERS = {8: "string", 14: "complex64", 15: "complex128", 17: "float8e4m3fn", 19: "float8e5m2"}
# The field that holds the elements where raw_data does not, int32_data else.
_FIELDS = {
    DType.F32: "float_data",
    DType.F64: "double_data",
    DType.I64: "int64_data",
    DType.U32: "uint64_data",
    DType.U64: "uint64_data",
}
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


def decode(tensor: Any, folder: str | None) -> tuple[Array, DType]:
    """The elements of a ``TensorProto``, and their dtype.

    Args:
        tensor: the message.
        folder: where the files with external data lie; None where that is not known.

    Raises:
        DataError: the elements are not as many as the shape says, or lie outside the folder.
        UnsupportedOp: a dtype that cauce does not have.
    """
    what = f"the tensor {tensor.name!r}"
    dtype = dtype_of(tensor.data_type, what)
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise DataError(f"{what} has the shape {shape}", fix="the file is damaged: export it again")
    if tensor.data_location == _EXTERNAL:
        stored = _external(tensor, folder, prod(shape) * dtype.itemsize)
    elif tensor.HasField("raw_data"):
        stored = np.frombuffer(tensor.raw_data, np.uint8)
    else:
        return _typed(tensor, dtype, shape, what), dtype
    if stored.nbytes != prod(shape) * dtype.itemsize:
        raise _damaged(what, stored.nbytes, "bytes", shape, dtype)
    return _carried(stored, dtype).reshape(shape), dtype


def _carried(stored: Array, dtype: DType) -> Array:
    """Bytes in ONNX's order as an array in the carrier of ``dtype``."""
    if dtype is DType.BF16:
        return _widened(stored.view("<u2"))
    return stored.view(dtype.numpy.newbyteorder("<")).astype(dtype.numpy, copy=False)


def _widened(halves: Array) -> Array:
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _typed(tensor: Any, dtype: DType, shape: tuple[int, ...], what: str) -> Array:
    """The elements in the field of their dtype; float16 and bfloat16 are there as bits."""
    field = getattr(tensor, _FIELDS.get(dtype, "int32_data"))
    if len(field) != prod(shape):
        raise _damaged(what, len(field), "elements", shape, dtype)
    if dtype in (DType.F16, DType.BF16):
        bits = np.array(field, np.int64).astype(np.uint16)
        array = bits.view(np.float16) if dtype is DType.F16 else _widened(bits)
    else:
        wide = np.uint64 if dtype is DType.U64 else None
        array = np.array(field, wide).astype(dtype.numpy)
    return array.reshape(shape)


def _external(tensor: Any, folder: str | None, nbytes: int) -> Array:
    """The bytes of a tensor that lie in a file beside the model."""
    what = f"the tensor {tensor.name!r}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise DataError(
            f"{what} lies in the file {location!r}, and where that is is not known",
            fix="give the path of the model, whose folder holds it",
        )
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, location))
    if not location or os.path.commonpath([root, path]) != root:
        raise DataError(
            f"{what} lies in {location!r}, outside the folder of the model",
            fix="put the file beside the model, and name it by a relative path",
        )
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", nbytes))
        if offset < 0 or length != nbytes or offset + length > os.path.getsize(path):
            raise ValueError(f"{length} bytes from {offset} on")
        return np.fromfile(path, np.uint8, count=length, offset=offset)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{what} takes {nbytes} bytes of {location!r}, which cannot be read: {error}",
            fix="export the model again, and keep both files in one folder",
        ) from error


def decode_sparse(sparse: Any, folder: str | None) -> tuple[Array, DType]:
    """The elements of a ``SparseTensorProto``, zeros put in, and their dtype.

    Indices are [n], places in row order, or [n, rank].

    Raises:
        DataError: indices that do not fit the shape, or more than ``MOST_FILLED`` elements.
        UnsupportedOp: a dtype that cauce does not have.
    """
    values, dtype = decode(sparse.values, folder)
    indices, _ = decode(sparse.indices, folder)
    shape = tuple(sparse.dims)
    if min(shape, default=0) < 0 or prod(shape) > MOST_FILLED:
        raise DataError(
            f"the sparse tensor {sparse.values.name!r} has the shape {shape}",
            fix=f"cauce fills in zeros, for at most {MOST_FILLED} elements: use a dense one",
        )
    dense = np.zeros(shape, dtype.numpy)
    try:
        if indices.ndim == 2:
            indices = np.ravel_multi_index(tuple(indices.T), shape)
        if indices.size and indices.min() < 0:
            raise ValueError("a negative index")
        dense.reshape(-1)[indices] = values
    except (ValueError, IndexError) as error:
        raise DataError(
            f"the indices of the sparse tensor {sparse.values.name!r} do not fit its shape "
            f"{shape}: {error}",
            fix="the file is damaged: export it again",
        ) from error
    return dense, dtype


def _damaged(what: str, found: int, unit: str, shape: tuple[int, ...], dtype: DType) -> DataError:
    return DataError(
        f"{what} is {dtype}{list(shape)}, and holds {found} {unit}",
        fix="the file is damaged: export it again",
    )
