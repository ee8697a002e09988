"""Samples of norms of each sample, and of local response norm."""

from __future__ import annotations

from cauce.ir import Array
from cauce.ir.ops.response_norm import LocalResponseNorm, LpNorm
from cauce.ir.ops.sample_norm import GroupNorm, LayerNorm, MeanVarianceNorm, RMSNorm

from .sample import Draw, Sample, samples
from .samples_normalize import EPSILONS


def spread(draw: Draw, shape: tuple[int, ...]) -> Array:
    """Elements far apart: near zero variance the slopes are too steep for finite differences."""
    return draw.distinct(shape, gap=0.5)


@samples(LayerNorm)
def layer_norm(draw: Draw) -> Sample:
    x = spread(draw, (*draw.shape(0, 2), draw.int(2, 4)))
    axis = draw.axis(x.ndim)
    factors = [draw.normal(x.shape[axis:]) for _ in range(draw.int(1, 2))]
    op = LayerNorm(axis, draw.choice(*EPSILONS))
    return Sample(op, (x, *factors), (*range(1 + len(factors)),))


@samples(RMSNorm)
def rms_norm(draw: Draw) -> Sample:
    x = draw.away(draw.shape(1, 3), 0.0, gap=0.5)
    axis = draw.axis(x.ndim)
    gamma = draw.normal(x.shape[axis:] if draw.flag() else ())
    return Sample(RMSNorm(axis, draw.choice(*EPSILONS)), (x, gamma), (0, 1))


@samples(GroupNorm)
def group_norm(draw: Draw) -> Sample:
    groups, members = draw.int(1, 3), draw.int(1, 2)
    x = spread(draw, (draw.int(1, 2), groups * members, draw.int(2, 3), *draw.shape(0, 1)))
    chosen = None if members == 1 and draw.flag() else groups
    gamma, beta = (draw.normal(x.shape[1:2]) for _ in range(2))
    return Sample(GroupNorm(chosen, draw.choice(*EPSILONS)), (x, gamma, beta), (0, 1, 2))


@samples(MeanVarianceNorm)
def mean_variance_norm(draw: Draw) -> Sample:
    x = spread(draw, (draw.int(2, 3), draw.int(1, 3), 2))
    return Sample(MeanVarianceNorm(draw.choice((0,), (0, 2), (-1,), (0, 1, 2))), (x,), (0,))


@samples(LocalResponseNorm)
def local_response_norm(draw: Draw) -> Sample:
    size = draw.int(1, 5)
    before = draw.choice(None, size // 2, 0)
    op = LocalResponseNorm(
        size, draw.choice(1e-4, 0.5), draw.choice(0.75, 0.5, 1.0, 2.0), 1.0, before
    )
    return Sample(op, (draw.normal(draw.shape(2, 4)),), (0,))


@samples(LpNorm)
def lp_norm(draw: Draw) -> Sample:
    x = draw.away(draw.shape(1, 3), 0.0, gap=0.3)
    return Sample(LpNorm(draw.axis(x.ndim), draw.int(1, 2)), (x,), (0,))
