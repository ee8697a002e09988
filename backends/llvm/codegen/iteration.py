"""Iteration spaces: axes with sizes, and the strides by which arrays are addressed over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....ir import Dim, DType
from ....ir.layout import Strides
from ..lowering.access import Access, Shape
from .builder import Function, Index, V, i64
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
        if size.text == "1":
            result.append(i64(0))
            continue
        result.append(f.op("urem", index, size))
        index = f.op("udiv", index, size)
    if sizes:
        result.append(index)
    return result[::-1]


@dataclass(frozen=True)
class Placed:
    """An array within a launch, seen from one of its elements.

    Attributes:
        steps: the strides of its axes, in elements.
    """

    f: Function
    dtype: DType
    pointer: V
    steps: Sequence[V]

    @staticmethod
    def of(stage: Stage, access: Access, axes: Sequence[int] | None = None) -> Placed:
        """An array over some of its axes, or all, from its first element; ask outside of loops."""
        strides = access.strides if axes is None else [access.strides[axis] for axis in axes]
        return Placed(stage.f, access.dtype, stage.base(access), list(map(stage.dim, strides)))

    def at(self, *indices: Index) -> V:
        """The address of an element; axes that are not told are at 0."""
        f, place = self.f, i64(0)
        for index, step in zip(indices, self.steps):
            place = f.add(place, f.mul(index, step))
        return f.at(self.pointer, place, self.dtype.itemsize)

    def within(self, *indices: Index) -> Placed:
        """The array over its further axes, at these places along the first ones."""
        return replace(self, pointer=self.at(*indices), steps=self.steps[len(indices) :])
