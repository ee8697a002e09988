"""Import of elementwise arithmetic, comparisons, choice and conversion."""

from __future__ import annotations

from functools import reduce

from ...ir import DType, Op, Value
from ...ir.evaluate import evaluate_op
from ...ir.onnx.opsets import NUMPY_BROADCASTING
from ...ir.onnx.tensors import dtype_of
from ...ir.ops import elementwise as ops
from ...ir.ops import integers, rounding, trigonometry
from ...ir.ops.shape import Reshape
from .call import Call
from .rules import Known, Made, imports

_BINARY: dict[str, Op] = {
    "Add": ops.Add(),
    "Sub": ops.Sub(),
    "Mul": ops.Mul(),
    "Div": ops.Div(),
    "Equal": ops.Equal(),
    "Less": ops.Less(),
    "Greater": ops.Greater(),
    "LessOrEqual": ops.LessEqual(),
    "GreaterOrEqual": ops.GreaterEqual(),
    "And": ops.LogicalAnd(),
    "Or": ops.LogicalOr(),
    "Xor": ops.LogicalXor(),
    "BitwiseAnd": integers.BitwiseAnd(),
    "BitwiseOr": integers.BitwiseOr(),
    "BitwiseXor": integers.BitwiseXor(),
}
_UNARY: dict[str, Op] = {
    "Neg": ops.Neg(),
    "Abs": ops.Abs(),
    "Sign": ops.Sign(),
    "Exp": ops.Exp(),
    "Log": ops.Log(),
    "Sqrt": ops.Sqrt(),
    "Not": ops.LogicalNot(),
    "BitwiseNot": integers.BitwiseNot(),
    "Floor": rounding.Floor(),
    "Ceil": rounding.Ceil(),
    "Round": rounding.Round(),
    "IsNaN": rounding.IsNan(),
    **{
        op.__name__: op()
        for op in (
            *(trigonometry.Sin, trigonometry.Cos, trigonometry.Tan),
            *(trigonometry.Asin, trigonometry.Acos, trigonometry.Atan),
            *(trigonometry.Sinh, trigonometry.Cosh),
            *(trigonometry.Asinh, trigonometry.Acosh, trigonometry.Atanh),
        )
    },
}
_VARIADIC: dict[str, Op] = {"Max": ops.Maximum(), "Min": ops.Minimum(), "Sum": ops.Add()}
# The names that Cast-1 took for dtypes.
_NAMES = {dtype.numpy.name.upper(): dtype for dtype in DType}
_NAMES |= {"FLOAT": DType.F32, "DOUBLE": DType.F64}


def _pair(n: Call) -> tuple[Value, Value]:
    """Both operands. Before opset 7 the second is aligned at an axis where broadcast=1."""
    x, y = n.value(0), n.value(1)
    if n.opset >= NUMPY_BROADCASTING:
        return x, y
    n.ignore("consumed_inputs")
    axis = n.integer("axis", x.type.rank - y.type.rank)
    if n.integer("broadcast", 0):
        axis += x.type.rank * (axis < 0)
        after = x.type.rank - axis - y.type.rank
        if after > 0:
            y = n.b(Reshape((*y.type.shape, *(1,) * after)), y)
    return x, y


@imports(*_BINARY)
def _binary(n: Call) -> Made:
    """Since 1; since 7 broadcast as in NumPy."""
    x, y = _pair(n)
    if n.op_type == "Div" and x.type.dtype.is_integer:
        return n.b(integers.TruncDiv(), x, y)
    return n.b(_BINARY[n.op_type], x, y)


@imports("Mod")
def _mod(n: Call) -> Made:
    """Mod-10 and 13: the sign is that of the divisor, with fmod=1 that of the dividend."""
    x, y = n.value(0), n.value(1)
    op = integers.Fmod() if n.integer("fmod", 0) else integers.Remainder()
    return n.b(op, x, y)


@imports("BitShift")
def _bit_shift(n: Call) -> Made:
    """BitShift-11."""
    direction = n.text("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise n.refuse(f"direction is {direction!r}, not LEFT or RIGHT")
    op = integers.LeftShift() if direction == "LEFT" else integers.RightShift()
    return n.b(op, n.value(0), n.value(1))


@imports("Pow")
def _pow(n: Call) -> Made:
    """Pow-1 and 7; 12: the exponent may have another dtype, and both may be integers."""
    x, y = _pair(n)
    base, exponent = x.type.dtype, y.type.dtype
    if base is exponent:
        return n.b(ops.Pow(), x, y)
    if base.is_integer:
        wide = DType.I64 if exponent.is_integer else DType.F64
    else:
        # Exponents that the dtype of the base does not hold, odd ones among them, are kept.
        held = isinstance(n.operand(1), Known) or exponent.itemsize < base.itemsize
        wide = base if held else DType.F64
    return _as(n, n.b(ops.Pow(), _as(n, x, wide), _as(n, y, wide)), base)


def _as(n: Call, x: Value, dtype: DType) -> Value:
    return x if x.type.dtype is dtype else n.b(ops.Cast(dtype), x)


@imports("IsInf")
def _is_inf(n: Call) -> Made:
    """IsInf-10 to 20: detect_negative and detect_positive."""
    signs = (bool(n.integer(f"detect_{sign}", 1)) for sign in ("negative", "positive"))
    return n.b(rounding.IsInf(*signs), n.value(0))


@imports(*_UNARY)
def _unary(n: Call) -> Made:
    """Since 1."""
    n.ignore("consumed_inputs")
    return n.b(_UNARY[n.op_type], n.value(0))


@imports("Reciprocal")
def _reciprocal(n: Call) -> Made:
    """Reciprocal-1 to 13: 1 / x."""
    n.ignore("consumed_inputs")
    x = n.value(0)
    return n.b(ops.Div(), n.scalar(1, x), x)


@imports(*_VARIADIC, "Mean")
def _variadic(n: Call) -> Made:
    """Max, Min, Sum and Mean since 1, of one operand or more; 8: broadcast."""
    n.ignore("consumed_inputs")
    first, *others = n.values()
    op = _VARIADIC.get(n.op_type, ops.Add())
    total = reduce(lambda x, y: n.b(op, x, y), others, first)
    return n.b(ops.Div(), total, n.scalar(1 + len(others), total)) if n.op_type == "Mean" else total


@imports("Where")
def _where(n: Call) -> Made:
    """Where-9 and 16."""
    return n.b(ops.Where(), n.value(0), n.value(1), n.value(2))


@imports("Cast")
def _cast(n: Call) -> Made:
    """Cast-1: the dtype is a name; 6: a number; 19: saturate, 24: round_mode, for float8 alone."""
    n.ignore("saturate", "round_mode")
    given = n.attribute("to")
    if given is None:
        raise n.refuse("it has no attribute 'to'", "the file is damaged: export it again")
    x = n.value(0)
    named = _NAMES.get(given.s.decode("utf-8", "replace").upper())
    to = named or dtype_of(given.i, f"the result of Cast of opset {n.opset}")
    return x if x.type.dtype is to else n.b(ops.Cast(to), x)


@imports("CastLike")
def _cast_like(n: Call) -> Made:
    """CastLike-15."""
    n.ignore("saturate", "round_mode")
    found, like = n.operand(0), n.operand(1)
    to = like.type.dtype if isinstance(like, Value) else like.dtype
    if isinstance(found, Known) and found.size == 1 and not found.symbolic:
        (array,) = evaluate_op(ops.Cast(to), [found.array], {}, [to])
        return Known("", array, to)
    x = n.as_value(found)
    return x if x.type.dtype is to else n.b(ops.Cast(to), x)
