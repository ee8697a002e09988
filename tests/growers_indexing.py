"""Growers of scans, of what chooses elements by index, and of arithmetic on integers."""

from __future__ import annotations

from cauce.ir import Dim, DType, Value
from cauce.ir.ops.activation import Tanh
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import Add, Cast
from cauce.ir.ops.indexing import (
    REDUCTIONS,
    Arange,
    GatherElements,
    GatherNd,
    ScatterElements,
    ScatterNd,
    TopK,
    Trilu,
)
from cauce.ir.ops.integers import (
    BitwiseAnd,
    BitwiseNot,
    BitwiseOr,
    BitwiseXor,
    Fmod,
    IntegerMatMul,
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


@grows(IntegerMatMul)
def integer_matmul(net: Net) -> None:
    x, y = net.indices((net.symbol("N"), 3)), net.indices((3, net.size(1, 3)))
    net.keep(net.b(Cast(net.dtype), net.b(IntegerMatMul(), x, y)), exact=True)


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


# ---- indices -----------------------------------------------------------------------------------


def line(net: Net) -> tuple[Value, int, tuple[Dim, ...]]:
    """A value, an axis that has two places at least, and the shape of indices along it."""
    x = net.floating(lambda type_: any(net.extent(dim) >= 2 for dim in type_.shape))
    shape = x.type.shape
    axis = net.draw.choice(*(axis for axis, dim in enumerate(shape) if net.extent(dim) >= 2))
    count = net.draw.int(1, 3)
    return x, axis, tuple(count if i == axis else dim for i, dim in enumerate(shape))


@grows(GatherElements)
def gather_elements(net: Net) -> None:
    x, axis, shape = line(net)
    net.keep(net.b(GatherElements(axis), x, net.indices(shape)), exact=True)


@grows(ScatterElements)
def scatter_elements(net: Net) -> None:
    x, axis, shape = line(net)
    op = ScatterElements(axis, net.draw.choice("none", "add"))
    net.keep(net.b(op, x, net.indices(shape), net.data(shape)))


@grows(GatherNd)
def gather_nd(net: Net) -> None:
    batch = net.draw.int(0, 1)  # without, indices are of axis 0, which has to have two places
    x = net.data((net.symbol("N") if batch else 2, 2, net.size(2, 3)))
    indices = net.indices((net.symbol("N"), 2, 1))
    net.keep(net.b(GatherNd(batch), x, indices), exact=True)


@grows(ScatterNd)
def scatter_nd(net: Net) -> None:
    x = net.data((2, 2, net.size(2, 3)))
    indices, updates = net.indices((3, 2)), net.data((3, x.type.shape[2]))
    net.keep(net.b(ScatterNd(net.draw.choice(*REDUCTIONS[:2])), x, indices, updates))


@grows(TopK)
def topk(net: Net) -> None:
    # Apart by far more than rounding: what comes first must not be left to it.
    x = net.exact(lambda type_: type_.rank >= 1)
    axis = net.draw.axis(x.type.rank)
    size = x.type.shape[axis]
    k = net.draw.int(1, size) if isinstance(size, int) else size
    values, indices = net.b.results(TopK(k, axis, net.draw.flag()), x)
    net.keep(values, net.b(Cast(net.dtype), indices))


@grows(Trilu)
def trilu(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 2)
    net.keep(net.b(Trilu(net.draw.flag(), net.draw.int(-2, 2)), x), exact=True)


@grows(Arange)
def arange(net: Net) -> None:
    net.keep(net.b(Arange(net.draw.choice(3, net.symbol("N")), net.dtype)), exact=True)
