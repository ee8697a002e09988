"""Functions of the elements of tensors, named as in PyTorch: rounding, angles, remainders, bits."""

from __future__ import annotations

from ..ir import Op
from ..ir.ops import elementwise, integers, rounding, trigonometry
from ..ir.tracebacks import user_facing
from .tensor import Number, Tensor
from .tracing import current


def _of(op: Op, x: Tensor) -> Tensor:
    return current().emit(op, x)


def _of_both(op: Op, x: Tensor, y: Tensor | Number) -> Tensor:
    return current().emit(op, x, x._operand(y))


# ---- rounding ----------------------------------------------------------------------------------


@user_facing
def floor(x: Tensor) -> Tensor:
    """The greatest integer that is not above x."""
    return _of(rounding.Floor(), x)


@user_facing
def ceil(x: Tensor) -> Tensor:
    """The least integer that is not below x."""
    return _of(rounding.Ceil(), x)


@user_facing
def round(x: Tensor) -> Tensor:
    """The nearest integer, the even one of two."""
    return _of(rounding.Round(), x)


@user_facing
def isnan(x: Tensor) -> Tensor:
    """Whether x is not a number, as bool."""
    return _of(rounding.IsNan(), x)


@user_facing
def isinf(x: Tensor) -> Tensor:
    """Whether x is infinite, as bool."""
    return _of(rounding.IsInf(), x)


# ---- angles ------------------------------------------------------------------------------------


@user_facing
def sin(x: Tensor) -> Tensor:
    """The sine of an angle in radians."""
    return _of(trigonometry.Sin(), x)


@user_facing
def cos(x: Tensor) -> Tensor:
    """The cosine of an angle in radians."""
    return _of(trigonometry.Cos(), x)


@user_facing
def tan(x: Tensor) -> Tensor:
    """The tangent of an angle in radians."""
    return _of(trigonometry.Tan(), x)


@user_facing
def asin(x: Tensor) -> Tensor:
    """The angle from -pi/2 to pi/2 whose sine is x."""
    return _of(trigonometry.Asin(), x)


@user_facing
def acos(x: Tensor) -> Tensor:
    """The angle from 0 to pi whose cosine is x."""
    return _of(trigonometry.Acos(), x)


@user_facing
def atan(x: Tensor) -> Tensor:
    """The angle from -pi/2 to pi/2 whose tangent is x."""
    return _of(trigonometry.Atan(), x)


@user_facing
def sinh(x: Tensor) -> Tensor:
    """The hyperbolic sine."""
    return _of(trigonometry.Sinh(), x)


@user_facing
def cosh(x: Tensor) -> Tensor:
    """The hyperbolic cosine."""
    return _of(trigonometry.Cosh(), x)


@user_facing
def asinh(x: Tensor) -> Tensor:
    """The inverse of sinh."""
    return _of(trigonometry.Asinh(), x)


@user_facing
def acosh(x: Tensor) -> Tensor:
    """The inverse of cosh, from 1 on."""
    return _of(trigonometry.Acosh(), x)


@user_facing
def atanh(x: Tensor) -> Tensor:
    """The inverse of tanh, between -1 and 1."""
    return _of(trigonometry.Atanh(), x)


# ---- remainders and bits -----------------------------------------------------------------------


@user_facing
def remainder(x: Tensor, other: Tensor | Number) -> Tensor:
    """What division leaves, with the sign of the divisor, as Python's ``%``."""
    return _of_both(integers.Remainder(), x, other)


@user_facing
def fmod(x: Tensor, other: Tensor | Number) -> Tensor:
    """What division leaves, with the sign of x, as C's fmod."""
    return _of_both(integers.Fmod(), x, other)


@user_facing
def logical_xor(x: Tensor, other: Tensor) -> Tensor:
    """Either of two conditions, as ``x ^ other``."""
    return _of_both(elementwise.LogicalXor(), x, other)


@user_facing
def bitwise_and(x: Tensor, other: Tensor | int) -> Tensor:
    """The bits that both integers have."""
    return _of_both(integers.BitwiseAnd(), x, other)


@user_facing
def bitwise_or(x: Tensor, other: Tensor | int) -> Tensor:
    """The bits that either integer has."""
    return _of_both(integers.BitwiseOr(), x, other)


@user_facing
def bitwise_xor(x: Tensor, other: Tensor | int) -> Tensor:
    """The bits that one of two integers has, and the other has not."""
    return _of_both(integers.BitwiseXor(), x, other)


@user_facing
def bitwise_not(x: Tensor) -> Tensor:
    """The bits that an integer has not."""
    return _of(integers.BitwiseNot(), x)


@user_facing
def bitwise_left_shift(x: Tensor, other: Tensor | int) -> Tensor:
    """x * 2**other of integers, which wrap around."""
    return _of_both(integers.LeftShift(), x, other)


@user_facing
def bitwise_right_shift(x: Tensor, other: Tensor | int) -> Tensor:
    """x / 2**other of integers, rounded down."""
    return _of_both(integers.RightShift(), x, other)
