"""Activations: relu and its kin, softmax and hardmax."""

from __future__ import annotations

import math

import numpy as np

from ..builder import Builder
from ..errors import AttributeMistake, ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, Values, register
from ..types import Array, TensorType
from .broadcast import need_float
from .constant import scalar
from .elementwise import (
    Div,
    Exp,
    FloatUnary,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Log,
    LogicalOr,
    Mul,
    Sub,
    Where,
)
from .reduce import ArgMax, Max, Sum, need_elements, normalize_axis, sum_of
from .shape import OneHot, Transpose


@register
class Relu(FloatUnary):
    """y = max(x, 0), NaN where x is; the gradient at 0 is 0, that at NaN dy. ONNX Relu-14."""

    name = "relu"
    exact = True

    def reference(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        zero = scalar(b, 0, dy)
        return (b(Where(), b(LessEqual(), node.result, zero), zero, dy),)


@register
class LeakyRelu(FloatUnary):
    """y = x where x > 0, else negative_slope * x. ONNX LeakyRelu-16, PyTorch's default slope."""

    negative_slope: float = 0.01

    name = "leaky_relu"

    def check(self) -> None:
        if not math.isfinite(self.negative_slope):
            raise AttributeMistake(
                f"leaky_relu: the slope must be a finite number, got {self.negative_slope}",
                fix="use for example 0.01",
            )

    def reference(self, x: Array) -> Array:
        return np.where(x > 0, x, x * x.dtype.type(self.negative_slope))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x = node.operands[0]
        leak = b(Mul(), dy, scalar(b, self.negative_slope, dy))
        return (b(Where(), b(Greater(), x, scalar(b, 0, x)), dy, leak),)


@register
class Clip(FloatUnary):
    """y = x held within [min, max], NaN where x is. ONNX Clip-13.

    The gradient is dy within, 0 outside, and dy at NaN. At the bounds themselves it is dy, as that
    of ``torch.clamp``, or 0 where ``open``, as that of ``torch.nn.functional.relu6``.
    """

    min: float | None = None
    max: float | None = None
    open: bool = False

    name = "clip"

    def check(self) -> None:
        if any(bound is not None and math.isnan(bound) for bound in (self.min, self.max)):
            raise AttributeMistake(
                f"clip: the bounds are {self.min} and {self.max}, and nan is no bound",
                fix="leave a bound out, or use a number",
            )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise AttributeMistake(
                f"clip: min {self.min} is above max {self.max}",
                fix="give the lower bound first: clip(x, min, max)",
            )

    def reference(self, x: Array) -> Array:
        return x.copy() if self.min is None and self.max is None else np.clip(x, self.min, self.max)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x = node.operands[0]
        below, above = (LessEqual(), GreaterEqual()) if self.open else (Less(), Greater())
        outside = []
        if self.min is not None:
            outside.append(b(below, x, scalar(b, self.min, x)))
        if self.max is not None:
            outside.append(b(above, x, scalar(b, self.max, x)))
        if not outside:
            return (dy,)
        either = outside[0] if len(outside) == 1 else b(LogicalOr(), *outside)
        return (b(Where(), either, scalar(b, 0, dy), dy),)


@register
class Sigmoid(FloatUnary):
    """y = 1 / (1 + e**-x), without overflow. ONNX Sigmoid-13."""

    name = "sigmoid"

    def reference(self, x: Array) -> Array:
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        y = node.result
        return (b(Mul(), dy, b(Mul(), y, b(Sub(), scalar(b, 1, y), y))),)


@register
class Tanh(FloatUnary):
    """y = tanh x. ONNX Tanh-13."""

    name = "tanh"
    function = np.tanh

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        y = node.result
        return (b(Mul(), dy, b(Sub(), scalar(b, 1, y), b(Mul(), y, y))),)


class _AlongAxis(Op):
    """Base of softmax, log_softmax and hardmax."""

    axis: int = -1

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        need_elements(self.name, x, x.shape[normalize_axis(self.axis, x.rank, self.name)])
        return x


def _shifted(b: Builder, axis: int, x: Value) -> Value:
    """x - max x along an axis: no power of it overflows."""
    return b(Sub(), x, b(Max((axis,), keepdims=True), x))


@register
class Softmax(_AlongAxis):
    """y = e**(x - max x) / sum of the same, along one axis. ONNX Softmax-13."""

    name = "softmax"

    def reference(self, x: Array) -> Array:
        powers = np.exp(x - x.max(axis=self.axis, keepdims=True))
        return powers / sum_of(powers, (self.axis,), keepdims=True)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        powers = b(Exp(), _shifted(b, self.axis, operands[0]))
        return b(Div(), powers, b(Sum((self.axis,), keepdims=True), powers))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        y = node.result
        mean = b(Sum((self.axis,), keepdims=True), b(Mul(), dy, y))
        return (b(Mul(), y, b(Sub(), dy, mean)),)


@register
class LogSoftmax(_AlongAxis):
    """y = x - max x - ln(sum of e**(x - max x)), along one axis. ONNX LogSoftmax-13."""

    name = "log_softmax"

    def reference(self, x: Array) -> Array:
        shifted = x - x.max(axis=self.axis, keepdims=True)
        return shifted - np.log(sum_of(np.exp(shifted), (self.axis,), keepdims=True))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        shifted = _shifted(b, self.axis, operands[0])
        total = b(Sum((self.axis,), keepdims=True), b(Exp(), shifted))
        return b(Sub(), shifted, b(Log(), total))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        total = b(Sum((self.axis,), keepdims=True), dy)
        return (b(Sub(), dy, b(Mul(), b(Exp(), node.result), total)),)


@register
class Hardmax(_AlongAxis):
    """y = 1 at the first greatest x along one axis, else 0. ONNX Hardmax-13.

    The size along the axis must be known.
    """

    name = "hardmax"
    exact = True
    zero_gradient = True

    def infer(self, x: TensorType) -> TensorType:
        super().infer(x)
        self._depth(x)
        return x

    def _depth(self, x: TensorType) -> int:
        size = x.shape[self.axis]
        if not isinstance(size, int):
            raise ShapeError(
                f"hardmax along axis {self.axis} of {x}, whose size {size} is not known",
                fix="give the size as an int where the network, or its file, is read",
            )
        return size

    def reference(self, x: Array) -> Array:
        place = np.expand_dims(np.argmax(x, axis=self.axis), self.axis)
        y = np.zeros_like(x)
        np.put_along_axis(y, place, 1, axis=self.axis)
        return y

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        axis, last = normalize_axis(self.axis, x.type.rank, self.name), x.type.rank - 1
        chosen = b(OneHot(self._depth(x.type), x.type.dtype), b(ArgMax(axis), x))
        perm = (*range(axis), last, *range(axis, last))
        return chosen if axis == last else b(Transpose(perm), chosen)
