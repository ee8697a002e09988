"""Export of reductions.

ONNX does not say what the maximum of NaN and a number is: here it is NaN, in ONNX Runtime's
reductions and pooling it may be the number.
"""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops.reduce import ArgMax, Max, Mean, Reduction, Sum, normalize_axes
from .rules import BF16_IN_F32, SHORTS_IN_I32, exports
from .writer import Writer

_SMALL = dict.fromkeys((DType.I8, DType.I16, DType.U8, DType.U16), DType.I32)
_ORDERED = {**SHORTS_IN_I32, DType.U32: DType.I64}
_HALF = 2**63


@exports(Sum, carriers={**BF16_IN_F32, **_SMALL, DType.U32: DType.I64, DType.U64: DType.I64})
def _sum(w: Writer, op: Sum, node: Node, x: str) -> str:
    return _reduce(w, "ReduceSum", op, node, x)


@exports(Mean)
def _mean(w: Writer, op: Mean, node: Node, x: str) -> str:
    return _reduce(w, "ReduceMean", op, node, x)


@exports(Max, carriers=_ORDERED)
def _max(w: Writer, op: Max, node: Node, x: str) -> str:
    if node.operands[0].type.dtype is not DType.U64:
        return _reduce(w, "ReduceMax", op, node, x)
    greatest = _reduce(w, "ReduceMax", op, node, _ordered(w, x))
    return w("Add", w.cast(greatest, DType.U64), w.constant(_HALF, DType.U64))


@exports(ArgMax, carriers=_ORDERED)
def _argmax(w: Writer, op: ArgMax, node: Node, x: str) -> str:
    if node.operands[0].type.dtype is DType.U64:
        x = _ordered(w, x)
    return w("ArgMax", x, axis=op.axis, keepdims=int(op.keepdims), select_last_index=0)


def _reduce(w: Writer, op_type: str, op: Reduction, node: Node, x: str) -> str:
    axes = normalize_axes(op.axes, node.operands[0].type.rank, op.name)
    # An empty list of axes would mean all of them.
    return w.reduce(op_type, x, axes, keepdims=op.keepdims) if axes else w("Identity", x)


def _ordered(w: Writer, x: str) -> str:
    """u64 as i64 of the same order: x - 2**63, which wraps around to the cast's range."""
    return w.cast(w("Sub", x, w.constant(_HALF, DType.U64)), DType.I64)
