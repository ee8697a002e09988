"""Rounding to integers, and what is no number."""

from __future__ import annotations

import math

import numpy as np

from ..builder import Builder
from ..graph import Value
from ..op import Values, register
from ..types import Array, DType, TensorType
from .constant import scalar
from .elementwise import Abs, Equal, FloatUnary, Less, LogicalNot


class _Rounding(FloatUnary):
    """Base of rounding: the gradient is 0 wherever there is one."""

    zero_gradient = True


@register
class Floor(_Rounding):
    """y = the greatest integer that is not above x. ONNX Floor-13."""

    name = "floor"
    exact = True
    function = np.floor


@register
class Ceil(_Rounding):
    """y = the least integer that is not below x. ONNX Ceil-13."""

    name = "ceil"
    exact = True
    function = np.ceil


@register
class Round(_Rounding):
    """y = the integer nearest to x, the even one of two. ONNX Round-22."""

    name = "round"
    exact = True
    function = np.rint


class _Predicate(FloatUnary):
    """Base of predicates of one floating-point operand."""

    zero_gradient = True

    def infer(self, x: TensorType) -> TensorType:
        return super().infer(x).with_dtype(DType.BOOL)


@register
class IsNan(_Predicate):
    """y = whether x is not a number. ONNX IsNaN-20."""

    name = "isnan"

    def reference(self, x: Array) -> Array:
        return np.isnan(x)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        return b(LogicalNot(), b(Equal(), x, x))


@register
class IsInf(_Predicate):
    """y = whether x is infinite, with a sign that counts. ONNX IsInf-20."""

    detect_negative: bool = True
    detect_positive: bool = True

    name = "isinf"

    def reference(self, x: Array) -> Array:
        positive, negative = x == math.inf, x == -math.inf
        return np.asarray(positive & self.detect_positive | negative & self.detect_negative)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        if self.detect_negative and self.detect_positive:
            return b(Equal(), b(Abs(), x), scalar(b, math.inf, x))
        if not (self.detect_negative or self.detect_positive):
            return b(Less(), x, x)
        return b(Equal(), x, scalar(b, math.inf if self.detect_positive else -math.inf, x))
