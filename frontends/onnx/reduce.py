"""Import of reductions."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Op, Value
from ...ir.ops.elementwise import Abs, Log, Mul, Neg, Sqrt
from ...ir.ops.reduce import ArgMax, Max, Mean, Sum
from .call import Call
from .rules import Made, imports

_Reduced = Callable[[tuple[int, ...] | None, bool], Op]
_PLAIN: dict[str, _Reduced] = {"ReduceSum": Sum, "ReduceMean": Mean, "ReduceMax": Max}
# Of these the axes became an operand in opset 18; those of ReduceSum in 13.
_OPERAND_SINCE = {"ReduceSum": 13}


@imports(*_PLAIN, "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")
def _reduce(n: Call) -> Made:
    """Since 1: axes is an attribute; 13 (ReduceSum) and 18: an operand, noop_with_empty_axes."""
    x = n.value(0)
    axes = n.listed("axes", 1, _OPERAND_SINCE.get(n.op_type, 18))
    keep, nothing = bool(n.integer("keepdims", 1)), n.integer("noop_with_empty_axes", 0)
    if not axes:
        axes = () if nothing else None
    name = n.op_type.removeprefix("Reduce")
    if name in ("L2", "SumSquare"):
        x = n.b(Mul(), x, x)
    elif name == "L1":
        x = n.b(Abs(), x)
    elif name == "Min":
        return _least(n, x, axes, keep)
    y = x if axes == () else n.b(_PLAIN.get(n.op_type, Sum)(axes, keep), x)
    if name == "L2":
        return n.b(Sqrt(), y)
    return n.b(Log(), y) if name == "LogSum" else y


def _least(n: Call, x: Value, axes: tuple[int, ...] | None, keep: bool) -> Value:
    """min x = -max -x, for floats: the least integer has no opposite."""
    if not x.type.dtype.is_float:
        raise n.refuse(f"the least of {x.type}", "cast it to f32 before")
    return x if axes == () else n.b(Neg(), n.b(Max(axes, keep), n.b(Neg(), x)))


@imports("ArgMax")
def _argmax(n: Call) -> Made:
    """ArgMax-1 to 13; 12: select_last_index."""
    if n.integer("select_last_index", 0):
        raise n.refuse("select_last_index=1: cauce gives the first of equal maxima")
    return n.b(ArgMax(n.integer("axis", 0), bool(n.integer("keepdims", 1))), n.value(0))
