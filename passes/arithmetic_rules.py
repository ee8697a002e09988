"""Rules of elementwise arithmetic, choice and conversion.

They keep the meaning of IEEE 754, infinities and NaN included: x * 0 is not 0 (x may be infinite),
x / x is not 1, and sums are not regrouped. Two things may differ, both far below any tolerance:
the sign of a zero (-0.0 + 0.0 is +0.0, so ``AddZero`` turns a +0.0 into -0.0), and the last bit
where ``MulMul`` rounds once in place of twice.
"""

from __future__ import annotations

import numpy as np

from ..ir import Array, Builder, DType, Literal, Value
from ..ir.ops.constant import Constant
from ..ir.ops.elementwise import (
    Add,
    Cast,
    Div,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Pow,
    Sub,
    Where,
)
from ..ir.rewrite import Match, OpPattern, Rule, Var
from .matching import Const, Fill, ToOperand, ToOperandOfType, keeps_type, matched_array

X, Y = Var("x"), Var("y")


class AddZero(ToOperandOfType):
    """x + 0 = x"""

    pattern = OpPattern(Add, X, Fill(0), commutative=True)


class SubZero(ToOperandOfType):
    """x - 0 = x"""

    pattern = OpPattern(Sub, X, Fill(0))


class MulOne(ToOperandOfType):
    """x * 1 = x"""

    pattern = OpPattern(Mul, X, Fill(1), commutative=True)


class DivOne(ToOperandOfType):
    """x / 1 = x"""

    pattern = OpPattern(Div, X, Fill(1))


class PowOne(ToOperandOfType):
    """x ** 1 = x"""

    pattern = OpPattern(Pow, X, Fill(1))


class NegNeg(ToOperand):
    """--x = x"""

    pattern = OpPattern(Neg, OpPattern(Neg, X))


class NotNot(ToOperand):
    """not not x = x"""

    pattern = OpPattern(LogicalNot, OpPattern(LogicalNot, X))


class SameOperands(ToOperand):
    """max(x, x) = min(x, x) = (x and x) = (x or x) = x"""

    pattern = OpPattern((Maximum, Minimum, LogicalAnd, LogicalOr), X, X)


class CastSame(ToOperandOfType):
    """cast(x, dtype of x) = x"""

    pattern = OpPattern(Cast, X)


class WhereTrue(ToOperandOfType):
    """where(true, x, y) = x"""

    pattern = OpPattern(Where, Fill(1), X, Y)


class WhereFalse(ToOperandOfType):
    """where(false, y, x) = x"""

    pattern = OpPattern(Where, Fill(0), Y, X)


class WhereSame(ToOperandOfType):
    """where(c, x, x) = x"""

    pattern = OpPattern(Where, Var("c"), X, X)


class WhereNot(Rule):
    """where(not c, x, y) = where(c, y, x)"""

    pattern = OpPattern(Where, OpPattern(LogicalNot, Var("c")), X, Y)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Where(), match["c"], match["y"], match["x"])


class AddNeg(Rule):
    """x + -y = x - y"""

    pattern = OpPattern(Add, X, OpPattern(Neg, Y), commutative=True)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Sub(), match["x"], match["y"])


class SubNeg(Rule):
    """x - -y = x + y"""

    pattern = OpPattern(Sub, X, OpPattern(Neg, Y))

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Add(), match["x"], match["y"])


class MulMinusOne(Rule):
    """x * -1 = -x"""

    pattern = OpPattern(Mul, X, Fill(-1), commutative=True)

    def check(self, match: Match) -> str | None:
        return keeps_type(match)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Neg(), match["x"])


class NegMul(Rule):
    """-(x * c) = x * -c for a constant c"""

    pattern = OpPattern(Neg, OpPattern(Mul, X, Const("c"), name="product", commutative=True))
    alone = ("product",)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Mul(), match["x"], _constant(b, -matched_array(match, "c"), match["c"]))


class PowTwo(Rule):
    """x ** 2 = x * x"""

    pattern = OpPattern(Pow, X, Fill(2))

    def check(self, match: Match) -> str | None:
        return keeps_type(match)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Mul(), match["x"], match["x"])


class MulMul(Rule):
    """(x * a) * b = x * (a * b) for constants a and b"""

    pattern = OpPattern(
        Mul,
        OpPattern(Mul, X, Const("a"), name="product", commutative=True),
        Const("b"),
        commutative=True,
    )
    alone = ("product",)

    def check(self, match: Match) -> str | None:
        a, b = matched_array(match, "a"), matched_array(match, "b")
        product = _product(a, b)
        if product.size > max(a.size, b.size):
            return "the product of the constants is larger than each of them"
        if product.dtype.kind == "f" and not _is_normal(product):
            return "the product of the constants overflows or underflows"
        return None

    def replace(self, b: Builder, match: Match) -> Value:
        product = _product(matched_array(match, "a"), matched_array(match, "b"))
        return b(Mul(), match["x"], _constant(b, product, match["a"]))


class DivByPowerOfTwo(Rule):
    """x / c = x * (1 / c) for a constant power of two, whose reciprocal is exact"""

    pattern = OpPattern(Div, X, Const("c"))

    def check(self, match: Match) -> str | None:
        c = matched_array(match, "c")
        mantissa, _ = np.frexp(c)
        if not np.all(np.abs(mantissa) == 0.5) or not _is_normal(_reciprocal(c)):
            return f"%{match['c'].name} holds other numbers than powers of two"
        return None

    def replace(self, b: Builder, match: Match) -> Value:
        c = matched_array(match, "c")
        return b(Mul(), match["x"], _constant(b, _reciprocal(c), match["c"]))


class CastCast(Rule):
    """cast(cast(x, wide), dtype) = cast(x, dtype) where ``wide`` holds every value of x"""

    pattern = OpPattern(Cast, OpPattern(Cast, X))

    def check(self, match: Match) -> str | None:
        source, wide = match["x"].type.dtype, match.root.operands[0].type.dtype
        if not holds(wide, source):
            return f"{wide} does not hold every {source}"
        to = match.root.result.type.dtype
        if source.is_integer and wide.is_float and to.is_integer and not holds(to, source):
            return f"out of range, {source} wraps around to {to}, and {wide} does not"
        return None

    def replace(self, b: Builder, match: Match) -> Value:
        return b(match.root.op, match["x"])


def holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of ``narrow`` is one of ``wide``."""
    if wide is narrow:
        return True
    if wide.is_float and narrow.is_integer:
        precision = {DType.BF16: 8, DType.F16: 11, DType.F32: 24, DType.F64: 53}[wide]
        return np.iinfo(narrow.numpy).bits <= precision
    if DType.BF16 in (wide, narrow):
        return narrow is DType.BOOL or (narrow is DType.BF16 and wide in (DType.F32, DType.F64))
    return np.can_cast(narrow.numpy, wide.numpy, "safe")


def _constant(b: Builder, array: Array, like: Value) -> Value:
    return b(Constant(Literal(array, like.type.dtype)))


def _product(a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.multiply(a, b)


def _reciprocal(array: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.divide(array.dtype.type(1), array)


def _is_normal(array: Array) -> bool:
    """Whether all elements are finite and none has lost digits by underflow."""
    return bool(np.all(np.isfinite(array) & (np.abs(array) >= np.finfo(array.dtype).tiny)))


ARITHMETIC: tuple[Rule, ...] = (
    AddZero(),
    SubZero(),
    MulOne(),
    DivOne(),
    PowOne(),
    NegNeg(),
    NotNot(),
    SameOperands(),
    CastSame(),
    WhereTrue(),
    WhereFalse(),
    WhereSame(),
    WhereNot(),
    AddNeg(),
    SubNeg(),
    MulMinusOne(),
    NegMul(),
    PowTwo(),
    MulMul(),
    DivByPowerOfTwo(),
    CastCast(),
)
