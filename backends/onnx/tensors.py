"""Arrays and types as messages of ONNX."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from ...ir import Array, DType, TensorType
from ...ir.errors import MissingExtra, install
from ...ir.onnx.tensors import NUMBERS, raw

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


def tensor(name: str, array: Array, dtype: DType) -> TensorProto:
    """``array``, carried as :class:`DType` says, as the tensor ``name``."""
    from onnx import TensorProto

    return TensorProto(
        name=name, data_type=NUMBERS[dtype], dims=array.shape, raw_data=raw(array, dtype)
    )


def value_info(name: str, type_: TensorType) -> ValueInfoProto:
    """The declaration of a tensor; a symbolic dimension is kept by its expression."""
    from onnx import helper

    shape = [dim if isinstance(dim, int) else str(dim) for dim in type_.shape]
    return helper.make_tensor_value_info(name, NUMBERS[type_.dtype], shape)
