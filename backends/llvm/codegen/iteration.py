"""Iteration spaces: axes with sizes, and the strides by which arrays are addressed over them."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir import Dim
from ....ir.layout import Strides
from ..lowering.access import Shape
from .builder import V, i64
from .code import Stage


def collapse(space: Shape, accesses: Sequence[Strides]) -> tuple[Shape, list[Strides]]:
    """The same iteration with as few axes as possible.

    Axes of size 1 go; two neighbours merge where every array steps over them evenly.
    """
    kept = [axis for axis, size in enumerate(space) if size != 1]
    sizes: list[Dim] = []
    strides: list[list[Dim]] = [[] for _ in accesses]
    for axis in kept:
        size = space[axis]
        steps = [access[axis] for access in accesses]
        if sizes and all(own[-1] == step * size for own, step in zip(strides, steps)):
            sizes[-1] = sizes[-1] * size
            for own, step in zip(strides, steps):
                own[-1] = step
        else:
            sizes.append(size)
            for own, step in zip(strides, steps):
                own.append(step)
    return tuple(sizes), [tuple(own) for own in strides]


def unravel(stage: Stage, index: V, sizes: Sequence[V]) -> list[V]:
    """The index of each axis, from a linear index over them all."""
    f = stage.f
    result: list[V] = []
    for size in list(sizes)[:0:-1]:
        result.append(f.op("urem", index, size))
        index = f.op("udiv", index, size)
    if sizes:
        result.append(index)
    return result[::-1]


def offset(stage: Stage, indices: Sequence[V], strides: Sequence[V]) -> V:
    """The sum of index * stride."""
    total = i64(0)
    for index, stride in zip(indices, strides):
        total = stage.f.add(total, stage.f.mul(index, stride))
    return total
