"""Contractions in tiles: some columns by some vectors, in registers.

How large a tile is, and what it is made of, follows from the shapes and the registers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .....ir import Dim
from ...lowering.layouts import vectors_of
from ..builder import V
from ..code import Access, Finish, NodeCode, Shape, Stage
from .contraction import Contraction, Operand, Plan, write_contraction
from .elementwise import write_map

Steps = dict[str, Dim]

# Bytes that stay in a second-level cache while others stream by.
NEAR = 768 * 1024


def write_tiles(
    code: NodeCode,
    what: Contraction,
    vector: str,
    inner: tuple[str, ...],
    summed: tuple[str, ...],
    before: tuple[str, ...],
    behind: tuple[str, ...] = (),
    passes: tuple[tuple[str, int], ...] = (),
    within: tuple[str, ...] = (),
    strip: int = 1,
) -> None:
    """Write a contraction with tiles of columns along ``inner`` by vectors along ``vector``.

    Groups of vectors come first; what is left of the axis is written as a launch of its own.

    Args:
        inner: the axis of the columns; before it, the axis of their rows, if they have any.
        before: the parallel axes, beside the vectors and columns, outside of the groups of vectors.
        behind: those inside.
        passes: as in :class:`Plan`.
        within: the parallel axes that are no tasks.
        strip: how many groups of vectors a task has, one after the other within each pass; as many
            as divide them evenly.
    """
    lanes = code.target.lanes(what.dtype.itemsize)
    count = what.sizes[vector]
    arrays = (what.result, what.a, what.b, *what.others)
    vectors, full, rest = groups_of(count, lanes, code.target.registers)

    def write(
        vectors: int,
        arrays: Sequence[Operand],
        sizes: Steps,
        before: tuple[str, ...],
        within: tuple[str, ...],
    ) -> None:
        tile = columns_of(
            [(axis, what.sizes[axis]) for axis in inner], code.target.registers, vectors
        )
        tiled = [axis for axis, _ in tile]
        around = tuple(axis for axis in (*before, *behind) if axis not in tiled)
        inside = tuple(axis for axis in within if axis not in tiled)
        if "t" in sizes:
            tile += (("t", vectors),)
        result, a, b, *others = arrays
        part = replace(
            what,
            sizes={**what.sizes, **sizes},
            result=result,
            a=a,
            b=b,
            others=tuple(others),
        )
        rounds = _rounds(what.sizes, tile[0], behind) if "t" in sizes else None
        plan = Plan(around, vector, tile, summed, passes, inside, rounds)
        write_contraction(code, part, plan)

    if full:
        split = [array.split(vector, lanes, vectors) for array in arrays]
        sizes: Steps = {"u": full, "t": vectors, vector: lanes}
        if strip == 1:
            write(vectors, split, sizes, (*before, "u"), within)
        else:
            strips = [
                replace(array, strides={**array.strides, "v": array.strides["u"] * strip})
                for array in split
            ]
            sizes |= {"u": strip, "v": full // strip}
            write(vectors, strips, sizes, (*before, "v"), ("u", *within))
    if rest != 0:
        left = [array.after(vector, full * vectors * lanes) for array in arrays]
        write(1, left, {vector: rest}, before, within)


def groups_of(count: Dim, lanes: int, registers: int) -> tuple[int, int, Dim]:
    """Vectors in a group, how many whole groups there are, and how many elements are left."""
    if not isinstance(count, int):
        return 1, 0, count
    vectors = vectors_of(count, lanes, registers)
    return vectors, *divmod(count, vectors * lanes)


def known(sizes: Iterable[Dim]) -> int:
    """The product of the known ones."""
    return math.prod(size for size in sizes if isinstance(size, int))


def known_bytes(what: Contraction, sizes: Iterable[Dim]) -> int:
    return known(sizes) * what.dtype.itemsize


def columns_of(
    axes: Sequence[tuple[str, Dim]], registers: int, vectors: int
) -> tuple[tuple[str, int], ...]:
    """Columns of a tile by ``vectors``: as many as the registers hold beside the operands.

    Where the number of columns is known the tiles are as equal as they can be, else a power of two.
    Several rows make a tile together where they are short, so that what lies across the lanes is
    read less often.
    """
    *above, (axis, size) = axes
    most = max(1, (registers - vectors - 2) // vectors)
    if not isinstance(size, int):
        return ((axis, 1 << (most.bit_length() - 1)),)
    together = most // max(1, size)
    for rows, count in above:
        if isinstance(count, int) and min(count, together) > 1:
            return ((rows, even_pieces(count, together)), (axis, size))
    return ((axis, even_pieces(size, most)),)


def _rounds(
    sizes: Mapping[str, Dim], tiled: tuple[str, int], behind: tuple[str, ...]
) -> tuple[str, int] | None:
    """The innermost axis inside of the groups of vectors, and its rounds, if there are some."""
    if not behind:
        return None
    axis, size = behind[-1], sizes[behind[-1]]
    if not isinstance(size, int):
        return None
    rounds = -(-size // tiled[1]) if axis == tiled[0] else size
    return (axis, rounds) if rounds > 1 else None


def even_pieces(size: int, most: int) -> int:
    """The length of pieces of no more than ``most`` that are as equal as they can be."""
    return -(-size // -(-size // most)) if size else 1


def cut(operand: Operand, axis: str, size: Dim) -> Operand:
    """With p counting pieces of an axis."""
    return replace(operand, strides={**operand.strides, "p": operand.strides[axis] * size})


def end_of(
    code: NodeCode, arrays: Sequence[Access], bias: bool
) -> tuple[Sequence[Access], Finish | None]:
    """The arrays that the end of each sum reads, a bias first, and what it makes of them."""
    epilogue = code.epilogue
    if epilogue is None and not bias:
        return arrays, None

    def finish(stage: Stage, lanes: int, total: V, values: Sequence[V]) -> V:
        if bias:
            total, values = stage.f.op("fadd", total, values[0]), values[1:]
        return total if epilogue is None else epilogue.apply(stage, lanes, total, values)

    return (*arrays, *(epilogue.operands if epilogue else ())), finish


def total_of(stage: Stage, values: Sequence[V]) -> V:
    """The sum of some values, in order."""
    total, *others = values
    for other in others:
        total = stage.f.op("fadd", total, other)
    return total


def add_parts(
    code: NodeCode,
    space: Shape,
    parts: Sequence[Access],
    arrays: Sequence[Access] = (),
    finish: Finish | None = None,
) -> None:
    """Write the launch that adds up the parts of each sum, and does what its end is."""

    def total(stage: Stage, lanes: int, values: Sequence[V]) -> V:
        value = total_of(stage, values[: len(parts)])
        return value if finish is None else finish(stage, lanes, value, values[len(parts) :])

    write_map(code, space, (*parts, *arrays), code.result_access(), total)
