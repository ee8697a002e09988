"""Samples of ops that move data."""

from __future__ import annotations

import numpy as np

from cauce.ir import DType
from cauce.ir.ops.shape import (
    Concat,
    Expand,
    Flatten,
    Flip,
    Gather,
    GatherBackward,
    OneHot,
    Pad,
    Reshape,
    Slice,
    SliceBackward,
    Transpose,
)

from .sample import Draw, Sample, samples


@samples(Reshape)
def reshape(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    # The same factors in another order, the first of them merged, a 1 put in.
    target = list(draw.subset(shape, len(shape)))
    if len(target) > 1 and draw.flag():
        target[:2] = [target[0] * target[1]]
    if draw.flag():
        target.insert(draw.int(0, len(target)), 1)
    if draw.int(0, 3) == 3:
        return Sample(Reshape(tuple(target)), (draw.booleans(shape),))
    return Sample(Reshape(tuple(target)), (draw.normal(shape),), (0,))


@samples(Flatten)
def flatten(draw: Draw) -> Sample:
    shape = draw.shape(1, 4)
    start = draw.int(0, len(shape) - 1)
    end = draw.int(start, len(shape) - 1) - draw.choice(0, len(shape))
    return Sample(Flatten(start, end), (draw.normal(shape),), (0,))


@samples(Transpose)
def transpose(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    perm = draw.subset(range(len(shape)), len(shape))
    return Sample(Transpose(perm), (draw.normal(shape),), (0,))


@samples(Concat)
def concat(draw: Draw) -> Sample:
    shape = draw.shape(1, 4)
    axis = draw.axis(len(shape))
    parts = []
    for _ in range(draw.int(1, 3)):
        sizes = list(shape)
        sizes[axis] = draw.int(1, 3)
        parts.append(draw.normal(sizes))
    return Sample(Concat(axis), tuple(parts), tuple(range(len(parts))))


def some_slice(draw: Draw, shape: tuple[int, ...]) -> Slice:
    """A slice of some axes that keeps at least one element of each."""
    axes = draw.subset(range(len(shape)))
    starts = tuple(draw.int(0, shape[axis] - 1) for axis in axes)
    stops = tuple(draw.int(start + 1, shape[axis]) for axis, start in zip(axes, starts))
    steps = tuple(draw.int(1, 3) for _ in axes) if draw.flag() else None
    return Slice(tuple(a - draw.choice(0, len(shape)) for a in axes), starts, stops, steps)


@samples(Slice)
def slices(draw: Draw) -> Sample:
    shape = draw.shape(0, 4, high=5)
    return Sample(some_slice(draw, shape), (draw.normal(shape),), (0,))


@samples(SliceBackward)
def slice_backward(draw: Draw) -> Sample:
    shape = draw.shape(0, 4, high=5)
    op = some_slice(draw, shape)
    dy = draw.normal(op.reference(np.zeros(shape)).shape)
    return Sample(SliceBackward(shape, op.axes, op.starts, op.stops, op.steps), (dy,), (0,))


@samples(Flip)
def flip(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    axes = tuple(a - draw.choice(0, len(shape)) for a in draw.subset(range(len(shape))))
    return Sample(Flip(axes), (draw.normal(shape),), (0,))


@samples(Pad)
def pad(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    pads = tuple(draw.pair(0, 2) for _ in shape)
    return Sample(Pad(pads, draw.choice(0.0, -1.5)), (draw.normal(shape),), (0,))


INDEX = ("int64", "int32", "uint8")


@samples(Gather)
def gather(draw: Draw) -> Sample:
    shape = draw.shape(1, 3)
    axis = draw.axis(len(shape))
    indices = draw.integers(draw.shape(0, 2), 0, shape[axis] - 1, draw.choice(*INDEX))
    return Sample(Gather(axis), (draw.normal(shape), indices), (0,))


@samples(GatherBackward)
def gather_backward(draw: Draw) -> Sample:
    rest = draw.shape(0, 2)
    axis, size = draw.int(0, len(rest)), draw.int(1, 4)
    indices = draw.integers(draw.shape(0, 2), 0, size - 1, draw.choice(*INDEX))
    dy = draw.normal((*rest[:axis], *indices.shape, *rest[axis:]))
    # The axis counts in dx, which has one dimension in place of those of the indices.
    return Sample(GatherBackward(size, axis - draw.choice(0, len(rest) + 1)), (dy, indices), (0,))


@samples(Expand)
def expand(draw: Draw) -> Sample:
    wide = draw.shape(0, 4)
    shape = tuple(draw.choice(size, 1) for size in wide)[draw.int(0, len(wide)) :]
    return Sample(Expand(wide), (draw.normal(shape),), (0,))


@samples(OneHot)
def one_hot(draw: Draw) -> Sample:
    depth = draw.int(1, 5)
    indices = draw.integers(draw.shape(0, 2), 0, depth - 1, draw.choice(*INDEX))
    return Sample(OneHot(depth, draw.choice(*DType)), (indices,))
