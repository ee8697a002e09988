"""Scans: sums, products and recurrences along one axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..builder import Builder
from ..dims import Dim
from ..errors import ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, Values, product_sum, register
from ..types import Array, TensorType
from .broadcast import need_number, same_dtype
from .constant import scalar
from .elementwise import Mul
from .reduce import normalize_axis


class _Scan(Op):
    """Base of scans along one axis."""

    axis: int

    def infer(self, *operands: TensorType) -> TensorType:
        need_number(self.name, *operands)
        same_dtype(self.name, *operands)
        x = operands[0]
        normalize_axis(self.axis, x.rank, self.name)
        if any(other.shape != x.shape for other in operands):
            raise ShapeError(
                f"{self.name}: the operands are {' and '.join(map(str, operands))}",
                fix="expand them to one shape",
            )
        return x

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return product_sum(operands)


class _Cumulative(_Scan):
    """Base of cumulative sums and products; ``exclusive`` leaves out the element itself."""

    exclusive: bool = False
    reverse: bool = False


@register
class CumSum(_Cumulative):
    """y_i = sum of x_j for j up to i along one axis, in order; from the end where ``reverse``.

    ONNX CumSum-14; with ``exclusive`` for j below i.
    """

    name = "cumsum"

    def reference(self, x: Array) -> Array:
        turned = np.flip(x, self.axis) if self.reverse else x
        sums = np.cumsum(turned, self.axis, x.dtype)
        if self.exclusive:
            sums = _shifted(sums, self.axis, 0)
        return np.flip(sums, self.axis) if self.reverse else sums

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(self.with_attributes(reverse=not self.reverse), dy),)


@register
class CumProd(_Cumulative):
    """y_i = product of x_j for j up to i along one axis, in order; from the end where ``reverse``.

    ONNX CumProd-26; with ``exclusive`` for j below i. The gradient is right for zeros too.
    """

    name = "cumprod"

    def reference(self, x: Array) -> Array:
        turned = np.flip(x, self.axis) if self.reverse else x
        products = np.cumprod(turned, self.axis, x.dtype)
        if self.exclusive:
            products = _shifted(products, self.axis, 1)
        return np.flip(products, self.axis) if self.reverse else products

    def decompose(self, b: Builder, *operands: Value) -> Values:
        """y_i = x_i y_(i-1) + f_i, with y_(-1) = 0: f_0 = x_0, all others are 0."""
        from .shape import Slice

        (x,) = operands
        axis = normalize_axis(self.axis, x.type.rank, self.name)
        size = x.type.shape[axis]
        if size == 0:
            return b(Mul(), x, x)
        if self.exclusive:
            x = shifted(b, x, axis, 1, self.reverse)
        first = (size - 1, size) if self.reverse else (0, 1)
        start = b(Slice((axis,), first[:1], first[1:]), x)
        start = padded(b, start, axis, size - 1, 0, before=self.reverse)
        return b(LinearRecurrence(axis, self.reverse), x, start)


@register
class LinearRecurrence(_Scan):
    """y_i = a_i y_(i-1) + x_i along one axis, with y_(-1) = 0; from the end where ``reverse``.

    The gradient by x is the recurrence g_i = a_(i+1) g_(i+1) + dy_i the other way, that by a_i is
    g_i y_(i-1) (Blelloch 1990, "Prefix sums and their applications").
    """

    reverse: bool = False

    name = "linear_recurrence"
    operands = ("a", "x")

    def reference(self, a: Array, x: Array) -> Array:
        y = np.empty_like(x)
        places = range(x.shape[self.axis])
        rows, factors, terms = (np.moveaxis(array, self.axis, 0) for array in (y, a, x))
        last = np.zeros_like(terms[0]) if len(places) else terms
        for place in reversed(places) if self.reverse else places:
            rows[place] = last = factors[place] * last + terms[place]
        return y

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        a, _ = node.operands
        axis = normalize_axis(self.axis, a.type.rank, self.name)
        if a.type.shape[axis] == 0:
            return (dy, dy)
        back = LinearRecurrence(axis, not self.reverse)
        dx = b(back, shifted(b, a, axis, 0, not self.reverse), dy)
        return (b(Mul(), dx, shifted(b, node.result, axis, 0, self.reverse)), dx)


def _shifted(x: Array, axis: int, first: int) -> Array:
    """``x`` moved on by one place along an axis, with ``first`` in front."""
    y = np.roll(x, 1, axis)
    np.moveaxis(y, axis, 0)[:1] = first
    return y


def shifted(b: Builder, x: Value, axis: int, first: int, reverse: bool = False) -> Value:
    """Write ``x`` moved on by one place along an axis; towards the first where ``reverse``."""
    from .shape import Slice

    size = x.type.shape[axis]
    kept = (1, size) if reverse else (0, size - 1)
    rest = b(Slice((axis,), kept[:1], kept[1:]), x)
    return padded(b, rest, axis, 1, first, before=not reverse)


def padded(b: Builder, x: Value, axis: int, count: Dim, value: int, *, before: bool) -> Value:
    """Write ``x`` with ``count`` elements of one value before or behind it along an axis."""
    from .shape import Concat, Expand

    shape = tuple(count if i == axis else dim for i, dim in enumerate(x.type.shape))
    border = b(Expand(shape), scalar(b, value, x))
    return b(Concat(axis), *((border, x) if before else (x, border)))
