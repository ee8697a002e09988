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

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product as combinations
from types import EllipsisType

import numpy as np

from ..attributes import Padding, Pair
from ..builder import Builder
from ..dims import Dim, product, sizes
from ..errors import AttributeMistake, ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, OpT, Values, lookup, register
from ..types import Array, DType, TensorType
from .broadcast import need_float, same_dtype
from .conv import AXES, extent, output_size
from .reduce import Mean, mean_of

Place = tuple[EllipsisType | int, ...]
Patch = tuple[EllipsisType | slice, ...]
_LAST_TWO = (-2, -1)


class Pooling(Op):
    """Base of all pooling ops. Windows are products of spans along the spatial axes: in two
    dimensions axis 0, the rows, and axis 1, the columns; ``size`` is H or W of the input x."""

    @property
    def axes(self) -> int:
        """The number of spatial axes."""
        return 2

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
        counts = (self.divisors(axis, size) for axis, size in enumerate(x.shape[2:]))
        return reduce(np.multiply.outer, map(np.array, counts)).astype(x.dtype)

    def need_dtype(self, x: TensorType) -> None:
        """Raise TypeMismatch for an operand of a dtype that cannot be pooled."""
        need_float(self.name, x)

    def pooled(self, x: TensorType) -> TensorType:
        """The type of y for an operand of type ``x``, all of it checked."""
        self.need_dtype(x)
        if x.rank != 2 + self.axes or 0 in x.shape[2:]:
            names = AXES[self.axes]
            raise ShapeError(
                f"{self.name} takes x [N, C, {names}] with {names.replace(', ', ' and ')} at least "
                f"1, got {x}",
                fix=f"reshape x to {('three', 'four', 'five')[self.axes - 1]} dimensions; an input "
                "without cells has no maximum or mean",
            )
        counts = (self.count(axis, size) for axis, size in enumerate(x.shape[2:]))
        return x.with_shape((*x.shape[:2], *counts))

    def blank(self, x: Array, value: float) -> Array:
        """An array shaped like y and filled with ``value``."""
        return np.full(sizes(self.pooled(TensorType.of(x)).shape), value, x.dtype)

    def windows(self, x: Array) -> Iterator[tuple[Place, Patch]]:
        """For each window that holds cells of x, its place in y and these cells."""
        spans = (enumerate(self.spans(axis, size)) for axis, size in enumerate(x.shape[2:]))
        for window in combinations(*spans):
            place, patch = zip(*window)
            if all(span.start < span.stop for span in patch):
                yield (..., *place), (..., *patch)

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
        n, c, *size = operands[0].shape
        return n * c * product(tuple(self.cells(axis, d) for axis, d in enumerate(size)))


def first_maximum(cells: Array) -> Array:
    """Where the first maximum of each channel stands, in row-major order; NaN is above all.

    >>> first_maximum(np.array([[[[1.0, 2.0], [2.0, 0.0]]]])).astype(int).tolist()
    [[[[0, 1], [0, 0]]]]
    """
    n, c, *size = cells.shape
    count = math.prod(size)
    place = cells.reshape(n, c, count).argmax(axis=2)
    return (np.arange(count) == place[..., None]).reshape(cells.shape)


# The integers that have a maximum of windows, as in ONNX.
BYTES = (DType.I8, DType.U8)


def lowest(dtype: DType) -> float:
    """What padding is to a maximum."""
    return -np.inf if dtype.is_float else int(np.iinfo(dtype.numpy).min)


class MaximumPool(Pooling):
    """y = the greatest cell of each window; the base of max pooling ops."""

    def need_dtype(self, x: TensorType) -> None:
        if x.dtype not in BYTES:
            super().need_dtype(x)

    def infer(self, x: TensorType) -> TensorType:
        return self.pooled(x)

    def reference(self, x: Array) -> Array:
        y = self.blank(x, lowest(DType.of(x.dtype)))
        for place, patch in self.windows(x):
            y[place] = x[patch].max(axis=tuple(range(2, x.ndim)))
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
            y[place] = x[patch].sum(axis=tuple(range(2, x.ndim)))
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

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    padding: tuple[Pair, ...] = ()
    ceil_mode: bool = False

    def check(self) -> None:
        if self.stride is None:
            vars(self)["stride"] = self.kernel_size
        names = ("slices", "rows", "columns")[3 - self.axes :]
        for axis, along in enumerate(names):
            kernel, stride, pads, dilation = self.geometry(axis)
            if min(kernel, stride, dilation) < 1:
                raise AttributeMistake(
                    f"{self.name}: kernel size, stride and dilation must be at least 1, "
                    f"got {kernel}, {stride} and {dilation} along the {along}",
                    fix="leave out the stride to move by the kernel size",
                )
            if max(pads) >= self.extent(axis):
                raise AttributeMistake(
                    f"{self.name}: a window of {self.extent(axis)} {along} "
                    f"would hold nothing but padding, which is {pads[0]} before the input and "
                    f"{pads[1]} after it",
                    fix="use less padding: half the kernel size, as PyTorch takes at most",
                )

    @property
    def axes(self) -> int:
        return len(self.kernel_size)

    def dilations(self) -> tuple[int, ...]:
        """The distance of neighbouring cells of a window."""
        raise NotImplementedError

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

    kernel_size: Pair
    stride: Pair | None = None
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)

    def dilations(self) -> Pair:
        return self.dilation


@register
class MaxPool2d(MaximumPool, MaxWindows):
    """y[n,c,i,j] = max of x[n,c,a,b] over the cells (a, b) of window (i, j); NaN wins.

    Of equal maxima the first in row-major order takes the gradient. ONNX MaxPool-12.
    """

    name = "max_pool2d"
    exact = True


@register
class MaxPool2dBackward(MaximumBackward, MaxWindows):
    """dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows of x whose first maximum is at (a, b)."""

    name = "max_pool2d_backward"


@register
class MaxPool2dSelect(MaximumSelect, MaxWindows):
    """y[n,c,i,j] = g[n,c,a,b] where the first maximum of window (i, j) of x is at (a, b)."""

    name = "max_pool2d_select"
    exact = True


class Counting(FixedWindows):
    """Windows whose cells an average counts: padding where count_include_pad says so, what ceil
    mode adds after it never."""

    count_include_pad: bool = True

    def divisors(self, axis: int, size: int) -> list[int]:
        if self.count_include_pad:
            _, _, (_, after), step = self.geometry(axis)
            extent = self.extent(axis)
            cells = (
                range(start, min(start + extent, size + after), step)
                for start in self.starts(axis, size)
            )
            return list(map(len, cells))
        # A dilated window may step over the whole input: its sum is 0, and so is its average.
        return [max(1, len(range(s.start, s.stop, s.step))) for s in self.spans(axis, size)]


class AverageWindows(Counting):
    """The attributes of average pooling."""

    kernel_size: Pair
    stride: Pair | None = None
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)

    def dilations(self) -> Pair:
        return self.dilation


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
