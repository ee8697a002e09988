"""Samples of what takes and puts elements by their indices, and of the greatest ones."""

from __future__ import annotations

import numpy as np

from cauce.ir import Array, DType
from cauce.ir.ops.indexing import (
    REDUCTIONS,
    Arange,
    GatherElements,
    GatherNd,
    ScatterElements,
    ScatterNd,
    TopK,
    Trilu,
)

from .sample import Draw, Sample, samples
from .samples_shape import INDEX


def beside(draw: Draw, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """A shape that is no longer along all other axes."""
    return tuple(
        draw.int(1, 4) if i == axis % len(shape) else draw.int(1, size)
        for i, size in enumerate(shape)
    )


@samples(GatherElements)
def gather_elements(draw: Draw) -> Sample:
    shape = draw.shape(1, 3)
    axis = draw.axis(len(shape))
    which = beside(draw, shape, axis)
    indices = draw.integers(which, 0, shape[axis] - 1, draw.choice(*INDEX))
    return Sample(GatherElements(axis), (draw.normal(shape), indices), (0,))


def operands(
    draw: Draw, shape: tuple[int, ...], updates: tuple[int, ...], reduction: str
) -> tuple[tuple[Array, Array], tuple[int, ...]]:
    """x and updates, and which of x, indices and updates have a gradient."""
    if draw.int(0, 3) == 3:
        dtype = draw.choice("int64", "int32", "uint8")
        return (draw.integers(shape, 0, 5, dtype), draw.integers(updates, 0, 5, dtype)), ()
    x, new = draw.apart(shape, updates)
    if reduction == "mul":
        x, new = (np.where(draw.rng.random(a.shape) < 0.2, 0, np.sign(a) + a) for a in (x, new))
    return (x, new), (0, 2)


@samples(ScatterElements)
def scatter_elements(draw: Draw) -> Sample:
    shape = draw.shape(1, 3)
    axis, reduction = draw.axis(len(shape)), draw.choice(*REDUCTIONS)
    which = beside(draw, shape, axis)
    indices = draw.integers(which, 0, shape[axis] - 1, draw.choice(*INDEX))
    (x, updates), differentiable = operands(draw, shape, which, reduction)
    return Sample(ScatterElements(axis, reduction), (x, indices, updates), differentiable)


def places(draw: Draw, lead: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Indices [*lead, len(shape)] into an array of a shape."""
    dtype = draw.choice(*INDEX)
    return np.stack([draw.integers(lead, 0, size - 1, dtype) for size in shape], -1)


@samples(GatherNd)
def gather_nd(draw: Draw) -> Sample:
    shape = draw.shape(1, 4, high=3)
    batch = draw.int(0, len(shape) - 1)
    depth = draw.int(1, len(shape) - batch)
    lead = (*shape[:batch], *draw.shape(0, 2, high=3))
    indices = places(draw, lead, shape[batch : batch + depth])
    return Sample(GatherNd(batch), (draw.normal(shape), indices), (0,))


@samples(ScatterNd)
def scatter_nd(draw: Draw) -> Sample:
    shape = draw.shape(1, 3)
    depth, reduction = draw.int(1, len(shape)), draw.choice(*REDUCTIONS)
    indices = places(draw, draw.shape(0, 2, high=3), shape[:depth])
    which = (*indices.shape[:-1], *shape[depth:])
    (x, updates), differentiable = operands(draw, shape, which, reduction)
    return Sample(ScatterNd(reduction), (x, indices, updates), differentiable)


@samples(TopK)
def topk(draw: Draw) -> Sample:
    shape = draw.shape(1, 3, high=6)
    axis = draw.axis(len(shape))
    op = TopK(draw.int(1, shape[axis]), axis, draw.flag())
    if draw.int(0, 3) == 3:
        return Sample(op, (draw.integers(shape, 0, 3, draw.choice("int64", "uint8", "int32")),))
    return Sample(op, (draw.distinct(shape),), (0,))


@samples(Trilu)
def trilu(draw: Draw) -> Sample:
    op = Trilu(draw.flag(), draw.int(-3, 3))
    return Sample(op, (draw.normal(draw.shape(2, 4)),), (0,))


@samples(Arange)
def arange(draw: Draw) -> Sample:
    return Sample(Arange(draw.int(1, 5), draw.choice(DType.I64, DType.F64, DType.I32)), ())
