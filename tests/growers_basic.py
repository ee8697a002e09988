"""Growers of arithmetic, reductions, and ops that move data."""

from __future__ import annotations

from cauce.ir import Builder, Dim, DType, Graph, Literal, Value, symbol
from cauce.ir.dims import product
from cauce.ir.layout import Strided
from cauce.ir.ops.activation import Relu, Sigmoid, Tanh
from cauce.ir.ops.collective import AllReduce
from cauce.ir.ops.constant import Constant, DimSize, scalar
from cauce.ir.ops.elementwise import (
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
    LogicalXor,
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
from cauce.ir.ops.fused import Fused, Kernel
from cauce.ir.ops.reduce import ArgMax, ArgMin, LogSumExp, Max, Mean, Min, Prod, Sum, Variance
from cauce.ir.ops.reorder import Reorder
from cauce.ir.ops.shape import (
    Concat,
    Expand,
    Flatten,
    Flip,
    Gather,
    GatherBackward,
    OneHot,
    Pad,
    Reshape,
    Slice,
    SliceBackward,
    Transpose,
)

from .net import Net, grows

# ---- constants and arithmetic ------------------------------------------------------------------


@grows(Constant)
def constant(net: Net) -> None:
    shape = net.draw.shape(0, 3)
    net.keep(net.b(Constant(Literal(net.draw.normal(shape), net.dtype))), exact=True)


@grows(DimSize)
def dim(net: Net) -> None:
    known = sorted(net.graph.symbols())
    size = symbol(net.draw.choice(*known)) if known else net.sizes["N"]
    size = net.draw.choice(size, (size + 1) // 2, 2 * size)
    net.keep(net.b(Cast(net.dtype), net.b(DimSize(size))))


@grows(AllReduce)
def all_reduce(net: Net) -> None:
    net.keep(net.b(AllReduce(), net.floating()), exact=True)


@grows(Neg, Abs)
def unary(net: Net) -> None:
    net.keep(net.b(net.op(), net.floating()), exact=True)


@grows(Exp)
def exp(net: Net) -> None:
    net.keep(net.b(Exp(), net.b(Tanh(), net.floating())))


@grows(Log, Sqrt)
def of_positive(net: Net) -> None:
    net.keep(net.b(net.op(), net.positive(net.floating())))


@grows(Sign)
def sign(net: Net) -> None:
    net.keep(net.b(Sign(), net.exact()), exact=True)


@grows(Add, Sub, Maximum, Minimum)
def binary(net: Net) -> None:
    x = net.floating()
    operands = [x, net.partner(x)]
    net.keep(net.b(net.op(), *(operands if net.draw.flag() else operands[::-1])))


@grows(Mul)
def mul(net: Net) -> None:
    # The product of two live values is held small, or a few of them would overflow.
    x = net.floating()
    y = net.partner(x)
    net.keep(net.b(Mul(), x, y if y not in net.live else net.b(Tanh(), y)))


@grows(Div)
def div(net: Net) -> None:
    x = net.floating()
    net.keep(net.b(Div(), x, net.positive(net.partner(x))))


@grows(Pow)
def power(net: Net) -> None:
    x = net.floating()
    exponent = net.b(Tanh(), net.partner(x)) if net.draw.flag() else scalar(net.b, 2, x)
    net.keep(net.b(Pow(), net.positive(x), exponent))


@grows(Equal, Less, LessEqual, Greater, GreaterEqual)
def comparison(net: Net) -> None:
    x: Value
    if net.draw.int(0, 3) == 3:
        x, y = net.integer(), scalar(net.b, net.draw.int(0, 1), DType.I64)
    else:
        x = net.exact()
        y = net.parameter(net.narrower(x.type.shape)) if net.draw.flag() else x
    net.keep(net.b(net.op(), x, y))


@grows(LogicalAnd, LogicalOr, LogicalXor)
def logical(net: Net) -> None:
    x = net.boolean()
    y = net.pick(
        lambda v: v.type == x.type and v is not x, lambda: net.data(x.type.shape, DType.BOOL)
    )
    net.keep(net.b(net.op(), x, y))


@grows(LogicalNot)
def logical_not(net: Net) -> None:
    net.keep(net.b(LogicalNot(), net.boolean()))


@grows(Where)
def where(net: Net) -> None:
    condition = net.boolean()
    x = net.pick(
        lambda v: net.is_float(v) and v.type.shape == condition.type.shape,
        lambda: net.data(condition.type.shape),
    )
    operands = [x, net.partner(x)]
    net.keep(net.b(Where(), condition, *(operands if net.draw.flag() else operands[::-1])))


@grows(Cast)
def cast(net: Net) -> None:
    # Rounding to a narrower type, or to integers, jumps: only what is exact may go there.
    source = net.draw.choice(net.boolean, net.integer, net.exact)()
    if net.is_float(source):
        source = net.b(Cast(net.draw.choice(DType.F32, DType.F16, DType.I32, DType.I64)), source)
    net.keep(net.b(Cast(net.dtype), source), exact=True)


@grows(Fused)
def fused(net: Net) -> None:
    operands = [net.floating()]
    if net.draw.flag():
        operands.append(net.partner(operands[0]))
    body = Graph("region")
    inputs = [body.add_input(f"r{i}", value.type) for i, value in enumerate(operands)]
    b = Builder(body)
    y = b(net.draw.choice(Tanh(), Sigmoid(), Relu()), inputs[0])
    y = b(Add(), y, inputs[-1])
    if net.draw.flag():
        y = b(Mul(), y, scalar(b, 0.5, y))
    body.outputs = {y.name: y}
    net.keep(net.b(Fused(body), *operands))


@grows(Kernel)
def kernel(net: Net) -> None:
    x = net.floating()
    body = Graph("region")
    inside = body.add_input("x", x.type)
    b = Builder(body)
    y = b(Relu(), b(Exp(), b(Neg(), b(Abs(), inside))))
    body.outputs = {y.name: y}
    net.keep(net.b(Kernel(body), x))


@grows(Reorder)
def reorder(net: Net) -> None:
    x = net.floating()
    axes = range(x.type.rank)
    net.keep(net.b(Reorder(Strided(net.draw.subset(axes, len(axes)))), x))


# ---- reductions --------------------------------------------------------------------------------


@grows(Sum, Mean, Max, Min, LogSumExp)
def reduction(net: Net) -> None:
    x = net.floating()
    axes = None if net.draw.int(0, 3) == 3 else net.draw.subset(range(x.type.rank))
    net.keep(net.b(net.op(axes, net.draw.flag()), x))


@grows(Prod)
def product_over_axes(net: Net) -> None:
    x = net.b(Tanh(), net.floating())
    net.keep(net.b(Prod(net.draw.subset(range(x.type.rank)), net.draw.flag()), x))


@grows(Variance)
def variance(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    axes = net.draw.subset(range(x.type.rank), 1)
    count = net.extent(product(tuple(x.type.shape[axis] for axis in axes)))
    op = Variance(axes, net.draw.flag(), 1 if count > 1 and net.draw.flag() else 0)
    net.keep(net.b(op, x))


@grows(ArgMax, ArgMin)
def arg_extreme(net: Net) -> None:
    x = net.exact(lambda type_: type_.rank >= 1)
    op = net.op(net.draw.axis(x.type.rank), net.draw.flag(), net.draw.flag())
    net.keep(net.b(Cast(net.dtype), net.b(op, x)))


# ---- moving data -------------------------------------------------------------------------------


@grows(Reshape)
def reshape(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    shape: list[Dim] = list(x.type.shape)
    place = net.draw.int(0, len(shape) - 1)
    if net.draw.flag() and len(shape) > 1:
        place = min(place, len(shape) - 2)
        shape[place : place + 2] = [shape[place] * shape[place + 1]]
    else:
        shape.insert(place, 1)
    net.keep(net.b(Reshape(tuple(shape)), x), exact=True)


@grows(Flatten)
def flatten(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 2)
    net.keep(net.b(Flatten(net.draw.choice(1, 0)), x), exact=True)


@grows(Transpose)
def transpose(net: Net) -> None:
    x = net.floating()
    rank = x.type.rank
    net.keep(net.b(Transpose(net.draw.subset(range(rank), rank)), x), exact=True)


@grows(Concat)
def concat(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    axis = net.draw.int(0, x.type.rank - 1)
    parts = [x]
    for _ in range(net.draw.int(0, 2)):
        shape = list(x.type.shape)
        shape[axis] = net.size(1, 2) if net.draw.flag() else shape[axis]
        parts.append(
            net.pick(
                lambda v, shape=tuple(shape): net.is_float(v) and v.type.shape == shape,
                lambda shape=tuple(shape): net.data(shape),
            )
        )
    net.keep(net.b(Concat(axis), *parts), exact=True)


def bounds(net: Net, dim: Dim) -> tuple[Dim, Dim]:
    """Start and stop of a slice that keeps at least one element."""
    start = net.draw.int(0, min(1, net.extent(dim) - 1))
    stop = dim
    if isinstance(dim, int) and net.draw.flag():
        stop = net.draw.int(start + 1, dim)
    return start, stop


@grows(Slice)
def slices(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    axes = net.draw.subset(range(x.type.rank), 1)
    pairs = [bounds(net, x.type.shape[axis]) for axis in axes]
    steps = tuple(net.draw.int(1, 2) for _ in axes) if net.draw.flag() else None
    op = Slice(axes, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs), steps)
    net.keep(net.b(op, x), exact=True)


@grows(SliceBackward)
def slice_backward(net: Net) -> None:
    dy = net.floating(lambda type_: type_.rank >= 1)
    axis, before, after = net.draw.int(0, dy.type.rank - 1), *net.draw.pair(0, 2)
    shape = list(dy.type.shape)
    stop = before + shape[axis]
    shape[axis] = stop + after
    op = SliceBackward(tuple(shape), (axis,), (before,), (stop,))
    net.keep(net.b(op, dy), exact=True)


@grows(Flip)
def flip(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    net.keep(net.b(Flip(net.draw.subset(range(x.type.rank), 1)), x), exact=True)


@grows(Pad)
def pad(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    pads = tuple(net.draw.choice((0, 0), (0, 0), (1, 1), (0, 2)) for _ in x.type.shape)
    net.keep(net.b(Pad(pads, net.draw.choice(0.0, 0.0, -1.5)), x), exact=True)


@grows(Gather)
def gather(net: Net) -> None:
    x = net.floating(lambda type_: any(net.extent(dim) >= 2 for dim in type_.shape))
    axes = [axis for axis, dim in enumerate(x.type.shape) if net.extent(dim) >= 2]
    indices = net.indices(net.draw.shape(0, 2, high=3))
    net.keep(net.b(Gather(net.draw.choice(*axes)), x, indices), exact=True)


@grows(GatherBackward)
def gather_backward(net: Net) -> None:
    dy = net.floating(lambda type_: type_.rank >= 1)
    axis = net.draw.int(0, dy.type.rank - 1)
    indices = net.indices((dy.type.shape[axis],))
    net.keep(net.b(GatherBackward(net.draw.int(2, 4), axis), dy, indices))


@grows(Expand)
def expand(net: Net) -> None:
    x = net.floating()
    shape: list[Dim] = [net.draw.int(1, 3) if dim == 1 else dim for dim in x.type.shape]
    if len(shape) < 4 and net.draw.flag():
        shape.insert(0, net.draw.choice(2, net.symbol("N")))
    net.keep(net.b(Expand(tuple(shape)), x), exact=True)


@grows(OneHot)
def one_hot(net: Net) -> None:
    net.keep(net.b(OneHot(net.draw.int(2, 4), net.dtype), net.integer()), exact=True)
