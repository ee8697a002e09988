"""Export of elementwise arithmetic, comparisons, choice and conversion."""

from __future__ import annotations

import numpy as np

from ...ir import DType, Node
from ...ir.ops.elementwise import (
    Abs,
    Add,
    Cast,
    Div,
    Equal,
    Exp,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Log,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Pow,
    Sign,
    Sqrt,
    Sub,
    Where,
)
from .rules import BF16_IN_F32, exports, exports_as
from .writer import Writer

exports_as(
    {
        Add: "Add",
        Sub: "Sub",
        Mul: "Mul",
        Div: "Div",
        Pow: "Pow",
        Abs: "Abs",
        Sign: "Sign",
        Exp: "Exp",
        Log: "Log",
        Sqrt: "Sqrt",
        Equal: "Equal",
        Less: "Less",
        LessEqual: "LessOrEqual",
        Greater: "Greater",
        GreaterEqual: "GreaterOrEqual",
        LogicalAnd: "And",
        LogicalOr: "Or",
        LogicalNot: "Not",
    }
)
exports_as(
    {Maximum: "Max", Minimum: "Min"},
    carriers={**BF16_IN_F32, DType.I16: DType.I32, DType.U16: DType.I32},
)
exports_as(
    {Neg: "Neg"},
    carriers={
        **BF16_IN_F32,
        DType.U8: DType.I32,
        DType.U16: DType.I32,
        DType.U32: DType.I64,
        DType.U64: DType.I64,
    },
)


@exports(
    Where,
    carriers={
        **BF16_IN_F32,
        DType.I16: DType.I32,
        DType.U16: DType.I32,
        DType.U64: DType.I64,
    },
)
def _where(w: Writer, op: Where, node: Node, condition: str, x: str, y: str) -> str:
    if node.result.type.dtype is not DType.BOOL:
        return w("Where", condition, x, y)
    # ONNX Runtime chooses no bools: z = condition and x, or not condition and y.
    return w("Or", w("And", condition, x), w("And", w("Not", condition), y))


@exports(Cast, carriers={})
def _cast(w: Writer, op: Cast, node: Node, x: str) -> str:
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
