"""Export of elementwise arithmetic, comparisons, choice and conversion."""

from __future__ import annotations

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
    return w.cast(x, op.to)
