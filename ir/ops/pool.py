"""Max and average pooling over windows of a fixed size, and what all pooling ops share.

With output height H', kernel K, padding P, stride S, dilation D and extent E = D*(K - 1) + 1:
``H' = floor((H + P_top + P_bottom - E) / S) + 1``. Window i holds the rows i*S - P_top + D*r for
r < K as far as they lie inside the input: padding is -inf to a maximum and 0 to a sum.

Ceil mode rounds the quotient up, but drops a last window that would start below the input. Rounding
up is S - 1 more rows of padding below, and a window that starts in the last row of the input
reaches E - 1 rows below it. So ceil mode is the same formula with ``min(P_bottom + S - 1, E - 1)``
in place of P_bottom.

A maximum is backed by two ops that find its place in x again, and so need no index tensor:
backward puts the gradient at the place, select takes what stands there. Both are linear in their
second operand and each the transpose of the other; their gradient by x is zero.

Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", section 3; PyTorch
MaxPool2d and AvgPool2d; ONNX MaxPool-12 and AveragePool-19.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import EllipsisType

import numpy as np

from ..attributes import Padding, Pair
from ..builder import Builder
from ..dims import Dim, sizes
from ..errors import AttributeMistake, ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, OpT, Values, lookup, register
from ..types import Array, TensorType
from .broadcast import need_float, same_dtype
from .conv import extent, output_size
from .reduce import Mean, mean_of

Place = tuple[EllipsisType, int, int]
Patch = tuple[EllipsisType, slice, slice]
_LAST_TWO = (-2, -1)


class Pooling(Op):
    """Base of all pooling ops. Windows are products of spans along axis 0, the rows, and axis 1,
    the columns; ``size`` is H or W of the input x."""

    def count(self, axis: int, size: Dim) -> Dim:
        """The number of windows along an axis."""
        raise NotImplementedError

    def cells(self, axis: int, size: Dim) -> Dim:
        """How many cells all windows along an axis hold together."""
        raise NotImplementedError

    def spans(self, axis: int, size: int) -> list[slice]:
        """For each window along an axis, the cells of the input that it holds."""
        raise NotImplementedError

    def divisors(self, axis: int, size: int) -> list[int]:
        """For each window along an axis, the number of cells that an average counts."""
        return [span.stop - span.start for span in self.spans(axis, size)]

    def areas(self, x: Array) -> Array:
        """The number of cells that the average of each window counts, [H', W']."""
        height, width = x.shape[2:]
        return np.outer(self.divisors(0, height), self.divisors(1, width)).astype(x.dtype)

    def pooled(self, x: TensorType) -> TensorType:
        """The type of y for an operand of type ``x``, all of it checked."""
        need_float(self.name, x)
        if x.rank != 4 or 0 in x.shape[2:]:
            raise ShapeError(
                f"{self.name} takes x [N, C, H, W] with H and W at least 1, got {x}",
                fix="reshape x to four dimensions; an input without cells has no maximum or mean",
            )
        counts = (self.count(axis, size) for axis, size in enumerate(x.shape[2:]))
        return x.with_shape((*x.shape[:2], *counts))

    def blank(self, x: Array, value: float) -> Array:
        """An array shaped like y and filled with ``value``."""
        return np.full(sizes(self.pooled(TensorType.of(x)).shape), value, x.dtype)

    def windows(self, x: Array) -> Iterator[tuple[Place, Patch]]:
        """For each window that holds cells of x, its place in y and these cells."""
        for i, rows in enumerate(self.spans(0, x.shape[2])):
            for j, columns in enumerate(self.spans(1, x.shape[3])):
                if rows.start < rows.stop and columns.start < columns.stop:
                    yield (..., i, j), (..., rows, columns)

    def sibling(self, cls: type[OpT], **more: object) -> OpT:
        """An op of another class over the same windows."""
        shared = {name: value for name, value in self.attributes() if name != "size"}
        return cls(**shared, **more)

    def partner(self, suffix: str, **more: object) -> Op:
        """The op of the same family, and over the same windows, whose name ends so."""
        family, _, _ = self.name.partition("pool2d")
        return self.sibling(lookup(f"{family}pool2d{suffix}"), **more)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        """The cells of all windows over x: a comparison or an addition each."""
        n, c, height, width = operands[0].shape
        return n * c * self.cells(0, height) * self.cells(1, width)


def first_maximum(cells: Array) -> Array:
    """Where the first maximum of each channel stands, in row order; NaN is above all.

    >>> first_maximum(np.array([[[[1.0, 2.0], [2.0, 0.0]]]])).astype(int).tolist()
    [[[[0, 1], [0, 0]]]]
    """
    n, c, height, width = cells.shape
    place = cells.reshape(n, c, height * width).argmax(axis=2)
    return (np.arange(height * width) == place[..., None]).reshape(cells.shape)


class Maximum(Pooling):
    """y = the greatest cell of each window; the base of max pooling ops."""

    def infer(self, x: TensorType) -> TensorType:
        return self.pooled(x)

    def reference(self, x: Array) -> Array:
        y = self.blank(x, -np.inf)
        for place, patch in self.windows(x):
            y[place] = x[patch].max(axis=_LAST_TWO)
        return y

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(self.partner("_backward"), node.operands[0], dy),)


class MaximumBackward(Pooling):
    """dx = dy at the first maximum of each window of x, added where windows overlap."""

    operands = ("x", "dy")
    results = ("dx",)

    def infer(self, x: TensorType, dy: TensorType) -> TensorType:
        same_dtype(self.name, x, dy)
        need_result(self, x, dy)
        return x

    def reference(self, x: Array, dy: Array) -> Array:
        dx = np.zeros_like(x)
        for place, patch in self.windows(x):
            dx[patch] += np.where(first_maximum(x[patch]), dy[place][..., None, None], 0)
        return dx

    def gradient(self, b: Builder, node: Node, dx: Value) -> Gradients:
        return (None, b(self.partner("_select"), node.operands[0], dx))


class MaximumSelect(Pooling):
    """y = g at the first maximum of each window of x."""

    operands = ("x", "g")

    def infer(self, x: TensorType, g: TensorType) -> TensorType:
        same_dtype(self.name, x, g)
        if g.shape != x.shape:
            raise ShapeError(f"{self.name}: x and g must have one shape, got {x} and {g}")
        return self.pooled(x)

    def reference(self, x: Array, g: Array) -> Array:
        y = self.blank(x, 0)
        for place, patch in self.windows(x):
            y[place] = np.where(first_maximum(x[patch]), g[patch], 0).sum(axis=_LAST_TWO)
        return y

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (None, b(self.partner("_backward"), node.operands[0], dy))


class Average(Pooling):
    """y = sum of each window / the number of its cells; the base of average pooling ops."""

    def infer(self, x: TensorType) -> TensorType:
        return self.pooled(x)

    def reference(self, x: Array) -> Array:
        y = self.blank(x, 0)
        for place, patch in self.windows(x):
            y[place] = x[patch].sum(axis=_LAST_TWO)
        return y / self.areas(x)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(self.partner("_backward", size=node.operands[0].type.shape[2:]), dy),)


class AverageBackward(Pooling):
    """dx = dy / the number of cells, given to every cell of each window: the transpose of average.

    ``size`` is (H, W) of x.
    """

    size: tuple[Dim, ...] = ()

    operands = ("dy",)
    results = ("dx",)

    def infer(self, dy: TensorType) -> TensorType:
        if dy.rank != 4 or len(self.size) != 2:
            raise ShapeError(f"{self.name} takes dy [N, C, H', W'] and (H, W) of x, got {dy}")
        x = dy.with_shape((*dy.shape[:2], *self.size))
        need_result(self, x, dy)
        return x

    def reference(self, dy: Array) -> Array:
        dx = np.zeros((*dy.shape[:2], *sizes(self.size)), dy.dtype)
        share = dy / self.areas(dx)
        for place, patch in self.windows(dx):
            dx[patch] += share[place][..., None, None]
        return dx

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return super().flops(results, operands)  # x is the result

    def gradient(self, b: Builder, node: Node, dx: Value) -> Gradients:
        return (b(self.partner(""), dx),)


def need_result(op: Pooling, x: TensorType, dy: TensorType) -> None:
    """Raise ShapeError unless ``dy`` has the type that pooling ``x`` gives."""
    wanted = op.pooled(x)
    if wanted != dy:
        raise ShapeError(f"{op.name}: pooling {x} gives {wanted}, dy is {dy}")


class FixedWindows(Pooling):
    """Windows of kernel_size cells, stride apart; the stride is the kernel size where None."""

    kernel_size: Pair
    stride: Pair | None = None
    padding: Padding = ((0, 0), (0, 0))
    ceil_mode: bool = False

    def check(self) -> None:
        if self.stride is None:
            vars(self)["stride"] = self.kernel_size
        for axis in (0, 1):
            kernel, stride, pads, dilation = self.geometry(axis)
            if min(kernel, stride, dilation) < 1:
                raise AttributeMistake(
                    f"{self.name}: kernel size, stride and dilation must be at least 1, "
                    f"got {kernel}, {stride} and {dilation} along the {('rows', 'columns')[axis]}",
                    fix="leave out the stride to move by the kernel size",
                )
            if max(pads) >= self.extent(axis):
                raise AttributeMistake(
                    f"{self.name}: a window of {self.extent(axis)} {('rows', 'columns')[axis]} "
                    f"would hold nothing but padding, which is {pads[0]} before the input and "
                    f"{pads[1]} after it",
                    fix="use less padding: half the kernel size, as PyTorch takes at most",
                )

    def dilations(self) -> Pair:
        """The distance of neighbouring cells of a window."""
        return (1, 1)

    def geometry(self, axis: int) -> tuple[int, int, Pair, int]:
        """Kernel size, stride, padding and dilation along an axis."""
        stride = self.stride or self.kernel_size
        return self.kernel_size[axis], stride[axis], self.padding[axis], self.dilations()[axis]

    def extent(self, axis: int) -> int:
        """E of the module's formula."""
        return extent(self.kernel_size[axis], self.dilations()[axis])

    def reach(self, axis: int) -> Pair:
        """The padding along an axis, with what ceil mode adds after the input."""
        _, stride, (before, after), _ = self.geometry(axis)
        if self.ceil_mode:
            after = min(after + stride - 1, self.extent(axis) - 1)
        return (before, after)

    def count(self, axis: int, size: Dim) -> Dim:
        kernel, stride, _, dilation = self.geometry(axis)
        return output_size(self.name, size, kernel, stride, self.reach(axis), dilation)

    def cells(self, axis: int, size: Dim) -> Dim:
        return self.count(axis, size) * self.kernel_size[axis]

    def starts(self, axis: int, size: int) -> list[int]:
        """Where each window starts; in the padding before the input where negative."""
        _, stride, (before, _), _ = self.geometry(axis)
        (count,) = sizes((self.count(axis, size),))
        return [i * stride - before for i in range(count)]

    def spans(self, axis: int, size: int) -> list[slice]:
        # Cells are a dilation D apart: the first one inside is start, or start mod D if negative.
        extent, step = self.extent(axis), self.dilations()[axis]
        return [
            slice(max(start, start % step), min(start + extent, size), step)
            for start in self.starts(axis, size)
        ]


class MaxWindows(FixedWindows):
    """The attributes of max pooling."""

    dilation: Pair = (1, 1)

    def dilations(self) -> Pair:
        return self.dilation


@register
class MaxPool2d(Maximum, MaxWindows):
    """y[n,c,i,j] = max of x[n,c,a,b] over the cells (a, b) of window (i, j); NaN wins.

    Of equal maxima the first in row order takes the gradient. ONNX MaxPool-12.
    """

    name = "max_pool2d"


@register
class MaxPool2dBackward(MaximumBackward, MaxWindows):
    """dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows of x whose first maximum is at (a, b)."""

    name = "max_pool2d_backward"


@register
class MaxPool2dSelect(MaximumSelect, MaxWindows):
    """y[n,c,i,j] = g[n,c,a,b] where the first maximum of window (i, j) of x is at (a, b)."""

    name = "max_pool2d_select"


class AverageWindows(FixedWindows):
    """The attributes of average pooling; padding counts where count_include_pad says so, what
    ceil mode adds after it never does."""

    count_include_pad: bool = True

    def divisors(self, axis: int, size: int) -> list[int]:
        if not self.count_include_pad:
            return super().divisors(axis, size)
        kernel, _, (_, after), _ = self.geometry(axis)
        return [min(start + kernel, size + after) - start for start in self.starts(axis, size)]


@register
class AvgPool2d(Average, AverageWindows):
    """y[n,c,i,j] = sum of x[n,c,a,b] over the cells (a, b) of window (i, j) / their number.

    The number is that of the cells inside the padded input, or inside the input where
    count_include_pad is False. ONNX AveragePool-19.
    """

    name = "avg_pool2d"


@register
class AvgPool2dBackward(AverageBackward, AverageWindows):
    """dx[n,c,a,b] = sum of dy[n,c,i,j] / number over the windows (i, j) that hold (a, b).

    ``size`` is (H, W) of x.
    """

    name = "avg_pool2d_backward"


@register
class GlobalAvgPool2d(Op):
    """y[n,c,0,0] = mean of x[n,c,:,:]. ONNX GlobalAveragePool-1."""

    name = "global_avg_pool2d"
    flops_per_element = 1

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        if x.rank != 4:
            raise ShapeError(f"{self.name} takes x [N, C, H, W], got {x}")
        return x.with_shape((*x.shape[:2], 1, 1))

    def reference(self, x: Array) -> Array:
        return mean_of(x, (2, 3), keepdims=True)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        return b(Mean((2, 3), keepdims=True), *operands)
