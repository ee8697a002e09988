"""Export of elementwise arithmetic, comparisons, choice and conversion."""

from __future__ import annotations

import numpy as np

from ...ir import DType, Node
from ...ir.ops import elementwise as ops
from .integers import POWER_CARRIERS, write_power
from .rules import BF16_IN_F32, SHORTS_IN_I32, exports, exports_as
from .writer import Writer

_UNSIGNED = {DType.U8: DType.I32, DType.U16: DType.I32, DType.U32: DType.I64, DType.U64: DType.I64}
_SAME = (
    *(ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Abs, ops.Sign, ops.Exp, ops.Log, ops.Sqrt),
    *(ops.Equal, ops.Less, ops.Greater),
)

exports_as({op: op.__name__ for op in _SAME})
exports_as({ops.LessEqual: "LessOrEqual", ops.GreaterEqual: "GreaterOrEqual"})
exports_as({ops.LogicalAnd: "And", ops.LogicalOr: "Or", ops.LogicalNot: "Not"})
exports_as({ops.LogicalXor: "Xor"})
exports_as({ops.Maximum: "Max", ops.Minimum: "Min"}, carriers=SHORTS_IN_I32)
exports_as({ops.Neg: "Neg"}, carriers={**BF16_IN_F32, **_UNSIGNED})


@exports(ops.Pow, carriers=POWER_CARRIERS)
def _pow(w: Writer, op: ops.Pow, node: Node, x: str, y: str) -> str:
    if node.result.type.dtype.is_float:
        return w("Pow", x, y)
    return write_power(w, node, x, y)


@exports(ops.Where, carriers={**SHORTS_IN_I32, DType.U64: DType.I64})
def _where(w: Writer, op: ops.Where, node: Node, condition: str, x: str, y: str) -> str:
    if node.result.type.dtype is not DType.BOOL:
        return w("Where", condition, x, y)
    # ONNX Runtime chooses no bools: z = condition and x, or not condition and y.
    return w("Or", w("And", condition, x), w("And", w("Not", condition), y))


@exports(ops.Cast, carriers={})
def _cast(w: Writer, op: ops.Cast, node: Node, x: str) -> str:
    source = node.operands[0].type.dtype
    if source.is_float and op.to.is_integer:
        return _saturated(w, x, source, op.to)
    return w.cast(x, op.to)


def _saturated(w: Writer, x: str, source: DType, to: DType) -> str:
    """Floats as integers within range, and 0 for NaN: ONNX leaves open what becomes of others."""
    if source is not DType.F64:
        source, x = DType.F32, x if source is DType.F32 else w.cast(x, DType.F32)
    info = np.iinfo(to.numpy)
    least, most = int(info.min), int(info.max)
    # The greatest integer, or the number before the power of two that it is rounded to.
    greatest = source.numpy.type(most)
    if int(greatest) > most:
        greatest = np.nextafter(greatest, source.numpy.type(0))
    number = w("Where", w("IsNaN", x), w.constant(0, source), x)
    held = w("Clip", number, w.constant(least, source), w.constant(greatest, source))
    y = w.cast(held, to)
    if int(greatest) == most:
        return y
    above = w("Greater", number, w.constant(greatest, source))
    if to is not DType.U64:
        return w("Where", above, w.constant(most, to), y)
    # ONNX Runtime chooses no u64: as i64 the greatest is -1.
    y = w("Where", above, w.constant(-1, DType.I64), w.cast(y, DType.I64))
    return w.cast(y, to)
