"""Samples of the pooling ops."""

from __future__ import annotations

from typing import Any

from cauce.ir import Array, Op
from cauce.ir.ops.adaptive_pool import (
    AdaptiveAvgPool2d,
    AdaptiveAvgPool2dBackward,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool2dBackward,
    AdaptiveMaxPool2dSelect,
)
from cauce.ir.ops.pool import (
    AvgPool2d,
    AvgPool2dBackward,
    GlobalAvgPool2d,
    MaxPool2d,
    MaxPool2dBackward,
    MaxPool2dSelect,
    Pooling,
)
from cauce.ir.types import TensorType

from .sample import Draw, Sample, samples


def image(draw: Draw, least: tuple[int, int] = (1, 1)) -> Array:
    """A small x [N, C, H, W] without ties, its sides at least ``least``."""
    height, width = (low + draw.int(0, 5) for low in least)
    return draw.distinct((draw.int(1, 2), draw.int(1, 3), height, width))


def fixed_windows(draw: Draw) -> dict[str, Any]:
    """Attributes of windows of a fixed size; no window of them holds nothing but padding."""
    kernel = draw.pair(1, 3)
    return {
        "kernel_size": kernel,
        "stride": draw.choice(None, draw.pair(1, 3)),
        "padding": tuple(draw.pair(0, k - 1) for k in kernel),
        "ceil_mode": draw.flag(),
    }


def result_of(op: Pooling, x: Array) -> tuple[Any, ...]:
    """The shape of y where ``op`` pools x."""
    return op.pooled(TensorType.of(x)).shape


def with_second_operand(draw: Draw, op: Op, x: Array) -> Sample:
    """A sample of one of the three ops of a maximum, all over the same windows."""
    if isinstance(op, (MaxPool2d, AdaptiveMaxPool2d)):
        return Sample(op, (x,), (0,))
    assert isinstance(op, Pooling)
    select = isinstance(op, (MaxPool2dSelect, AdaptiveMaxPool2dSelect))
    return Sample(op, (x, draw.normal(x.shape if select else result_of(op, x))), (1,))


@samples(MaxPool2d, MaxPool2dBackward, MaxPool2dSelect)
def max_pool2d(draw: Draw) -> Sample:
    """Dilated windows over an input that is large enough for them."""
    windows = fixed_windows(draw)
    dilation = draw.pair(1, 2)
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, windows["kernel_size"])]
    x = image(draw, (extent[0], extent[1]))
    return with_second_operand(draw, draw.op(**windows, dilation=dilation), x)


@samples(MaxPool2d)
def max_pool2d_of_bytes(draw: Draw) -> Sample:
    """Integers, signed or not."""
    dtype = draw.choice("int8", "uint8")
    x = draw.integers(
        (draw.int(1, 2), draw.int(1, 3), draw.int(3, 6), draw.int(3, 6)), 0, 100, dtype
    )
    x = x - 50 if dtype == "int8" else x
    return Sample(MaxPool2d(**fixed_windows(draw)), (x.astype(dtype),))


@samples(AdaptiveMaxPool2d, AdaptiveMaxPool2dBackward, AdaptiveMaxPool2dSelect)
def adaptive_max_pool2d(draw: Draw) -> Sample:
    """More windows than cells too."""
    return with_second_operand(draw, draw.op(output_size=draw.pair(1, 4)), image(draw))


@samples(AvgPool2d, AvgPool2dBackward)
def avg_pool2d(draw: Draw) -> Sample:
    """With and without the padding counted."""
    windows = fixed_windows(draw)
    op = AvgPool2d(**windows, count_include_pad=draw.flag(), dilation=draw.pair(1, 2))
    x = image(draw, (op.extent(0), op.extent(1)))
    if draw.op is AvgPool2d:
        return Sample(op, (x,), (0,))
    backward = op.sibling(AvgPool2dBackward, size=x.shape[2:])
    return Sample(backward, (draw.normal(result_of(op, x)),), (0,))


@samples(AdaptiveAvgPool2d, AdaptiveAvgPool2dBackward)
def adaptive_avg_pool2d(draw: Draw) -> Sample:
    """More windows than cells too."""
    op, x = AdaptiveAvgPool2d(draw.pair(1, 4)), image(draw)
    if draw.op is AdaptiveAvgPool2d:
        return Sample(op, (x,), (0,))
    backward = op.sibling(AdaptiveAvgPool2dBackward, size=x.shape[2:])
    return Sample(backward, (draw.normal(result_of(op, x)),), (0,))


@samples(GlobalAvgPool2d)
def global_avg_pool2d(draw: Draw) -> Sample:
    """Any image."""
    return Sample(GlobalAvgPool2d(), (image(draw),), (0,))
