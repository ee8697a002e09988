"""Growers of scans, of what chooses elements by index, and of arithmetic on integers."""

from __future__ import annotations

from cauce.ir import DType
from cauce.ir.ops.activation import Tanh
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import Add, Cast
from cauce.ir.ops.integers import (
    BitwiseAnd,
    BitwiseNot,
    BitwiseOr,
    BitwiseXor,
    Fmod,
    LeftShift,
    Remainder,
    RightShift,
    TruncDiv,
)
from cauce.ir.ops.rounding import Ceil, Floor, IsInf, IsNan, Round
from cauce.ir.ops.scan import CumProd, CumSum, LinearRecurrence
from cauce.ir.ops.trigonometry import (
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Cos,
    Cosh,
    Sin,
    Sinh,
    Tan,
)

from .net import Net, grows


@grows(CumSum, CumProd)
def cumulative(net: Net) -> None:
    x = net.b(Tanh(), net.floating(lambda type_: type_.rank >= 1))
    net.keep(net.b(net.op(net.draw.axis(x.type.rank), net.draw.flag(), net.draw.flag()), x))


@grows(LinearRecurrence)
def linear_recurrence(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    a = net.b(Tanh(), x)
    net.keep(net.b(LinearRecurrence(net.draw.axis(x.type.rank), net.draw.flag()), a, x))


@grows(TruncDiv, Remainder, Fmod, BitwiseAnd, BitwiseOr, BitwiseXor, LeftShift, RightShift)
def of_integers(net: Net) -> None:
    x = net.integer()
    y = scalar(net.b, net.draw.choice(1, 2, -3, 0), DType.I64)
    net.keep(net.b(Cast(net.dtype), net.b(net.op(), *((x, y) if net.draw.flag() else (y, x)))))


@grows(BitwiseNot)
def bitwise_not(net: Net) -> None:
    net.keep(net.b(Cast(net.dtype), net.b(BitwiseNot(), net.integer())), exact=True)


@grows(Floor, Ceil, Round)
def rounding(net: Net) -> None:
    net.keep(net.b(net.op(), net.exact()), exact=True)


@grows(IsNan, IsInf)
def predicate(net: Net) -> None:
    net.keep(net.b(net.op(), net.floating()))


@grows(Sin, Cos, Atan, Asinh)
def smooth(net: Net) -> None:
    net.keep(net.b(net.op(), net.floating()))


@grows(Sinh, Cosh)
def hyperbolic(net: Net) -> None:
    net.keep(net.b(net.op(), net.b(Tanh(), net.floating())))


@grows(Tan, Asin, Acos, Atanh)
def within(net: Net) -> None:
    # Half of -1 .. 1: at its ends there are no slopes.
    x = net.b(Tanh(), net.floating())
    x = net.b(Tanh(), x)
    net.keep(net.b(net.op(), x))


@grows(Acosh)
def acosh(net: Net) -> None:
    x = net.positive(net.floating())
    net.keep(net.b(Acosh(), net.b(Add(), x, scalar(net.b, 1, x))))
