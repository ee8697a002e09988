"""Contractions in register tiles, as a schedule says, and what is shared by those that use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .....ir import Dim
from ...lowering.access import Access, Shape
from ...schedule.tiles import Loops, Tiling, groups_of
from ..builder import V
from ..code import Finish, NodeCode, Stage
from .contraction import Contraction, Operand, write_contraction
from .elementwise import write_elementwise

Steps = dict[str, Dim]


def write_tiles(code: NodeCode, what: Contraction, tiling: Tiling) -> None:
    """Write a contraction: whole groups of vectors, and what is left as a launch of its own."""
    lanes, vector = code.target.lanes(what.dtype.itemsize), tiling.vector
    arrays = (what.result, what.a, what.b, *what.others)
    width = tiling.vectors * lanes
    groups, rest = groups_of(what.sizes[vector], width)

    def write(arrays: Sequence[Operand], sizes: dict[str, Dim], loops: Loops) -> None:
        result, a, b, *others = arrays
        sizes = {**what.sizes, **sizes}
        part = replace(what, sizes=sizes, result=result, a=a, b=b, others=tuple(others))
        write_contraction(code, part, loops)

    if groups:
        split = [array.split(vector, lanes, tiling.vectors) for array in arrays]
        sizes: dict[str, Dim] = {"u": groups, "t": tiling.vectors, vector: lanes}
        if tiling.strip > 1:
            split = [
                replace(array, strides={**array.strides, "v": array.strides["u"] * tiling.strip})
                for array in split
            ]
            sizes |= {"u": tiling.strip, "v": groups // tiling.strip}
        write(split, sizes, tiling.grouped(what.sizes))
    if rest != 0:
        left = [array.after(vector, groups * width) for array in arrays]
        write(left, {vector: rest}, tiling.rest(what.sizes, code.target))


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

    write_elementwise(code, space, (*parts, *arrays), code.result_access(), total)
