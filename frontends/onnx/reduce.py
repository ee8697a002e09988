"""Import of reductions and of scans."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import DType, Op, Value
from ...ir.ops.constant import size_as
from ...ir.ops.elementwise import Abs, Cast, Log, Mul, Sqrt
from ...ir.ops.integers import TruncDiv
from ...ir.ops.reduce import ArgMax, ArgMin, LogSumExp, Max, Mean, Min, Prod, Reduction, Sum
from ...ir.ops.scan import CumProd, CumSum
from .call import Call
from .rules import Made, imports

_Axes = tuple[int, ...] | None
_PLAIN: dict[str, Callable[[_Axes, bool], Reduction]] = {
    "ReduceSum": Sum,
    "ReduceMean": Mean,
    "ReduceMax": Max,
    "ReduceMin": Min,
    "ReduceProd": Prod,
    "ReduceLogSumExp": LogSumExp,
}
# Sums of what is done to each element, of which something is made again.
_SUMS: dict[str, tuple[Op | None, Op | None]] = {
    "ReduceL1": (Abs(), None),
    "ReduceL2": (Mul(), Sqrt()),
    "ReduceSumSquare": (Mul(), None),
    "ReduceLogSum": (None, Log()),
}
_OF_FLOATS = ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
# Of these the axes became an operand in opset 18; those of ReduceSum in 13.
_OPERAND_SINCE = {"ReduceSum": 13}


@imports(*_PLAIN, *_SUMS)
def _reduce(n: Call) -> Made:
    """Since 1: axes is an attribute; 13 (ReduceSum) and 18: an operand, noop_with_empty_axes.

    ReduceMax-20 and ReduceMin-20 take bools too.
    """
    x = n.value(0)
    axes: _Axes = n.listed("axes", 1, _OPERAND_SINCE.get(n.op_type, 18))
    keep, nothing = bool(n.integer("keepdims", 1)), n.integer("noop_with_empty_axes", 0)
    if not axes:
        axes = () if nothing else None
    dtype = x.type.dtype
    if dtype is DType.BOOL:  # of bytes that are 0 or 1
        x = n.b(Cast(DType.U8), x)
    elif dtype.is_integer and n.op_type in _OF_FLOATS:
        x = n.b(Cast(DType.F64), x)
    y = _reduced(n, x, axes, keep)
    return y if y.type.dtype is dtype else n.b(Cast(dtype), y)


def _reduced(n: Call, x: Value, axes: _Axes, keep: bool) -> Value:
    if n.op_type in _SUMS:
        before, after = _SUMS[n.op_type]
        if before is not None:
            x = n.b(before, *((x, x) if isinstance(before, Mul) else (x,)))
        y = n.b(Sum(axes, keep), x) if axes != () else x
        return y if after is None else n.b(after, y)
    if axes == ():
        return x
    op = _PLAIN[n.op_type](axes, keep)
    if isinstance(op, (Max, Min)):
        count = op.count(x.type)
        op = op.with_attributes(allow_empty=not isinstance(count, int) or count == 0)
    if isinstance(op, Mean) and x.type.dtype.is_integer:
        total = n.b(Sum(axes, keep), x)
        return n.b(TruncDiv(), total, size_as(n.b, op.count(x.type), x.type.dtype))
    return n.b(op, x)


@imports("ArgMax", "ArgMin")
def _arg_extreme(n: Call) -> Made:
    """Since 1; 11: the axis may count from the last; 12: select_last_index."""
    axis, keep = n.integer("axis", 0), bool(n.integer("keepdims", 1))
    op = ArgMax if n.op_type == "ArgMax" else ArgMin
    return n.b(op(axis, keep, bool(n.integer("select_last_index", 0))), n.value(0))


@imports("CumSum", "CumProd")
def _cumulative(n: Call) -> Made:
    """CumSum-11 and 14, CumProd-26: the axis is an operand."""
    (axis,) = n.integers(1, "axis")
    exclusive, reverse = bool(n.integer("exclusive", 0)), bool(n.integer("reverse", 0))
    op = CumSum if n.op_type == "CumSum" else CumProd
    return n.b(op(axis, exclusive, reverse), n.value(0))
