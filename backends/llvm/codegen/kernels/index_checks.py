"""Checks of the indices that nodes read, those that the graph computes included.

Each index operand is scanned by a launch of its own, as soon as it exists. It notes the first place
of a wrong index in the *status* of the call, and the entry returns right after it, with the number
of the check: nothing has read the index, and nothing that outlasts the call has changed.
"""

from __future__ import annotations

from dataclasses import replace

from .....ir import Dim, Value
from .....ir.dims import ceil_div
from ...abi import Check
from ...schedule.tasks import RUN_ELEMENTS
from ..builder import i64
from ..code import NodeCode
from .copies import index_of, row_operand


def write_check(code: NodeCode, value: Value, size: Dim, status: int, number: int) -> Check:
    """Write the launch that looks through an operand of a node.

    Args:
        code: of the node, for this check alone.
        value: the indices.
        size: how many there are to choose among.
        status: the buffer of one i64: the first place of a wrong index, as an unsigned number.
        number: of the check, from 1; the entry returns it.
    """
    type_ = value.type
    slot = row_operand(code, code.node.operands.index(value))
    with code.stage(ceil_div(type_.size, RUN_ELEMENTS)) as stage:
        f = stage.f
        first, chosen = stage.pointer(status), stage.pointer(slot)
        count, bound = stage.dim(type_.size), stage.dim(size)
        with stage.tasks() as task:
            start = f.mul(task, RUN_ELEMENTS)
            stop = f.intrinsic("smin", f.add(start, RUN_ELEMENTS), count)
            with f.loop(stop, start, carry=[i64(-1)]) as loop:
                index = index_of(stage, type_.dtype, chosen, loop.index)
                # As unsigned numbers, those below 0 are beyond any size.
                wrong = f.compare("icmp uge", index, bound)
                place = f.select(wrong, loop.index, i64(-1))
                loop.next(f.intrinsic("umin", loop.carried[0], place))
            f.value(f"atomicrmw umin {first}, {loop.results[0]} monotonic, align 8", "i64")
    code.launches[:] = [replace(launch, check=number) for launch in code.launches]
    return Check(code.node.path, slot, type_.dtype, size)
