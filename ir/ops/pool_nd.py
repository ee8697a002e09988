"""Pooling in one, two or three dimensions, made of that in two.

A window is a product of spans, so that what is pooled along some axes can be pooled along the
others afterwards: in three dimensions each slice is pooled by itself, then the slices of a window.
The first maximum is the first in row-major order then too. In one dimension there is a second of
size 1. Gradients come from the decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..attributes import Pair
from ..builder import Builder
from ..dims import Dim
from ..errors import AttributeMistake
from ..graph import Value
from ..op import Op, Values, register
from ..types import Array, TensorType
from .constant import scalar
from .conv import AXES
from .elementwise import Abs, Greater, Mul, Pow, Sqrt, Where
from .pool import Average, AvgPool2d, Counting, FixedWindows, MaximumPool, MaxPool2d
from .shape import Reshape

# Windows in two dimensions, as attributes, and an image that is pooled over them.
Pool = Callable[[dict[str, Any], Value], Value]


class WindowsNd(FixedWindows):
    """Windows with an item of each attribute for each spatial axis; what is left out is no
    padding, a dilation of 1."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    padding: tuple[Pair, ...] = ()
    dilation: tuple[int, ...] = ()

    def check(self) -> None:
        axes = self.axes
        vars(self)["padding"] = self.padding or ((0, 0),) * axes
        vars(self)["dilation"] = self.dilation or (1,) * axes
        vars(self)["stride"] = self.stride or self.kernel_size
        items = (self.kernel_size, self.strides(), self.padding, self.dilation)
        if axes not in AXES or {*map(len, items)} != {axes}:
            kernel, stride, padding, dilation = (list(item) for item in items)
            raise AttributeMistake(
                f"{self.name}: kernel_size {kernel}, stride {stride}, padding {padding} and "
                f"dilation {dilation} must have one item for each of one to three spatial axes",
                fix="write for example kernel_size=(2, 2, 2), stride=(2, 2, 2)",
            )
        super().check()

    def dilations(self) -> tuple[int, ...]:
        return self.dilation

    def strides(self) -> tuple[int, ...]:
        """The stride of each axis."""
        return self.stride or self.kernel_size

    def plane(self, *axes: int | None) -> dict[str, Any]:
        """The windows along two of the axes alone, as attributes; None stands for one of size 1."""

        def along(items: tuple[Any, ...], alone: Any) -> tuple[Any, ...]:
            return tuple(alone if axis is None else items[axis] for axis in axes)

        return {
            "kernel_size": along(self.kernel_size, 1),
            "stride": along(self.strides(), 1),
            "padding": along(self.padding, (0, 0)),
            "ceil_mode": self.ceil_mode,
            "dilation": along(self.dilation, 1),
        }

    def by_planes(self, b: Builder, x: Value, pool: Pool) -> Value:
        """x pooled along all axes, two at a time."""

        def reshaped(value: Value, *shape: Dim) -> Value:
            return b(Reshape(shape), value)

        n, c, *size = x.type.shape
        if self.axes == 2:
            return pool(self.plane(0, 1), x)
        if self.axes == 1:
            y = pool(self.plane(None, 0), reshaped(x, n, c, 1, *size))
            return reshaped(y, n, c, y.type.shape[3])
        depth, *plane = size
        y = pool(self.plane(1, 2), reshaped(x, n, c * depth, *plane))
        height, width = y.type.shape[2:]
        y = pool(self.plane(0, None), reshaped(y, n, c, depth, height * width))
        return reshaped(y, n, c, y.type.shape[2], height, width)


@register
class MaxPool(MaximumPool, WindowsNd):
    """y[n,c,i,...] = max of x[n,c,a,...] over the cells (a, ...) of window (i, ...); NaN wins.

    x [N, C, L], [N, C, H, W] or [N, C, D, H, W]. Of equal maxima the first in row-major order takes
    the gradient. ONNX MaxPool-12.
    """

    name = "max_pool"
    exact = True
    gradient = Op.gradient  # through its decomposition

    def decompose(self, b: Builder, *operands: Value) -> Values:
        return self.by_planes(b, operands[0], lambda plane, x: b(MaxPool2d(**plane), x))


class AverageNd(WindowsNd, Counting):
    """The attributes of average pooling in any number of dimensions."""


@register
class AvgPool(Average, AverageNd):
    """y[n,c,i,...] = sum of x[n,c,a,...] over the cells (a, ...) of window (i, ...) / their number.

    x [N, C, L], [N, C, H, W] or [N, C, D, H, W]. The number is that of the cells inside the padded
    input, or inside the input where count_include_pad is False. ONNX AveragePool-19.
    """

    name = "avg_pool"
    gradient = Op.gradient  # through its decomposition

    def decompose(self, b: Builder, *operands: Value) -> Values:
        counted: dict[str, Any] = {"count_include_pad": self.count_include_pad}
        return self.by_planes(b, operands[0], lambda plane, x: b(AvgPool2d(**plane, **counted), x))


@register
class LpPool(WindowsNd):
    """y[n,c,i,...] = (sum of |x[n,c,a,...]|**p over the cells (a, ...) of window (i, ...))**(1/p).

    x [N, C, L], [N, C, H, W] or [N, C, D, H, W]. Where the sum is zero, so is the gradient, as in
    PyTorch. ONNX LpPool-18.
    """

    p: float = 2.0

    name = "lp_pool"

    def check(self) -> None:
        super().check()
        if not 0 < self.p < math.inf:
            raise AttributeMistake(
                f"{self.name}: p must be a positive number, got {self.p}",
                fix="use p=2 for the root of the sum of squares; for the limit pool the maximum of "
                "abs(x)",
            )

    def infer(self, x: TensorType) -> TensorType:
        return self.pooled(x)

    def reference(self, x: Array) -> Array:
        y = self.blank(x, 0)
        for place, patch in self.windows(x):
            y[place] = (np.abs(x[patch]) ** self.p).sum(axis=tuple(range(2, x.ndim)))
        return y ** (1 / self.p)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        """The sum is the mean of as many cells in every window, which what ceil mode adds are
        too."""
        (x,) = operands
        mean = AvgPool(
            self.kernel_size,
            self.stride,
            tuple(self.reach(axis) for axis in range(self.axes)),
            dilation=self.dilation,
        )
        cells = scalar(b, math.prod(self.kernel_size), x)
        return lp_root(b, b(Mul(), b(mean, lp_terms(b, x, self.p)), cells), self.p)


def lp_terms(b: Builder, x: Value, p: float) -> Value:
    """|x|**p."""
    if p == 2:
        return b(Mul(), x, x)
    size = b(Abs(), x)
    return size if p == 1 else b(Pow(), size, scalar(b, p, x))


def lp_root(b: Builder, total: Value, p: float) -> Value:
    """total**(1/p); where the total is zero, with a gradient that is none."""
    if p == 1:
        return total
    some = b(Greater(), total, scalar(b, 0, total))
    safe = b(Where(), some, total, scalar(b, 1, total))
    root = b(Sqrt(), safe) if p == 2 else b(Pow(), safe, scalar(b, 1 / p, total))
    return b(Where(), some, root, total)


def max_pool(
    kernel_size: Sequence[int],
    stride: Sequence[int] | None,
    padding: Sequence[Pair],
    ceil_mode: bool,
    dilation: Sequence[int],
) -> MaxPool2d | MaxPool:
    """Max pooling with these attributes: ``max_pool2d`` where there are two axes."""
    make: Any = MaxPool2d if len(kernel_size) == 2 else MaxPool
    made: MaxPool2d | MaxPool = make(kernel_size, stride, padding, ceil_mode, dilation)
    return made


def avg_pool(
    kernel_size: Sequence[int],
    stride: Sequence[int] | None,
    padding: Sequence[Pair],
    ceil_mode: bool,
    count_include_pad: bool,
    dilation: Sequence[int],
) -> AvgPool2d | AvgPool:
    """Average pooling with these attributes: ``avg_pool2d`` where there are two axes."""
    make: Any = AvgPool2d if len(kernel_size) == 2 else AvgPool
    made: AvgPool2d | AvgPool = make(
        kernel_size, stride, padding, ceil_mode, count_include_pad, dilation
    )
    return made
