"""Element types and arrays as ONNX writes them, and the name of a constant."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ...ir import Array, DType, TensorType
from ...ir.errors import MissingExtra, install

if TYPE_CHECKING:
    from onnx import TensorProto, ValueInfoProto


def load_onnx() -> ModuleType:
    """The onnx package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtra(
            "exporting needs onnx, which is not installed", fix=install("onnx")
        ) from None
    return onnx


def element_type(dtype: DType) -> int:
    """The number of ``dtype`` in ``TensorProto.DataType``."""
    from onnx import TensorProto, helper

    if dtype is DType.BF16:
        return int(TensorProto.BFLOAT16)
    return int(helper.np_dtype_to_tensor_dtype(dtype.numpy))


def tensor(name: str, array: Array, dtype: DType) -> TensorProto:
    """``array``, carried as :class:`DType` says, as the tensor ``name``."""
    from onnx import TensorProto

    return TensorProto(
        name=name, data_type=element_type(dtype), dims=array.shape, raw_data=raw(array, dtype)
    )


def raw(array: Array, dtype: DType) -> bytes:
    """The elements of ``array``, carried as :class:`DType` says, in ONNX's order of bytes.

    A bfloat16 is the upper half of the float32 that carries it.
    """
    carried = np.ascontiguousarray(array, dtype=dtype.numpy)
    if dtype is DType.BF16:
        carried = (carried.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return carried.astype(carried.dtype.newbyteorder("<"), copy=False).tobytes()


def value_info(name: str, type_: TensorType) -> ValueInfoProto:
    """The declaration of a tensor; a symbolic dimension is kept by its expression."""
    from onnx import helper

    shape = [dim if isinstance(dim, int) else str(dim) for dim in type_.shape]
    return helper.make_tensor_value_info(name, element_type(type_.dtype), shape)
