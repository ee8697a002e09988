"""Samples of reductions."""

from __future__ import annotations

from cauce.ir.ops.reduce import ArgMax, Max, Mean, Sum, Variance

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


@samples(Max)
def greatest(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    op = Max(some_axes(draw, len(shape)), draw.flag())
    if draw.int(0, 3) == 3:
        return Sample(op, (draw.integers(shape, 0, 9, draw.choice("int64", "uint8", "int32")),))
    return Sample(op, (draw.distinct(shape),), (0,))


@samples(Variance)
def variance(draw: Draw) -> Sample:
    shape = draw.shape(1, 4, low=2)
    axes = some_axes(draw, len(shape), least=1)
    return Sample(Variance(axes, draw.flag(), draw.int(0, 1)), (draw.normal(shape),), (0,))


@samples(ArgMax)
def argmax(draw: Draw) -> Sample:
    shape = draw.shape(1, 4)
    op = ArgMax(draw.axis(len(shape)), draw.flag())
    if draw.int(0, 3) == 3:
        return Sample(op, (draw.integers(shape, -2, 2),))
    return Sample(op, (draw.distinct(shape),))
