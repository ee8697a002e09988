"""Values that need no operand: constants, and dimensions as values."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..dims import Dim, sizes
from ..graph import Value
from ..literal import Literal
from ..op import Op, register
from ..types import Array, DType, TensorType


@register
class Constant(Op):
    """A tensor that is part of the graph. ONNX Constant-13."""

    value: Literal

    name = "constant"
    exact = True
    operands = ()
    zero_gradient = True

    def infer(self) -> TensorType:
        return self.value.type

    def reference(self) -> Array:
        return self.value.array


@register
class DimSize(Op):
    """A dimension as a value: ``y = size``, an i64 scalar. ONNX Shape-15 and Gather-13."""

    size: Dim

    name = "dim"
    operands = ()
    zero_gradient = True

    def infer(self) -> TensorType:
        return TensorType(DType.I64, ())

    def reference(self) -> Array:
        return np.asarray(sizes((self.size,))[0], dtype=np.int64)


def scalar(b: Builder, value: float, like: Value | DType) -> Value:
    """Write a constant scalar with the dtype of ``like``."""
    dtype = like.type.dtype if isinstance(like, Value) else like
    return b(Constant(Literal(value, dtype)))


def size_as(b: Builder, size: Dim, dtype: DType) -> Value:
    """Write a dimension as a scalar of ``dtype``: a constant where it is known."""
    if isinstance(size, int):
        return scalar(b, size, dtype)
    from .elementwise import Cast

    return b(Cast(dtype), b(DimSize(size)))
