"""Samples of pooling in any number of dimensions."""

from __future__ import annotations

from typing import Any

from cauce.ir import Array
from cauce.ir.ops.pool_nd import AvgPool, LpPool, MaxPool

from .sample import Draw, Sample, samples


def windows(draw: Draw) -> tuple[dict[str, Any], Array]:
    """Windows along one to three axes, dilated ones among them, and an input that they fit in."""
    axes = draw.int(1, 3)
    kernel = tuple(draw.int(1, 3) for _ in range(axes))
    dilation = tuple(draw.int(1, 2) for _ in range(axes))
    attributes = {
        "kernel_size": kernel,
        "stride": draw.choice(None, tuple(draw.int(1, 3) for _ in range(axes))),
        "padding": tuple(draw.pair(0, k - 1) for k in kernel),
        "ceil_mode": draw.flag(),
        "dilation": dilation,
    }
    size = (d * (k - 1) + 1 + draw.int(0, 3) for k, d in zip(kernel, dilation))
    return attributes, draw.distinct((draw.int(1, 2), draw.int(1, 2), *size))


@samples(MaxPool)
def max_pool(draw: Draw) -> Sample:
    attributes, x = windows(draw)
    return Sample(MaxPool(**attributes), (x,), (0,))


@samples(AvgPool)
def avg_pool(draw: Draw) -> Sample:
    attributes, x = windows(draw)
    return Sample(AvgPool(**attributes, count_include_pad=draw.flag()), (x,), (0,))


@samples(LpPool)
def lp_pool(draw: Draw) -> Sample:
    """Away from zero, where |x| has a kink."""
    attributes, x = windows(draw)
    x = draw.choice(-1.0, 1.0) * draw.positive(x.shape)
    return Sample(LpPool(**attributes, p=draw.choice(2.0, 1.0, 3.0, 1.5)), (x,), (0,))
