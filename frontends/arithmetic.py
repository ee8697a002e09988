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
    """The greatest integer that is not above x.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.floor(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([-1.5, 0.5]))
        array([-2.,  0.], dtype=float32)
    """
    return _of(rounding.Floor(), x)


@user_facing
def ceil(x: Tensor) -> Tensor:
    """The least integer that is not below x.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.ceil(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([-1.5, 0.5]))
        array([-1.,  1.], dtype=float32)
    """
    return _of(rounding.Ceil(), x)


@user_facing
def round(x: Tensor) -> Tensor:
    """The nearest integer, the even one of two.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.round(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0.5, 1.5]))
        array([0., 2.], dtype=float32)
    """
    return _of(rounding.Round(), x)


@user_facing
def isnan(x: Tensor) -> Tensor:
    """Whether x is not a number, as bool.

    x is floating-point, of any shape, which the result has.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.isnan(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([1, np.nan]))
        array([False,  True])
    """
    return _of(rounding.IsNan(), x)


@user_facing
def isinf(x: Tensor) -> Tensor:
    """Whether x is infinite, as bool.

    x is floating-point, of any shape, which the result has.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.isinf(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([1, -np.inf]))
        array([False,  True])
    """
    return _of(rounding.IsInf(), x)


# ---- angles ------------------------------------------------------------------------------------


@user_facing
def sin(x: Tensor) -> Tensor:
    """The sine of an angle in radians.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.sin(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([0.    , 0.8415], dtype=float32)
    """
    return _of(trigonometry.Sin(), x)


@user_facing
def cos(x: Tensor) -> Tensor:
    """The cosine of an angle in radians.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.cos(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([1.    , 0.5403], dtype=float32)
    """
    return _of(trigonometry.Cos(), x)


@user_facing
def tan(x: Tensor) -> Tensor:
    """The tangent of an angle in radians.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.tan(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([0.    , 1.5574], dtype=float32)
    """
    return _of(trigonometry.Tan(), x)


@user_facing
def asin(x: Tensor) -> Tensor:
    """The angle from -pi/2 to pi/2 whose sine is x.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.asin(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([0.    , 1.5708], dtype=float32)
    """
    return _of(trigonometry.Asin(), x)


@user_facing
def acos(x: Tensor) -> Tensor:
    """The angle from 0 to pi whose cosine is x.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.acos(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([1.5708, 0.    ], dtype=float32)
    """
    return _of(trigonometry.Acos(), x)


@user_facing
def atan(x: Tensor) -> Tensor:
    """The angle from -pi/2 to pi/2 whose tangent is x.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.atan(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([0.    , 0.7854], dtype=float32)
    """
    return _of(trigonometry.Atan(), x)


@user_facing
def sinh(x: Tensor) -> Tensor:
    """The hyperbolic sine.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.sinh(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([0.    , 1.1752], dtype=float32)
    """
    return _of(trigonometry.Sinh(), x)


@user_facing
def cosh(x: Tensor) -> Tensor:
    """The hyperbolic cosine.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.cosh(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([1.    , 1.5431], dtype=float32)
    """
    return _of(trigonometry.Cosh(), x)


@user_facing
def asinh(x: Tensor) -> Tensor:
    """The inverse of sinh.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.asinh(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1])).round(4)
        array([0.    , 0.8814], dtype=float32)
    """
    return _of(trigonometry.Asinh(), x)


@user_facing
def acosh(x: Tensor) -> Tensor:
    """The inverse of cosh, from 1 on.

    x is floating-point, of any shape; the result has both. Below 1 it is NaN.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.acosh(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([1, 2])).round(4)
        array([0.   , 1.317], dtype=float32)
    """
    return _of(trigonometry.Acosh(), x)


@user_facing
def atanh(x: Tensor) -> Tensor:
    """The inverse of tanh, between -1 and 1.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.atanh(x)).init(x=(2,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 0.5])).round(4)
        array([0.    , 0.5493], dtype=float32)
    """
    return _of(trigonometry.Atanh(), x)


# ---- remainders and bits -----------------------------------------------------------------------


@user_facing
def remainder(x: Tensor, other: Tensor | Number) -> Tensor:
    """What division leaves, with the sign of the divisor, as Python's ``%``.

    x and ``other`` are of one dtype, floating-point or integer; their shapes broadcast, and a
    number takes the dtype of x.

    Raises:
        TypeMismatch: dtypes that differ, or bools.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.remainder(x, 3)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([-4, 4]))
        array([2, 1])
    """
    return _of_both(integers.Remainder(), x, other)


@user_facing
def fmod(x: Tensor, other: Tensor | Number) -> Tensor:
    """What division leaves, with the sign of x, as C's fmod.

    x and ``other`` are of one dtype, floating-point or integer; their shapes broadcast, and a
    number takes the dtype of x.

    Raises:
        TypeMismatch: dtypes that differ, or bools.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.fmod(x, 3)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([-4, 4]))
        array([-1,  1])
    """
    return _of_both(integers.Fmod(), x, other)


@user_facing
def logical_xor(x: Tensor, other: Tensor) -> Tensor:
    """Either of two conditions, as ``x ^ other``.

    Both are bool, and so is the result; their shapes broadcast.

    Raises:
        TypeMismatch: an operand that is not bool.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.logical_xor(x > 0, x > 1)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([0, 1, 2]))
        array([False,  True, False])
    """
    return _of_both(elementwise.LogicalXor(), x, other)


@user_facing
def bitwise_and(x: Tensor, other: Tensor | int) -> Tensor:
    """The bits that both integers have.

    x and ``other`` are of one integer dtype; their shapes broadcast, and a number takes the dtype
    of x.

    Raises:
        TypeMismatch: an operand that is no integer, or dtypes that differ.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.bitwise_and(x, 6)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([3, 5]))
        array([2, 4])
    """
    return _of_both(integers.BitwiseAnd(), x, other)


@user_facing
def bitwise_or(x: Tensor, other: Tensor | int) -> Tensor:
    """The bits that either integer has.

    x and ``other`` are of one integer dtype; their shapes broadcast, and a number takes the dtype
    of x.

    Raises:
        TypeMismatch: an operand that is no integer, or dtypes that differ.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.bitwise_or(x, 6)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([3, 5]))
        array([7, 7])
    """
    return _of_both(integers.BitwiseOr(), x, other)


@user_facing
def bitwise_xor(x: Tensor, other: Tensor | int) -> Tensor:
    """The bits that one of two integers has, and the other has not.

    x and ``other`` are of one integer dtype; their shapes broadcast, and a number takes the dtype
    of x.

    Raises:
        TypeMismatch: an operand that is no integer, or dtypes that differ.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.bitwise_xor(x, 6)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([3, 5]))
        array([5, 3])
    """
    return _of_both(integers.BitwiseXor(), x, other)


@user_facing
def bitwise_not(x: Tensor) -> Tensor:
    """The bits that an integer has not.

    x is an integer, of any shape; the result has both.

    Raises:
        TypeMismatch: x is no integer.

    Examples:
        >>> net = cauce.network(lambda x: nn.bitwise_not(x)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([3, 5]))
        array([-4, -6])
    """
    return _of(integers.BitwiseNot(), x)


@user_facing
def bitwise_left_shift(x: Tensor, other: Tensor | int) -> Tensor:
    """x * 2**other of integers, which wrap around.

    x and ``other`` are of one integer dtype; their shapes broadcast, and a number takes the dtype
    of x.

    Raises:
        TypeMismatch: an operand that is no integer, or dtypes that differ.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.bitwise_left_shift(x, 1)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([3, 5]))
        array([ 6, 10])
    """
    return _of_both(integers.LeftShift(), x, other)


@user_facing
def bitwise_right_shift(x: Tensor, other: Tensor | int) -> Tensor:
    """x / 2**other of integers, rounded down.

    x and ``other`` are of one integer dtype; their shapes broadcast, and a number takes the dtype
    of x.

    Raises:
        TypeMismatch: an operand that is no integer, or dtypes that differ.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.bitwise_right_shift(x, 1)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([3, 5]))
        array([1, 2])
    """
    return _of_both(integers.RightShift(), x, other)
