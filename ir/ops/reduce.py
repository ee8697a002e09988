"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..builder import Builder
from ..dims import Dim, product, sizes
from ..errors import AttributeMistake, ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, Values, product_sum, register
from ..types import Array, DType, TensorType
from .broadcast import need_float, need_number
from .constant import scalar, size_as
from .elementwise import (
    Abs,
    Add,
    Cast,
    Comparison,
    Div,
    Equal,
    Exp,
    Greater,
    Less,
    Log,
    LogicalNot,
    Mul,
    Sub,
    Where,
)


def normalize_axis(axis: int, rank: int, op: str) -> int:
    """``axis`` counted from 0.

    Raises:
        AttributeMistake: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise AttributeMistake(
            f"{op}: axis {axis} is out of range for {rank} dimensions",
            fix=f"use an axis from {-rank} to {rank - 1}",
        )
    return axis % rank


def normalize_axes(axes: tuple[int, ...] | None, rank: int, op: str) -> tuple[int, ...]:
    """``axes`` counted from 0 and sorted; all axes for None.

    Raises:
        AttributeMistake: an axis out of range, or given twice.
    """
    if axes is None:
        return tuple(range(rank))
    found = sorted(normalize_axis(axis, rank, op) for axis in axes)
    if len(set(found)) < len(found):
        raise AttributeMistake(
            f"{op}: axes {list(axes)} name an axis twice, counted from 0 {found}",
            fix="name each axis once; negative ones count from the last",
        )
    return tuple(found)


def sum_of(x: Array, axes: tuple[int, ...] | None, keepdims: bool = False) -> Array:
    """The sum over axes, of floats added in f64 and rounded once: no long sum loses digits."""
    wide = np.float64 if x.dtype.kind == "f" else x.dtype
    return np.asarray(x.sum(axis=axes, keepdims=keepdims, dtype=wide)).astype(x.dtype)


def mean_of(x: Array, axes: tuple[int, ...] | None, keepdims: bool = False) -> Array:
    """The sum over axes / the number of terms, in f64 and rounded once.

    Over no element it is 0/0, NaN, without the warning that NumPy's own ``mean`` gives beside.
    """
    count = math.prod(x.shape[axis] for axis in normalize_axes(axes, x.ndim, "mean"))
    return (x.sum(axis=axes, keepdims=keepdims, dtype=np.float64) / count).astype(x.dtype)


def variance_of(
    x: Array, axes: tuple[int, ...] | None, keepdims: bool = False, correction: int = 0
) -> Array:
    """The sum of the squared distances from the mean over axes / (number of terms - correction).

    It is computed in f64 and rounded once.
    """
    wide = x.astype(np.float64)
    centred = wide - mean_of(wide, axes, keepdims=True)
    count = math.prod(x.shape[axis] for axis in normalize_axes(axes, x.ndim, "variance"))
    squares = (centred * centred).sum(axis=axes, keepdims=keepdims)
    return (squares / (count - correction)).astype(x.dtype)


def need_elements(op: str, x: TensorType, count: Dim) -> None:
    """Raise ShapeError where there is no element to take the greatest of."""
    if count == 0:
        raise ShapeError(
            f"{op} over no element: {x} has a size of 0 there",
            fix="leave out what is empty, or reduce over another axis",
        )


class Reduction(Op):
    """Base of reductions: over all axes where ``axes`` is None."""

    axes: tuple[int, ...] | None = None
    keepdims: bool = False

    def infer(self, x: TensorType) -> TensorType:
        need_number(self.name, x)
        return x.with_shape(self.reduced_shape(x))

    def reduced_shape(self, x: TensorType) -> tuple[Dim, ...]:
        """The shape of the result for an operand of type ``x``."""
        axes = normalize_axes(self.axes, x.rank, self.name)
        if self.keepdims:
            return tuple(1 if i in axes else dim for i, dim in enumerate(x.shape))
        return tuple(dim for i, dim in enumerate(x.shape) if i not in axes)

    def count(self, x: TensorType) -> Dim:
        """How many elements of ``x`` make one element of the result."""
        return product(tuple(x.shape[i] for i in normalize_axes(self.axes, x.rank, self.name)))

    def spread(self, b: Builder, value: Value, x: TensorType) -> Value:
        """Write ``value``, shaped like the result, reshaped to broadcast against ``x``."""
        from .shape import Reshape

        axes = normalize_axes(self.axes, x.rank, self.name)
        shape = tuple(1 if i in axes else dim for i, dim in enumerate(x.shape))
        return value if value.type.shape == shape else b(Reshape(shape), value)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return product_sum(operands)


@register
class Sum(Reduction):
    """y = sum of x over axes. ONNX ReduceSum-13."""

    name = "sum"

    def reference(self, x: Array) -> Array:
        return sum_of(x, self.axes, self.keepdims)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        from .shape import Expand

        x = node.operands[0].type
        return (b(Expand(x.shape), self.spread(b, dy, x)),)


@register
class Mean(Reduction):
    """y = sum of x over axes / number of its terms. ONNX ReduceMean-18."""

    name = "mean"

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        return super().infer(x)

    def reference(self, x: Array) -> Array:
        return mean_of(x, self.axes, self.keepdims)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        total = b(Sum(self.axes, self.keepdims), x)
        return b(Div(), total, size_as(b, self.count(x.type), x.type.dtype))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        from .shape import Expand

        x = node.operands[0].type
        share = b(Div(), dy, size_as(b, self.count(x), x.dtype))
        return (b(Expand(x.shape), self.spread(b, share, x)),)


class _Extreme(Reduction):
    """Base of the greatest and the least element.

    Those of x that are not beaten by y share the gradient: equal ones (PyTorch), and at NaN all.
    Over no element there is none, but where ``allow_empty`` what all elements would beat (ONNX).
    """

    allow_empty: bool = False

    exact = True
    function: ClassVar[np.ufunc]
    beaten: ClassVar[type[Comparison]]

    def infer(self, x: TensorType) -> TensorType:
        if not self.allow_empty:
            need_elements(self.name, x, self.count(x))
        return super().infer(x)

    def reference(self, x: Array) -> Array:
        start: dict[str, Any] = {"initial": self.beaten_by_all(x.dtype)} if self.allow_empty else {}
        return np.asarray(self.function.reduce(x, self.axes, keepdims=self.keepdims, **start))

    def beaten_by_all(self, dtype: np.dtype[Any]) -> float:
        """The least value of a dtype, or the greatest."""
        is_max = self.beaten is Less
        if dtype.kind == "f":
            return -math.inf if is_max else math.inf
        return int(np.iinfo(dtype).min if is_max else np.iinfo(dtype).max)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x = node.operands[0]
        wide = Sum(self.axes, keepdims=True)
        beaten = b(self.beaten(), x, self.spread(b, node.result, x.type))
        chosen = b(Cast(x.type.dtype), b(LogicalNot(), beaten))
        share = b(Div(), self.spread(b, dy, x.type), b(wide, chosen))
        return (b(Mul(), chosen, share),)


@register
class Max(_Extreme):
    """y = greatest x over axes, NaN where any is. ONNX ReduceMax-18."""

    name = "max"
    function = np.maximum
    beaten = Less


@register
class Min(_Extreme):
    """y = least x over axes, NaN where any is. ONNX ReduceMin-18."""

    name = "min"
    function = np.minimum
    beaten = Greater


@register
class Prod(Reduction):
    """y = product of x over axes; 1 over no element. ONNX ReduceProd-18.

    Floats are multiplied in f64 and rounded once; integers wrap around. The gradient by an element
    is dy times the product of all others, which is right for zeros too.
    """

    name = "prod"

    def reference(self, x: Array) -> Array:
        wide = np.float64 if x.dtype.kind == "f" else x.dtype
        return np.asarray(x.prod(self.axes, wide, keepdims=self.keepdims)).astype(x.dtype)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        from .scan import CumProd
        from .shape import Reshape, Transpose

        (x,) = node.operands
        axes = normalize_axes(self.axes, x.type.rank, self.name)
        order = (*(i for i in range(x.type.rank) if i not in axes), *axes)
        kept = tuple(x.type.shape[i] for i in order[: -len(axes) or None])
        turned = b(Transpose(order), x)
        row = b(Reshape((*kept, self.count(x.type))), turned)
        before = b(CumProd(-1, exclusive=True), row)
        after = b(CumProd(-1, exclusive=True, reverse=True), row)
        others = b(Mul(), before, after)
        slopes = b(Mul(), b(Reshape((*kept, 1)), dy), others)
        back = tuple(order.index(i) for i in range(x.type.rank))
        return (b(Transpose(back), b(Reshape(turned.type.shape), slopes)),)


@register
class LogSumExp(Reduction):
    """y = log of the sum of e**x over axes, with the greatest x taken out: it overflows nowhere.

    -infinity over no element, and where all are. ONNX ReduceLogSumExp-18.
    """

    name = "log_sum_exp"

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        return super().infer(x)

    def reference(self, x: Array) -> Array:
        wide = x.astype(np.float64)
        most = wide.max(self.axes, keepdims=True, initial=-np.inf)
        most = np.where(np.isinf(most), 0, most)
        total = np.log(np.exp(wide - most).sum(self.axes, keepdims=True)) + most
        return total.reshape(sizes(self.reduced_shape(TensorType.of(x)))).astype(x.dtype)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        total = Sum(self.axes, self.keepdims)
        most = b(Max(self.axes, self.keepdims, allow_empty=True), x)
        infinite = b(Equal(), b(Abs(), most), scalar(b, math.inf, x))
        most = b(Where(), infinite, scalar(b, 0, x), most)
        powers = b(Exp(), b(Sub(), x, self.spread(b, most, x.type)))
        return b(Add(), b(Log(), b(total, powers)), most)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        (x,) = node.operands
        infinite = b(Equal(), b(Abs(), node.result), scalar(b, math.inf, x))
        held = b(Where(), infinite, scalar(b, 0, x), node.result)
        share = b(Exp(), b(Sub(), x, self.spread(b, held, x.type)))
        return (b(Mul(), self.spread(b, dy, x.type), share),)


@register
class Variance(Reduction):
    """y = mean of (x - mean x)**2 over axes, or with n - correction in place of n.

    The default is the biased variance; ``correction=1`` gives the unbiased one. Computed in two
    passes, never as E[x**2] - E[x]**2.
    """

    correction: int = 0

    name = "variance"

    def check(self) -> None:
        if self.correction < 0:
            raise AttributeMistake(
                f"variance: the correction must not be negative, got {self.correction}",
                fix="use 1 for the unbiased variance, 0 for the biased one",
            )

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        return super().infer(x)

    def reference(self, x: Array) -> Array:
        return variance_of(x, self.axes, self.keepdims, self.correction)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        # Not with keepdims: where the mean is wanted too, both are the same node.
        centred = b(Sub(), x, self.spread(b, b(Mean(self.axes), x), x.type))
        squares = b(Sum(self.axes, self.keepdims), b(Mul(), centred, centred))
        return b(Div(), squares, size_as(b, self.count(x.type) - self.correction, x.type.dtype))


class _ArgExtreme(Op):
    """Base of the index of the greatest and of the least element along one axis, as i64.

    Of equal ones it is that of the first, or of the last; a NaN counts before all numbers (NumPy).
    """

    axis: int = -1
    keepdims: bool = False
    select_last_index: bool = False

    zero_gradient = True
    find: ClassVar[Any]

    def infer(self, x: TensorType) -> TensorType:
        need_number(self.name, x)
        axis = normalize_axis(self.axis, x.rank, self.name)
        need_elements(self.name, x, x.shape[axis])
        return TensorType(DType.I64, Max((axis,), self.keepdims).reduced_shape(x))

    def reference(self, x: Array) -> Array:
        if not self.select_last_index:
            return np.asarray(self.find(x, axis=self.axis, keepdims=self.keepdims))
        back = self.find(np.flip(x, self.axis), axis=self.axis, keepdims=self.keepdims)
        return np.asarray(x.shape[self.axis] - 1 - back)


@register
class ArgMax(_ArgExtreme):
    """y = index of the greatest x along one axis, as i64. ONNX ArgMax-13."""

    name = "argmax"
    find = staticmethod(np.argmax)


@register
class ArgMin(_ArgExtreme):
    """y = index of the least x along one axis, as i64. ONNX ArgMin-13."""

    name = "argmin"
    find = staticmethod(np.argmin)


def variance_scale(b: Builder, variance: Value, epsilon: float) -> Value:
    """Write 1 / sqrt(variance + epsilon)."""
    from .elementwise import Add, Sqrt

    root = b(Sqrt(), b(Add(), variance, scalar(b, epsilon, variance)))
    return b(Div(), scalar(b, 1, root), root)
