"""Export of reductions.

ONNX does not say what the maximum of NaN and a number is: here it is NaN, in ONNX Runtime's
reductions and pooling it may be the number.
"""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops.reduce import (
    ArgMax,
    ArgMin,
    LogSumExp,
    Max,
    Mean,
    Min,
    Prod,
    Reduction,
    Sum,
    normalize_axes,
)
from .rules import BF16_IN_F32, SHORTS_IN_I32, exports
from .writer import Writer

_SMALL = dict.fromkeys((DType.I8, DType.I16, DType.U8, DType.U16), DType.I32)
_ORDERED = {**SHORTS_IN_I32, DType.U32: DType.I64}
# Half of the numbers that u64 has.
HALF = 2**63


_WRAPPING = {**BF16_IN_F32, **_SMALL, DType.U32: DType.I64, DType.U64: DType.I64}


@exports(Sum, carriers=_WRAPPING)
def _sum(w: Writer, op: Sum, node: Node, x: str) -> str:
    return _reduce(w, "ReduceSum", op, node, x)


@exports(Prod, carriers=_WRAPPING)
def _prod(w: Writer, op: Prod, node: Node, x: str) -> str:
    return _reduce(w, "ReduceProd", op, node, x)


@exports(LogSumExp)
def _log_sum_exp(w: Writer, op: LogSumExp, node: Node, x: str) -> str:
    return _reduce(w, "ReduceLogSumExp", op, node, x)


@exports(Mean)
def _mean(w: Writer, op: Mean, node: Node, x: str) -> str:
    return _reduce(w, "ReduceMean", op, node, x)


@exports(Max, Min, carriers=_ORDERED)
def _extreme(w: Writer, op: Max | Min, node: Node, x: str) -> str:
    op_type = "ReduceMax" if isinstance(op, Max) else "ReduceMin"
    if node.operands[0].type.dtype is not DType.U64:
        return _reduce(w, op_type, op, node, x)
    found = _reduce(w, op_type, op, node, ordered(w, x))
    return w("Add", w.cast(found, DType.U64), w.constant(HALF, DType.U64))


@exports(ArgMax, ArgMin, carriers=_ORDERED)
def _arg_extreme(w: Writer, op: ArgMax | ArgMin, node: Node, x: str) -> str:
    if node.operands[0].type.dtype is DType.U64:
        x = ordered(w, x)
    op_type = "ArgMax" if isinstance(op, ArgMax) else "ArgMin"
    last = int(op.select_last_index)
    return w(op_type, x, axis=op.axis, keepdims=int(op.keepdims), select_last_index=last)


def _reduce(w: Writer, op_type: str, op: Reduction, node: Node, x: str) -> str:
    axes = normalize_axes(op.axes, node.operands[0].type.rank, op.name)
    # An empty list of axes would mean all of them.
    return w.reduce(op_type, x, axes, keepdims=op.keepdims) if axes else w("Identity", x)


def ordered(w: Writer, x: str) -> str:
    """u64 as i64 of the same order: x - 2**63, which wraps around to the cast's range."""
    return w.cast(w("Sub", x, w.constant(HALF, DType.U64)), DType.I64)
