"""Export of division with a remainder, of bits and of shifts.

ONNX Runtime stops the process where an integer is divided by 0, or the least one by -1, and shifts
by a number of bits that processors cut.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array, DType, Node, Value
from ...ir.ops import integers as ops
from ...ir.ops.constant import Constant
from .rules import BF16_IN_F32, Carriers, exports, exports_as
from .writer import Writer

_SMALL = dict.fromkeys((DType.I8, DType.I16, DType.U8, DType.U16), DType.I32)
_UNSIGNED = {DType.U32: DType.I64}
POWER_CARRIERS: Carriers = {**BF16_IN_F32, **_SMALL, **_UNSIGNED}
_WRAPPED = {dtype: DType.of(str(dtype).replace("i", "u")) for dtype in DType if dtype.is_integer}
# BitShift takes unsigned integers alone, and not those of 16 bits.
_SHIFTED: Carriers = {DType.U8: DType.U32, DType.U16: DType.U32}

exports_as({ops.BitwiseAnd: "BitwiseAnd", ops.BitwiseOr: "BitwiseOr"}, carriers={})
exports_as({ops.BitwiseXor: "BitwiseXor", ops.BitwiseNot: "BitwiseNot"}, carriers={})

exports_as({ops.IntegerMatMul: "MatMul"}, carriers=_SMALL)


@exports(ops.TruncDiv, carriers={**_SMALL, **_UNSIGNED})
def _trunc_div(w: Writer, op: ops.TruncDiv, node: Node, x: str, y: str) -> str:
    dtype = node.result.type.dtype
    if _is_plain(node):
        return w("Div", x, y)
    zero, safe = w.constant(0, dtype), _safe(w, y, dtype)
    quotient = w("Div", x, safe)
    if dtype is not DType.U64:
        turned = w("Equal", y, w.constant(-1, dtype))
        quotient = w("Where", turned, w("Sub", zero, x), quotient)
        return w("Where", w("Equal", y, zero), zero, quotient)
    # ONNX Runtime chooses no u64.
    return w("Mul", quotient, w.cast(w("Not", w("Equal", y, zero)), dtype))


@exports(ops.Remainder, ops.Fmod, carriers={**BF16_IN_F32, **_SMALL, **_UNSIGNED})
def _remainder(w: Writer, op: ops.Remainder | ops.Fmod, node: Node, x: str, y: str) -> str:
    dtype, truncated = node.result.type.dtype, isinstance(op, ops.Fmod)
    if dtype.is_float:
        rest = w("Mod", x, y, fmod=1)
        if truncated:
            return rest
        zero = w.constant(0, dtype)
        crossed = w("Xor", w("Less", rest, zero), w("Less", y, zero))
        crossed = w("And", crossed, w("Not", w("Equal", rest, zero)))
        return w("Where", crossed, w("Add", rest, y), rest)
    safe = y if _is_plain(node) else _safe(w, y, dtype)  # with 1 nothing is left either
    return w("Mod", x, safe, fmod=int(truncated))


def _is_plain(node: Node) -> bool:
    """Whether the divisor is a constant with which nothing goes wrong."""
    divisor = known_elements(node.operands[1])
    return divisor is not None and not np.isin(divisor.astype(np.int64), (0, -1)).any()


def known_elements(value: Value) -> Array | None:
    """The elements of a constant; None for what is computed."""
    maker = value.node
    if maker is None or not isinstance(maker.op, Constant):
        return None
    return maker.op.value.array


def _safe(w: Writer, y: str, dtype: DType) -> str:
    """``y`` with 1 for 0, and for -1."""
    zero, one = w.constant(0, dtype), w.constant(1, dtype)
    if dtype is DType.U64:
        return w("Add", y, w.cast(w("Equal", y, zero), dtype))
    y = w("Where", w("Equal", y, zero), one, y)
    return w("Where", w("Equal", y, w.constant(-1, dtype)), one, y)


def write_power(w: Writer, node: Node, x: str, y: str) -> str:
    """x**y of integers by the squares of x: ONNX Runtime's Pow computes in float64.

    A bit of y that is 1 multiplies by a square, one that is 0 by 1.
    """
    dtype, exponents = node.result.type.dtype, known_elements(node.operands[1])
    most = 2 ** (8 * dtype.itemsize) - 1
    if exponents is not None:
        most = max(int(exponents.max(initial=0)), 0)
    one, two = w.constant(1, dtype), w.constant(2, dtype)
    found, square, rest = one, x, y
    for place in range(most.bit_length()):
        if place:
            square = w("Mul", square, square)
        half = w("Div", rest, two)
        bit = w("Sub", rest, w("Mul", half, two))
        found = w("Mul", found, w("Add", one, w("Mul", bit, w("Sub", square, one))))
        rest = half
    if dtype is DType.U64 or (exponents is not None and (exponents >= 0).all()):
        # Of one shape also where no exponent has a bit.
        return found if most else w("Add", w("Mul", x, w("Sub", y, y)), one)
    zero, minus = w.constant(0, dtype), w.constant(-1, dtype)
    odd = w("Equal", w("Mod", y, two), one)
    unit = w("Where", w("And", w("Equal", x, minus), w("Not", odd)), one, x)
    is_unit = w("Or", w("Equal", x, one), w("Equal", x, minus))
    vanishing = w("Where", is_unit, unit, zero)
    return w("Where", w("Less", y, zero), vanishing, found)


@exports(ops.LeftShift, ops.RightShift, carriers={})
def _shift(w: Writer, op: ops.LeftShift | ops.RightShift, node: Node, x: str, y: str) -> str:
    """In unsigned integers; a negative number shifted to the right is the complement of one."""
    dtype = node.result.type.dtype
    left = isinstance(op, ops.LeftShift)
    plain = _WRAPPED[dtype]
    wide = _SHIFTED.get(plain, plain)
    by = w.cast(w.cast(y, plain), wide)
    signed = dtype is not plain and not left
    if signed:
        below = w("Less", x, w.constant(0, dtype))
        # All bits where x is negative.
        turn = w("Sub", w.constant(0, dtype), w.cast(below, dtype))
        x = w("BitwiseXor", x, turn)
    inside = w.cast(w("Less", by, w.constant(8 * dtype.itemsize, wide)), wide)
    held = w("Mul", by, inside)
    found = w(
        "BitShift", w.cast(w.cast(x, plain), wide), held, direction="LEFT" if left else "RIGHT"
    )
    found = w.cast(w.cast(w("Mul", found, inside), plain), dtype)
    return w("BitwiseXor", found, turn) if signed else found
