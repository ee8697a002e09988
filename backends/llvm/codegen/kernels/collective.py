"""Sums over ranks: the array is laid out in row-major order, and summed between two calls of the
code."""

from __future__ import annotations

from .....ir.ops.collective import AllReduce
from ..code import NodeCode, emits
from .transpose import write_copy


@emits(AllReduce)
def all_reduce(code: NodeCode) -> None:
    """A copy, which the runtime hands to the communicator of the run, if there is one."""
    (x,) = code.operand_types
    write_copy(code, x.shape, code.operand_access(0), code.result_access(), code.result_order())
