"""The arithmetic of one element, or of a vector of them, for every elementwise op."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .....ir import DType, Op, TensorType
from .....ir.errors import UnsupportedOp
from .....ir.ops import activation, elementwise, error_function, integers, rounding, trigonometry
from ..builder import Function, V, floating, splat, vector
from ..code import COMPUTED
from . import hyperbolic
from . import integers as whole
from . import rounding as rounded
from . import trigonometry as angles
from .error_function import erf, erfc
from .formulas import Num
from .halves import HALVES, bits_of, narrowed, to_odd, widened
from .powers import pow
from .transcendental import exp, log, sigmoid, tanh

Values = Sequence[V]
# (function being written, op, operands, dtype of the operands, lanes) -> value
ElementRule = Callable[[Function, Op, Values, DType, int], V]


def scalar_constant(value: float, dtype: DType, lanes: int = 1) -> V:
    """A number of ``dtype`` in every lane."""
    kind = COMPUTED[dtype]
    if dtype in HALVES:
        return splat(V(str(bits_of(value, dtype)), kind), lanes)
    if dtype.is_float:
        return splat(floating(float(value), kind), lanes)
    return splat(V(str(int(value)), kind), lanes)


def element(f: Function, op: Op, values: Values, operands: Sequence[TensorType], lanes: int) -> V:
    """Write one application of ``op`` on ``lanes`` elements.

    Raises:
        UnsupportedOp: an op, or a dtype, without a rule.
    """
    if isinstance(op, elementwise.Cast):
        return convert(f, values[0], operands[0].dtype, op.to, lanes)
    rule = RULES.get(type(op))
    if rule is None:
        raise UnsupportedOp(
            f"the llvm backend has no element rule for {op.name}",
            fix="add one to RULES in backends/llvm/codegen/math/elements.py",
        )
    return rule(f, op, values, operands[-1].dtype, lanes)


def is_unsigned(dtype: DType) -> bool:
    """Whether a dtype is an unsigned integer."""
    return dtype in (DType.U8, DType.U16, DType.U32, DType.U64)


def _binary(floats: str, integers: str) -> ElementRule:
    def rule(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
        return f.op(floats if dtype.is_float else integers, values[0], values[1])

    return rule


def _choice(write: Callable[[Function, str, V, V, DType], V], which: str) -> ElementRule:
    def rule(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
        return write(f, which, values[0], values[1], dtype)

    return rule


def compare(f: Function, predicate: str, a: V, b: V, dtype: DType) -> V:
    """a ``predicate`` b with the predicates ``eq``, ``lt``, ``le``, ``gt`` and ``ge``; false where
    either is NaN."""
    if dtype.is_float:
        return f.compare(f"fcmp o{predicate}", a, b)
    if predicate == "eq":
        return f.compare("icmp eq", a, b)
    return f.compare(f"icmp {'u' if is_unsigned(dtype) else 's'}{predicate}", a, b)


def extremum(f: Function, which: str, a: V, b: V, dtype: DType) -> V:
    """The ``max`` or ``min`` of two, NaN where either is."""
    if dtype.is_float:
        return f.intrinsic(f"{which}imum", a, b)
    return f.intrinsic(f"{'u' if is_unsigned(dtype) else 's'}{which}", a, b)


def _formula(function: Callable[..., Num]) -> ElementRule:
    def rule(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
        return function(*(Num(f, value) for value in values)).v

    return rule


def _of_either(
    integers: Callable[[Function, V, V, bool], V], floats: Callable[[Num, Num], Num] | None = None
) -> ElementRule:
    """One way for integers, and one for floating-point numbers."""

    def rule(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
        x, y = values
        if floats is not None and dtype.is_float:
            return floats(Num(f, x), Num(f, y)).v
        return integers(f, x, y, is_unsigned(dtype))

    return rule


def _right_shift(f: Function, x: V, y: V, unsigned: bool) -> V:
    return whole.shifted(f, "lshr" if unsigned else "ashr", x, y)


def _bitwise_not(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
    return f.op("xor", values[0], scalar_constant(-1, dtype, lanes))


def _neg(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
    if dtype.is_float:
        return f.value(f"fneg {values[0]}", values[0].type)
    return f.op("sub", scalar_constant(0, dtype, lanes), values[0])


def _abs(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
    if dtype.is_float:
        return f.intrinsic("fabs", values[0])
    if is_unsigned(dtype):
        return values[0]
    zero = scalar_constant(0, dtype, lanes)
    return f.select(f.compare("icmp slt", values[0], zero), f.op("sub", zero, values[0]), values[0])


def _sign(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
    (x,) = values
    zero, one = scalar_constant(0, dtype, lanes), scalar_constant(1, dtype, lanes)
    up = compare(f, "gt", x, zero, dtype)
    if is_unsigned(dtype):
        return f.select(up, one, zero)
    down = compare(f, "lt", x, zero, dtype)
    return f.select(up, one, f.select(down, scalar_constant(-1, dtype, lanes), x))


def _not(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
    return f.op("xor", values[0], splat(V("true", "i1"), lanes))


def _relu(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
    zero = scalar_constant(0, dtype, lanes)
    # Not x > 0: NaN stays NaN.
    return f.select(compare(f, "lt", values[0], zero, dtype), zero, values[0])


def _leaky_relu(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
    assert isinstance(op, activation.LeakyRelu)
    (x,) = values
    leak = f.op("fmul", x, scalar_constant(op.negative_slope, dtype, lanes))
    return f.select(compare(f, "gt", x, scalar_constant(0, dtype, lanes), dtype), x, leak)


def _clip(f: Function, op: Op, values: Values, dtype: DType, lanes: int) -> V:
    assert isinstance(op, activation.Clip)
    (x,) = values
    if op.min is not None:
        least = scalar_constant(op.min, dtype, lanes)
        x = f.select(compare(f, "lt", x, least, dtype), least, x)
    if op.max is not None:
        most = scalar_constant(op.max, dtype, lanes)
        x = f.select(compare(f, "gt", x, most, dtype), most, x)
    return x


def convert(f: Function, x: V, source: DType, to: DType, lanes: int) -> V:
    """``x`` as another dtype; floats become integers by truncation, the nearest out of range."""
    if source is to:
        return x
    if source in HALVES:
        return convert(f, widened(f, x, source), DType.F32, to, lanes)
    if to in HALVES:
        # A bfloat16 is made by way of float32, as everywhere.
        odd = (source, to) == (DType.F64, DType.F16)
        single = to_odd(f, x) if odd else convert(f, x, source, DType.F32, lanes)
        return narrowed(f, single, to)
    kind = vector(COMPUTED[to], lanes)
    if to is DType.BOOL:
        zero = scalar_constant(0, source, lanes)
        how = "fcmp une" if source.is_float else "icmp ne"
        return f.compare(how, x, zero)
    if source.is_float and to.is_float:
        wider = to.itemsize > source.itemsize
        return f.cast("fpext" if wider else "fptrunc", x, kind)
    if source.is_float:
        return f.saturate("fptoui" if is_unsigned(to) else "fptosi", x, kind)
    unsigned = source is DType.BOOL or is_unsigned(source)
    if to.is_float:
        return f.cast("uitofp" if unsigned else "sitofp", x, kind)
    if source is not DType.BOOL and to.itemsize == source.itemsize:
        return x
    if source is not DType.BOOL and to.itemsize < source.itemsize:
        return f.cast("trunc", x, kind)
    return f.cast("zext" if unsigned else "sext", x, kind)


RULES: dict[type[Op], ElementRule] = {
    elementwise.Add: _binary("fadd", "add"),
    elementwise.Sub: _binary("fsub", "sub"),
    elementwise.Mul: _binary("fmul", "mul"),
    elementwise.Div: lambda f, op, values, dtype, lanes: f.op("fdiv", *values),
    elementwise.Pow: _of_either(whole.power, pow),
    elementwise.Maximum: _choice(extremum, "max"),
    elementwise.Minimum: _choice(extremum, "min"),
    elementwise.Neg: _neg,
    elementwise.Abs: _abs,
    elementwise.Sign: _sign,
    elementwise.Exp: _formula(exp),
    elementwise.Log: _formula(log),
    elementwise.Sqrt: lambda f, op, values, dtype, lanes: f.intrinsic("sqrt", *values),
    elementwise.Equal: _choice(compare, "eq"),
    elementwise.Less: _choice(compare, "lt"),
    elementwise.LessEqual: _choice(compare, "le"),
    elementwise.Greater: _choice(compare, "gt"),
    elementwise.GreaterEqual: _choice(compare, "ge"),
    elementwise.LogicalAnd: _binary("and", "and"),
    elementwise.LogicalOr: _binary("or", "or"),
    elementwise.LogicalXor: _binary("xor", "xor"),
    elementwise.LogicalNot: _not,
    elementwise.Where: lambda f, op, values, dtype, lanes: f.select(*values),
    activation.Relu: _relu,
    activation.LeakyRelu: _leaky_relu,
    activation.Clip: _clip,
    activation.Sigmoid: _formula(sigmoid),
    activation.Tanh: _formula(tanh),
    error_function.Erf: _formula(erf),
    error_function.Erfc: _formula(erfc),
    integers.TruncDiv: _of_either(whole.quotient),
    integers.Remainder: _of_either(whole.remainder, rounded.remainder),
    integers.Fmod: _of_either(whole.fmod, rounded.fmod),
    integers.BitwiseAnd: _binary("and", "and"),
    integers.BitwiseOr: _binary("or", "or"),
    integers.BitwiseXor: _binary("xor", "xor"),
    integers.BitwiseNot: _bitwise_not,
    integers.LeftShift: _of_either(lambda f, x, y, unsigned: whole.shifted(f, "shl", x, y)),
    integers.RightShift: _of_either(_right_shift),
    rounding.Floor: _formula(rounded.floor),
    rounding.Ceil: _formula(rounded.ceil),
    rounding.Round: _formula(rounded.round_even),
    trigonometry.Sin: _formula(angles.sin),
    trigonometry.Cos: _formula(angles.cos),
    trigonometry.Tan: _formula(angles.tan),
    trigonometry.Asin: _formula(angles.asin),
    trigonometry.Acos: _formula(angles.acos),
    trigonometry.Atan: _formula(angles.atan),
    trigonometry.Sinh: _formula(hyperbolic.sinh),
    trigonometry.Cosh: _formula(hyperbolic.cosh),
    trigonometry.Asinh: _formula(hyperbolic.asinh),
    trigonometry.Acosh: _formula(hyperbolic.acosh),
    trigonometry.Atanh: _formula(hyperbolic.atanh),
}
