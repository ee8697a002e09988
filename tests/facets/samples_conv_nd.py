"""Samples of convolution in any number of dimensions."""

from __future__ import annotations

from cauce.ir import Array
from cauce.ir.ops.conv_nd import Conv, ConvTranspose

from .sample import Draw, Sample, samples


def some_conv(draw: Draw) -> tuple[Conv, Array, Array]:
    """A convolution over one to three axes, its input and its weight; groups among them."""
    axes, groups, per_group = draw.int(1, 3), draw.int(1, 2), draw.int(1, 2)
    kernel, dilation, stride, padding, size = [], [], [], [], []
    for _ in range(axes):
        k, d, borders = draw.int(1, 3), draw.int(1, 2), draw.pair(0, 2)
        kernel.append(k)
        dilation.append(d)
        padding.append(borders)
        stride.append(draw.int(1, 3))
        least = max(1, d * (k - 1) + 1 - sum(borders))
        size.append(draw.int(least, least + 2))
    x = draw.normal((draw.int(1, 2), groups * per_group, *size))
    weight = draw.normal((groups * draw.int(1, 2), per_group, *kernel))
    return Conv(tuple(stride), tuple(padding), tuple(dilation), groups), x, weight


@samples(Conv)
def conv(draw: Draw) -> Sample:
    op, x, weight = some_conv(draw)
    bias = (draw.normal(weight.shape[:1]),) if draw.flag() else ()
    operands = (x, weight, *bias)
    return Sample(op, operands, tuple(range(len(operands))))


@samples(ConvTranspose)
def conv_transpose(draw: Draw) -> Sample:
    op, y, weight = some_conv(draw)
    x = draw.normal(op.reference(y, weight).shape)
    attributes = dict(op.attributes())
    return Sample(ConvTranspose(**attributes, size=y.shape[2:]), (x, weight), (0, 1))
