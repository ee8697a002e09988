"""Samples of reductions."""

from __future__ import annotations

import numpy as np

from cauce.ir.ops.reduce import ArgMax, ArgMin, LogSumExp, Max, Mean, Min, Prod, Sum, Variance

from .sample import Draw, Sample, samples


def some_axes(draw: Draw, rank: int, least: int = 0) -> tuple[int, ...] | None:
    """Axes in any order, counted from either end; None for all of them."""
    if draw.int(0, 3) == 0:
        return None
    return tuple(draw.choice(i, i - rank) for i in draw.subset(range(rank), min(least, rank)))


@samples(Sum)
def total(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    op = Sum(some_axes(draw, len(shape)), draw.flag())
    if draw.int(0, 3) == 3:
        return Sample(op, (draw.integers(shape, -5, 5, draw.choice("int64", "int32")),))
    return Sample(op, (draw.normal(shape),), (0,))


@samples(Mean)
def mean(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    return Sample(Mean(some_axes(draw, len(shape)), draw.flag()), (draw.normal(shape),), (0,))


@samples(Max, Min)
def extreme(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    op = draw.op(some_axes(draw, len(shape)), draw.flag(), draw.flag())
    if draw.int(0, 3) == 3:
        return Sample(op, (draw.integers(shape, 0, 9, draw.choice("int64", "uint8", "int32")),))
    return Sample(op, (draw.distinct(shape),), (0,))


@samples(Prod)
def product(draw: Draw) -> Sample:
    shape = draw.shape(0, 3)
    op = Prod(some_axes(draw, len(shape)), draw.flag())
    if draw.int(0, 3) == 3:
        return Sample(op, (draw.integers(shape, -3, 3, draw.choice("int64", "int32", "int8")),))
    x = draw.normal(shape)
    # Where zeros are left out or shared, the gradient is another.
    return Sample(op, (np.where(draw.rng.random(shape) < 0.2, 0, x),), (0,))


@samples(LogSumExp)
def log_sum_exp(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    op = LogSumExp(some_axes(draw, len(shape)), draw.flag())
    return Sample(op, (draw.choice(1, 1, 50) * draw.normal(shape),), (0,))


@samples(Variance)
def variance(draw: Draw) -> Sample:
    shape = draw.shape(1, 4, low=2)
    axes = some_axes(draw, len(shape), least=1)
    return Sample(Variance(axes, draw.flag(), draw.int(0, 1)), (draw.normal(shape),), (0,))


@samples(ArgMax, ArgMin)
def arg_extreme(draw: Draw) -> Sample:
    shape = draw.shape(1, 4)
    op = draw.op(draw.axis(len(shape)), draw.flag(), draw.flag())
    if draw.int(0, 3) == 3:
        return Sample(op, (draw.integers(shape, -2, 2),))
    return Sample(op, (draw.distinct(shape),))
