"""Convolution and its transpose in one, two or three dimensions, made of those in two.

In one dimension there is a second of size 1. In three, the slices of the input that the taps along
the depth meet lie side by side as channels: with output depth D', depth kernel K_d, stride S and
dilation D,

    y[n, :, e] = conv2d of concat(x[n, :, e*S + t*D - P] for t < K_d) with the taps alike,

so that one convolution of N*D' images with K_d*C channels computes all of it, in a fixed order.
Gradients come from the decomposition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..attributes import Pair
from ..builder import Builder
from ..dims import Dim, sizes
from ..errors import AttributeMistake
from ..graph import Value
from ..op import Values, register
from ..types import Array, TensorType
from .conv import AXES, Conv2d, Conv2dBackwardData, Convolution, multiplications
from .elementwise import Add
from .shape import Concat, Pad, Reshape, Slice, SliceBackward, Transpose


class ConvolutionNd(Convolution):
    """The attributes of both, an item for each spatial axis: ``stride`` tells their number, and
    what is left out is no padding, a dilation of 1."""

    def check(self) -> None:
        axes = len(self.stride)
        vars(self)["padding"] = self.padding or ((0, 0),) * axes
        vars(self)["dilation"] = self.dilation or (1,) * axes
        if axes not in AXES or {len(self.padding), len(self.dilation)} != {axes}:
            raise AttributeMistake(
                f"{self.name}: stride {list(self.stride)}, padding "
                f"{list(map(list, self.padding))} and dilation {list(self.dilation)} must have one "
                "item for each of one to three spatial axes",
                fix="write for example stride=(1, 1, 1), padding=((1, 1), (1, 1), (1, 1))",
            )
        super().check()

    def along(self, first: int) -> dict[str, Any]:
        """The attributes for the spatial axes from one on."""
        return {
            "stride": self.stride[first:],
            "padding": self.padding[first:],
            "dilation": self.dilation[first:],
            "groups": self.groups,
        }

    def flat(self) -> dict[str, Any]:
        """The attributes in two dimensions, the rows being one, for a single axis."""
        return {
            "stride": (1, *self.stride),
            "padding": ((0, 0), *self.padding),
            "dilation": (1, *self.dilation),
            "groups": self.groups,
        }

    def met(self, axis: int, tap: int, count: Dim) -> Slice:
        """What a tap along the depth meets of the padded input: ``count`` slices of it, which are
        counted along ``axis``."""
        start, stride = tap * self.dilation[0], self.stride[0]
        stop = start + stride * (count - 1) + 1
        return Slice((axis,), (start,), (stop,), (stride,))


def conv(
    stride: Sequence[int], padding: Sequence[Pair], dilation: Sequence[int], groups: int
) -> Conv2d | Conv:
    """The convolution with these attributes: ``conv2d`` where there are two axes."""
    make: Any = Conv2d if len(stride) == 2 else Conv
    made: Conv2d | Conv = make(stride, padding, dilation, groups)
    return made


def conv_transpose(
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    groups: int,
    size: Sequence[Dim] = (),
) -> Conv2dBackwardData | ConvTranspose:
    """The transposed convolution with these attributes: ``conv2d_backward_data`` where there are
    two axes."""
    make: Any = Conv2dBackwardData if len(stride) == 2 else ConvTranspose
    made: Conv2dBackwardData | ConvTranspose = make(stride, padding, dilation, groups, size)
    return made


def _one_row(b: Builder, x: Value) -> Value:
    """x [N, C, L] as [N, C, 1, L]."""
    n, c, length = x.type.shape
    return b(Reshape((n, c, 1, length)), x)


def _without_row(b: Builder, x: Value) -> Value:
    """x [N, C, 1, L] as [N, C, L]."""
    n, c, _, length = x.type.shape
    return b(Reshape((n, c, length)), x)


def _as_images(b: Builder, x: Value) -> Value:
    """The slices of x [N, C, D, H, W] as images [N*D, C, H, W]."""
    n, c, depth, *rest = x.type.shape
    return b(Reshape((n * depth, c, *rest)), b(Transpose((0, 2, 1, 3, 4)), x))


def _taps_as_channels(b: Builder, weight: Value) -> Value:
    """A weight [O, C, K_d, K, K] as [O, K_d*C, K, K]."""
    o, c, taps, *rest = weight.type.shape
    return b(Reshape((o, taps * c, *rest)), b(Transpose((0, 2, 1, 3, 4)), weight))


@register
class Conv(ConvolutionNd):
    """y[n,o,i,...] = bias[o] + sum over c,r,... of weight[o,c,r,...] * x[n, c, i*S + r*D - P, ...].

    Cross-correlation over zero-padded x [N, C, L], [N, C, H, W] or [N, C, D, H, W] with a weight
    [C_out, C/groups, K, ...]. ONNX Conv-11.
    """

    name = "conv"
    operands = ("x", "weight", "bias?")

    def infer(
        self, x: TensorType, weight: TensorType, bias: TensorType | None = None
    ) -> TensorType:
        return self.convolved_type(x, weight, bias)

    def reference(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        return self.convolved(x, weight, bias)

    def decompose(self, b: Builder, x: Value, weight: Value, *bias: Value) -> Values:
        if self.rank == 4:
            return b(Conv2d(**self.along(0)), x, weight, *bias)
        if self.rank == 3:
            op = Conv2d(**self.flat())
            return _without_row(b, b(op, _one_row(b, x), _one_row(b, weight), *bias))
        n, c_out, depth, *size = self.infer(x.type, weight.type).shape
        if self.padding[0] != (0, 0):
            x = b(Pad(((0, 0), (0, 0), self.padding[0], (0, 0), (0, 0))), x)
        (taps,) = sizes(weight.type.shape[2:3])
        slices = [self._by_group(b, b(self.met(2, tap, depth), x)) for tap in range(taps)]
        joined = slices[0] if taps == 1 else b(Concat(2), *slices)
        _, groups, channels, *rest = joined.type.shape
        images = _as_images(b, b(Reshape((n, groups * channels, *rest)), joined))
        y = b(Conv2d(**self.along(1)), images, _taps_as_channels(b, weight), *bias)
        y = b(Reshape((n, depth, c_out, *size)), y)
        return b(Transpose((0, 2, 1, 3, 4)), y)

    def _by_group(self, b: Builder, x: Value) -> Value:
        """x [N, C, D', H, W] as [N, groups, C/groups, D', H, W]."""
        n, channels, *rest = x.type.shape
        return b(Reshape((n, self.groups, channels // self.groups, *rest)), x)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        bias = results[0].size if len(operands) == 3 else 0
        return multiplications(results[0], operands[1]) + bias


@register
class ConvTranspose(ConvolutionNd):
    """y[n, c, a, ...] = sum of x[n, o, i, ...] * weight[o, c, r, ...] where a = i*S + r*D - P.

    The transpose of a convolution: ``size`` is (L), (H, W) or (D, H, W) of y. x [N, C, ...], the
    weight [C, C_out/groups, K, ...]. ONNX ConvTranspose-11.
    """

    size: tuple[Dim, ...] = ()

    name = "conv_transpose"
    operands = ("x", "weight")

    def infer(self, x: TensorType, weight: TensorType) -> TensorType:
        return self.transposed_type(x, weight, self.size)

    def reference(self, x: Array, weight: Array) -> Array:
        return self.transposed(x, weight, self.size)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, weight = operands
        if self.rank == 4:
            return b(Conv2dBackwardData(**self.along(0), size=self.size), x, weight)
        if self.rank == 3:
            op = Conv2dBackwardData(**self.flat(), size=(1, *self.size))
            return _without_row(b, b(op, _one_row(b, x), _one_row(b, weight)))
        (n, _, depth), (whole, *size) = x.type.shape[:3], self.size
        per_group, (taps,) = weight.type.shape[1], sizes(weight.type.shape[2:3])
        op = Conv2dBackwardData(**self.along(1), size=tuple(size))
        parts = b(op, _as_images(b, x), _taps_as_channels(b, weight))
        parts = b(Reshape((n, depth, self.groups, taps, per_group, *size)), parts)
        before, after = self.padding[0]
        padded = (n, before + whole + after, self.groups * per_group, *size)
        total = None
        for tap in range(taps):
            part = b(Slice((3,), (tap,), (tap + 1,)), parts)
            part = b(Reshape((n, depth, self.groups * per_group, *size)), part)
            placed = b(SliceBackward(padded, **dict(self.met(1, tap, depth).attributes())), part)
            total = placed if total is None else b(Add(), total, placed)
        assert total is not None
        if (before, after) != (0, 0):
            total = b(Slice((1,), (before,), (before + whole,)), total)
        return b(Transpose((0, 2, 1, 3, 4)), total)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return multiplications(*operands)
