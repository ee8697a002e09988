"""Scans along one axis: each line in order, by one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .....ir import Op, TensorType
from .....ir.dims import product
from .....ir.ops.reduce import normalize_axis
from .....ir.ops.scan import CumSum, LinearRecurrence
from ...registry import Facts, Types
from ..builder import V
from ..code import NodeCode, Stage, emits
from ..math.elements import scalar_constant
from .copies import row_operand
from .elementwise import load, store

# Makes of the last sum and the elements at a place the next sum.
Step = Callable[[Stage, V, list[V]], V]


class _Scan(Facts):
    def by_image(self, op: Any, operands: Types, result: TensorType, of_images: Any) -> bool:
        return all(of_images) and normalize_axis(op.axis, result.rank, op.name) != 0


@emits(CumSum, facts=_Scan())
def cumsum(code: NodeCode) -> None:
    """The sum so far, before or after the element is added."""
    op = code.op(CumSum)
    write_lines(code, op, op.axis, op.reverse, _sum, op.exclusive)


@emits(LinearRecurrence, facts=_Scan())
def linear_recurrence(code: NodeCode) -> None:
    """a times the last element, and x."""
    op = code.op(LinearRecurrence)
    write_lines(code, op, op.axis, op.reverse, _recurrence)


def _sum(stage: Stage, last: V, values: list[V]) -> V:
    floats = last.type in ("float", "double")
    return stage.f.op("fadd" if floats else "add", last, values[0])


def _recurrence(stage: Stage, last: V, values: list[V]) -> V:
    kind = "f" if last.type in ("float", "double") else ""
    a, x = values
    return stage.f.op(f"{kind}add", stage.f.op(f"{kind}mul", a, last), x)


def write_lines(
    code: NodeCode, op: Op, axis: int, reverse: bool, step: Step, exclusive: bool = False
) -> None:
    """Write one launch: along each line from 0 on, what ``step`` makes of the last result."""
    y = code.node.result.type
    axis = normalize_axis(axis, y.rank, op.name)
    before, length, after = product(y.shape[:axis]), y.shape[axis], product(y.shape[axis + 1 :])
    slots = [row_operand(code, place) for place in range(len(code.operand_types))]
    with code.stage(before * after) as stage:
        f, size = stage.f, y.dtype.itemsize
        sources, target = [stage.pointer(slot) for slot in slots], stage.base(code.result_access())
        count, width = stage.dim(length), stage.dim(after)
        with stage.tasks() as task:
            row, column = f.op("udiv", task, width), f.op("urem", task, width)
            start = f.add(f.mul(row, f.mul(count, width)), column)
            with f.loop(count, carry=[scalar_constant(0, y.dtype)]) as loop:
                place = loop.index
                if reverse:
                    place = f.op("sub", f.op("sub", count, place), V("1", "i64"))
                at = f.add(start, f.mul(place, width))
                values = [load(stage, y.dtype, f.at(x, at, size), 1) for x in sources]
                (last,) = loop.carried
                found = step(stage, last, values)
                store(stage, y.dtype, last if exclusive else found, f.at(target, at, size), 1)
                loop.next(found)
