"""Samples of convolution and its backward ops."""

from __future__ import annotations

from cauce.ir import Array
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight

from .sample import Draw, Sample, samples


def some_conv(draw: Draw) -> tuple[Conv2d, Array, Array]:
    """A convolution, its input and its weight; depthwise and grouped ones among them."""
    groups, per_group = draw.int(1, 3), draw.int(1, 2)
    c_out = groups * draw.int(1, 2)
    kernel, dilation, stride = draw.pair(1, 3), draw.pair(1, 2), draw.pair(1, 3)
    padding = (draw.pair(0, 2), draw.pair(0, 2))
    size = []
    for k, d, borders in zip(kernel, dilation, padding):
        # From the least that the kernel fits in, so that the last rows are often not reached.
        least = max(1, d * (k - 1) + 1 - sum(borders))
        size.append(draw.int(least, least + 3))
    x = draw.normal((draw.int(1, 2), groups * per_group, *size))
    weight = draw.normal((c_out, per_group, *kernel))
    return Conv2d(stride, padding, dilation, groups), x, weight


@samples(Conv2d)
def conv2d(draw: Draw) -> Sample:
    op, x, weight = some_conv(draw)
    bias = (draw.normal(weight.shape[:1]),) if draw.flag() else ()
    operands = (x, weight, *bias)
    return Sample(op, operands, tuple(range(len(operands))))


@samples(Conv2dBackwardData)
def conv2d_backward_data(draw: Draw) -> Sample:
    op, x, weight = some_conv(draw)
    dy = draw.normal(op.reference(x, weight).shape)
    backward = Conv2dBackwardData(*op.geometry(), size=x.shape[2:])
    return Sample(backward, (dy, weight), (0, 1))


@samples(Conv2dBackwardWeight)
def conv2d_backward_weight(draw: Draw) -> Sample:
    op, x, weight = some_conv(draw)
    dy = draw.normal(op.reference(x, weight).shape)
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    return Sample(Conv2dBackwardWeight(*op.geometry(), kernel=kernel), (x, dy), (0, 1))
