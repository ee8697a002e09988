"""What all convolutions share, and convolution in two dimensions with its two backward ops; each is
bilinear, so together they close under differentiation.

With output height H', kernel K, padding P, stride S, dilation D:
``H' = floor((H + P_top + P_bottom - (D*(K - 1) + 1)) / S) + 1``. Dumoulin and Visin 2016,
"A guide to convolution arithmetic for deep learning", section 2.4; ONNX Conv-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product as combinations
from typing import Any

import numpy as np

from ..attributes import Padding, Pair
from ..builder import Builder
from ..dims import Dim, product, sizes
from ..errors import AttributeMistake, ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, register
from ..types import Array, TensorType
from .broadcast import need_float, same_dtype

Index = tuple[Any, ...]  # the ellipsis, then a place or a slice for each spatial axis
# What the spatial axes are called, by their number.
AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


def extent(kernel: int, dilation: int) -> int:
    """How many places a kernel spans, from its first tap to its last."""
    return dilation * (kernel - 1) + 1


def output_size(op: str, size: Dim, kernel: int, stride: int, pads: Pair, dilation: int) -> Dim:
    """H' of the module's formula.

    Raises:
        ShapeError: the kernel is larger than the padded input.
    """
    span = extent(kernel, dilation)
    padded = size + pads[0] + pads[1]
    if isinstance(padded, int) and padded < span:
        raise ShapeError(
            f"{op}: a kernel of {kernel} (extent {span} with dilation {dilation}) is larger than "
            f"the padded input: {size} + {pads[0]} + {pads[1]} = {padded}",
            fix="use a smaller kernel, more padding or a larger input",
        )
    return (padded - span) // stride + 1


def kernel_of(weight: Value) -> Pair:
    """(K_h, K_w) of a weight [C_out, C/groups, K_h, K_w]."""
    height, width = sizes(weight.type.shape[2:])
    return (height, width)


def multiplications(y: TensorType, weight: TensorType) -> Dim:
    """The multiplications and additions of a convolution that gives ``y``, or of a transpose."""
    return 2 * y.size * product(weight.shape[1:])


class Convolution(Op):
    """What convolutions and their transposes share, over one to three spatial axes."""

    stride: tuple[int, ...]
    padding: tuple[Pair, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def check(self) -> None:
        for what in ("stride", "dilation"):
            if min(getattr(self, what)) < 1:
                raise AttributeMistake(
                    f"{self.name}: {what} must be at least 1, got {getattr(self, what)}",
                    fix=f"leave {what} out for 1",
                )
        if self.groups < 1:
            raise AttributeMistake(
                f"{self.name}: groups must be at least 1, got {self.groups}",
                fix="leave groups out for 1; a depthwise convolution has as many as channels",
            )

    @property
    def rank(self) -> int:
        """That of images and weights."""
        return 2 + len(self.stride)

    def output_shape(self, x: TensorType, weight: TensorType) -> tuple[Dim, ...]:
        """The shape of y for operands of these types, all of it checked."""
        need_float(self.name, x, weight)
        same_dtype(self.name, x, weight)
        axes = len(self.stride)
        taps = ", ".join("K" * axes)
        if x.rank != self.rank or weight.rank != self.rank:
            raise ShapeError(
                f"{self.name} takes x [N, C, {AXES[axes]}] and weight [C_out, C/groups, {taps}], "
                f"got {x} and {weight}",
                fix="add the missing dimensions, for example with reshape",
            )
        channels, (c_out, c_in, *kernel) = x.shape[1], weight.shape
        if not all(isinstance(size, int) for size in kernel):
            raise ShapeError(f"{self.name}: the kernel size must be known, got {weight}")
        if c_in * self.groups != channels:
            raise ShapeError(
                f"{self.name}: the input {x} has {channels} channels, the weight {weight} takes "
                f"{c_in} * {self.groups} groups = {c_in * self.groups}",
                fix=f"the weight must be [C_out, C/groups, {taps}]",
            )
        if isinstance(c_out, int) and c_out % self.groups:
            raise ShapeError(
                f"{self.name}: {c_out} output channels do not divide into {self.groups} groups",
                fix="use a multiple of groups",
            )
        size = (
            output_size(self.name, *parts)
            for parts in zip(
                x.shape[2:], sizes(tuple(kernel)), self.stride, self.padding, self.dilation
            )
        )
        return (x.shape[0], c_out, *size)

    def convolved_type(
        self, x: TensorType, weight: TensorType, bias: TensorType | None
    ) -> TensorType:
        """The type of y of a convolution, with its bias checked."""
        shape = self.output_shape(x, weight)
        if bias is not None:
            same_dtype(self.name, x, bias)
            if bias.shape != weight.shape[:1]:
                raise ShapeError(
                    f"{self.name}: the bias is {bias}, but there are {weight.shape[0]} output "
                    "channels"
                )
        return x.with_shape(shape)

    def transposed_type(
        self, dy: TensorType, weight: TensorType, size: tuple[Dim, ...]
    ) -> TensorType:
        """The type of x, of ``size``, whose convolution gives ``dy``, all of it checked."""
        if len(size) != self.rank - 2 or dy.rank != self.rank or weight.rank != self.rank:
            axes = AXES[self.rank - 2]
            raise ShapeError(f"{self.name} takes dy [N, C, {axes}], a weight and ({axes}) of x")
        x = dy.with_shape((dy.shape[0], weight.shape[1] * self.groups, *size))
        self.need_result(dy, x, weight)
        return x

    def need_result(self, dy: TensorType, x: TensorType, weight: TensorType) -> None:
        """Raise ShapeError unless ``dy`` has the shape of y for operands of these types."""
        wanted = self.output_shape(x, weight)
        if wanted != dy.shape:
            raise ShapeError(
                f"{self.name}: a convolution of {x} gives {x.with_shape(wanted)}, dy is {dy}"
            )

    def convolved(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """The formula of :class:`Conv2d`, over any number of axes."""
        out = sizes(self.output_shape(TensorType.of(x), TensorType.of(weight)))
        y = np.zeros((out[0], self.groups, weight.shape[0] // self.groups, *out[2:]), x.dtype)
        xs, ws = self.grouped(self.padded(x), 1), self.grouped(weight, 0)
        at = self._letters
        for tap, window in self.windows(weight.shape[2:], y.shape[3:]):
            y += np.einsum(f"ngc{at},goc->ngo{at}", xs[window], ws[tap])
        y = y.reshape(out)
        return y if bias is None else y + bias.reshape(-1, *(1,) * (self.rank - 2))

    def transposed(self, dy: Array, weight: Array, size: tuple[Dim, ...]) -> Array:
        """The formula of :class:`Conv2dBackwardData`, over any number of axes."""
        channels = weight.shape[1] * self.groups
        blank = np.zeros((dy.shape[0], channels, *sizes(size)), dy.dtype)
        dx = self.padded(blank)
        dxs, dys, ws = self.grouped(dx, 1), self.grouped(dy, 1), self.grouped(weight, 0)
        at = self._letters
        for tap, window in self.windows(weight.shape[2:], dy.shape[2:]):
            dxs[window] += np.einsum(f"ngo{at},goc->ngc{at}", dys, ws[tap])
        inner = (
            slice(before, before + length)
            for (before, _), length in zip(self.padding, blank.shape[2:])
        )
        return dx[:, :, *inner]

    @property
    def _letters(self) -> str:
        """A letter for each spatial axis, for ``einsum``."""
        return "hij"[5 - self.rank :]

    def windows(self, kernel: Sequence[int], out: Sequence[int]) -> Iterator[tuple[Index, Index]]:
        """For each place of the kernel, in row-major order, what it meets of the padded input."""
        for tap in combinations(*map(range, kernel)):
            met = (
                slice(place * d, place * d + s * (count - 1) + 1, s)
                for place, d, s, count in zip(tap, self.dilation, self.stride, out)
            )
            yield (..., *tap), (..., *met)

    def grouped(self, array: Array, axis: int) -> Array:
        """``array`` with the channel axis split into (groups, channels of a group)."""
        shape = array.shape
        return array.reshape(*shape[:axis], self.groups, -1, *shape[axis + 1 :])

    def padded(self, x: Array) -> Array:
        """x with its borders of zeros."""
        return np.pad(x, ((0, 0), (0, 0), *self.padding))


class ConvBase(Convolution):
    """The attributes shared by convolution and its backward ops in two dimensions."""

    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)

    def geometry(self) -> tuple[Pair, Padding, Pair, int]:
        """stride, padding, dilation and groups."""
        return (self.stride, self.padding, self.dilation, self.groups)


@register
class Conv2d(ConvBase):
    """y[n,o,i,j] = bias[o] + sum over c, r, s of weight[o,c,r,s] * x[n, c, i*S + r*D - P, ...].

    Cross-correlation over zero-padded x [N, C, H, W] with weight [C_out, C/groups, K, K].
    ONNX Conv-11.
    """

    name = "conv2d"
    operands = ("x", "weight", "bias?")

    def infer(
        self, x: TensorType, weight: TensorType, bias: TensorType | None = None
    ) -> TensorType:
        return self.convolved_type(x, weight, bias)

    def reference(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        return self.convolved(x, weight, bias)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        from .reduce import Sum

        x, weight = node.operands[:2]
        size, kernel = x.type.shape[2:], kernel_of(weight)
        dx = b(Conv2dBackwardData(*self.geometry(), size=size), dy, weight)
        dw = b(Conv2dBackwardWeight(*self.geometry(), kernel=kernel), x, dy)
        return (dx, dw) if len(node.operands) == 2 else (dx, dw, b(Sum((0, 2, 3)), dy))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        bias = results[0].size if len(operands) == 3 else 0
        return multiplications(results[0], operands[1]) + bias


@register
class Conv2dBackwardData(ConvBase):
    """dx[n, c, a, b] = sum of dy[n, o, i, j] * weight[o, c, r, s] where a = i*S + r*D - P.

    The transpose of conv2d in x, and so a transposed convolution; ``size`` is (H, W) of x.
    """

    size: tuple[Dim, ...] = ()

    name = "conv2d_backward_data"
    operands = ("dy", "weight")
    results = ("dx",)

    def infer(self, dy: TensorType, weight: TensorType) -> TensorType:
        return self.transposed_type(dy, weight, self.size)

    def reference(self, dy: Array, weight: Array) -> Array:
        return self.transposed(dy, weight, self.size)

    def gradient(self, b: Builder, node: Node, dx: Value) -> Gradients:
        dy, weight = node.operands
        kernel = kernel_of(weight)
        return (
            b(Conv2d(*self.geometry()), dx, weight),
            b(Conv2dBackwardWeight(*self.geometry(), kernel=kernel), dx, dy),
        )

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return multiplications(*operands)


@register
class Conv2dBackwardWeight(ConvBase):
    """dweight[o, c, r, s] = sum over n, i, j of dy[n, o, i, j] * x[n, c, i*S + r*D - P, ...].

    The transpose of conv2d in the weight; ``kernel`` is (K_h, K_w).
    """

    kernel: Pair = (1, 1)

    name = "conv2d_backward_weight"
    operands = ("x", "dy")
    results = ("dweight",)

    def infer(self, x: TensorType, dy: TensorType) -> TensorType:
        if x.rank != 4 or dy.rank != 4:
            raise ShapeError(f"{self.name} takes x and dy [N, C, H, W], got {x} and {dy}")
        channels = x.shape[1]
        if isinstance(channels, int) and channels % self.groups:
            raise ShapeError(f"{self.name}: {channels} channels, {self.groups} groups")
        weight = x.with_shape((dy.shape[1], channels // self.groups, *self.kernel))
        self.need_result(dy, x, weight)
        return weight

    def reference(self, x: Array, dy: Array) -> Array:
        c_out, c_in = dy.shape[1], x.shape[1] // self.groups
        dw = np.zeros((self.groups, c_out // self.groups, c_in, *self.kernel), x.dtype)
        xs, dys = self.grouped(self.padded(x), 1), self.grouped(dy, 1)
        for tap, window in self.windows(self.kernel, dy.shape[2:]):
            dw[tap] = np.einsum("ngcij,ngoij->goc", xs[window], dys)
        return dw.reshape(c_out, c_in, *self.kernel)

    def gradient(self, b: Builder, node: Node, dweight: Value) -> Gradients:
        x, dy = node.operands
        size = x.type.shape[2:]
        return (
            b(Conv2dBackwardData(*self.geometry(), size=size), dy, dweight),
            b(Conv2d(*self.geometry()), x, dweight),
        )

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return multiplications(operands[1], results[0])
