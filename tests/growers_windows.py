"""Growers of convolution and pooling in other than two dimensions."""

from __future__ import annotations

from typing import Any

from cauce.ir import Dim, Value
from cauce.ir.ops.conv_nd import Conv, ConvTranspose
from cauce.ir.ops.pool_indices import MaxPool2dIndices, MaxPoolIndices, MaxUnpool
from cauce.ir.ops.pool_nd import AvgPool, LpPool, MaxPool
from cauce.ir.ops.shape import Reshape

from .net import Net, grows


def signal(net: Net) -> Value:
    """A picture as it is, its rows as channels [N, C*H, W], or as a slice [N, C, 1, H, W]."""
    x = net.picture()
    n, c, height, width = x.type.shape
    match net.draw.int(0, 2):
        case 1 if isinstance(height, int):
            return net.b(Reshape((n, c * height, width)), x)
        case 2:
            return net.b(Reshape((n, c, 1, height, width)), x)
    return x


def picture_of(net: Net, y: Value) -> Value:
    """What stands for y in what is grown further: an image."""
    n, c, *size = y.type.shape
    if len(size) == 1:
        return net.b(Reshape((n, c, 1, *size)), y)
    if len(size) == 3:
        return net.b(Reshape((n, c * size[0], *size[1:])), y)
    return y


@grows(Conv)
def conv(net: Net) -> None:
    x = signal(net)
    channels, size = x.type.shape[1], x.type.shape[2:]
    assert isinstance(channels, int)
    kernel = tuple(net.draw.int(1, min(3, net.extent(dim) + 2)) for dim in size)
    padding = tuple((1, 1) if k == 3 or net.draw.flag() else (0, 0) for k in kernel)
    kernel = tuple(min(k, net.extent(d) + sum(p)) for k, d, p in zip(kernel, size, padding))
    stride = tuple(net.draw.int(1, 2) for _ in size)
    groups = net.draw.choice(1, channels)
    weight = net.weight((groups * net.draw.int(1, 2), channels // groups, *kernel))
    bias = net.parameter(weight.type.shape[:1]) if net.draw.flag() else None
    op = Conv(stride, padding, groups=groups)
    net.keep(picture_of(net, net.b(op, x, weight, bias)))


@grows(ConvTranspose)
def conv_transpose(net: Net) -> None:
    x = signal(net)
    size = x.type.shape[2:]
    kernel = tuple(net.draw.int(1, 3) for _ in size)
    stride = tuple(net.draw.int(1, 2) for _ in size)
    whole: list[Dim] = [(dim - 1) * s + k for dim, s, k in zip(size, stride, kernel)]
    weight = net.weight((x.type.shape[1], net.draw.int(1, 2), *kernel))
    net.keep(picture_of(net, net.b(ConvTranspose(stride, size=tuple(whole)), x, weight)))


def pool_attributes(net: Net, x: Value) -> dict[str, Any]:
    kernel = tuple(net.draw.int(1, min(3, net.extent(dim))) for dim in x.type.shape[2:])
    padding = tuple((net.draw.int(0, k // 2), net.draw.int(0, k // 2)) for k in kernel)
    stride = tuple(net.draw.int(1, 2) for _ in kernel)
    ceil = net.draw.flag()
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}


@grows(MaxPool)
def max_pool(net: Net) -> None:
    x = signal(net)
    net.keep(picture_of(net, net.b(MaxPool(**pool_attributes(net, x)), x)), exact=True)


@grows(AvgPool)
def avg_pool(net: Net) -> None:
    x = signal(net)
    counted = net.draw.flag()
    op = AvgPool(**pool_attributes(net, x), count_include_pad=counted)
    net.keep(picture_of(net, net.b(op, x)))


@grows(LpPool)
def lp_pool(net: Net) -> None:
    x = signal(net)
    op = LpPool(**pool_attributes(net, x), p=net.draw.choice(2.0, 1.0))
    net.keep(picture_of(net, net.b(op, x)))


@grows(MaxPool2dIndices)
def max_pool2d_indices(net: Net) -> None:
    x = net.exact(lambda type_: type_.rank == 4)
    net.keep(net.b(MaxPool2dIndices(**pool_attributes(net, x)), x), exact=True)


@grows(MaxPoolIndices)
def max_pool_indices(net: Net) -> None:
    x = net.exact(lambda type_: type_.rank == 4)
    op = MaxPoolIndices(**pool_attributes(net, x), storage_order=net.draw.int(0, 1))
    net.keep(net.b(op, x), exact=True)


@grows(MaxUnpool)
def max_unpool(net: Net) -> None:
    x = net.exact(lambda type_: type_.rank == 4)
    op = MaxPoolIndices(**pool_attributes(net, x), flat=net.draw.flag())
    indices = net.b(op, x)
    net.keep(net.b(MaxUnpool(x.type.shape[2:], op.flat), net.data(indices.type.shape), indices))
