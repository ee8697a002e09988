"""Growers of what rewrite rules look for: networks of chance alone rarely hold it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cauce.ir import DType, Literal, Op, Value
from cauce.ir.ops.activation import Clip, Relu, Sigmoid, Softmax, Tanh
from cauce.ir.ops.constant import Constant, scalar
from cauce.ir.ops.conv import Conv2dBackwardData
from cauce.ir.ops.conv_nd import conv_transpose
from cauce.ir.ops.elementwise import (
    Abs,
    Add,
    Cast,
    Div,
    Exp,
    Less,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Pow,
    Sqrt,
    Sub,
    Where,
)
from cauce.ir.ops.error_function import Erf
from cauce.ir.ops.linear import Linear, MatMul, swap_last
from cauce.ir.ops.linear_units import HardSigmoid
from cauce.ir.ops.normalize import BatchNorm
from cauce.ir.ops.pool import AvgPool2d, MaxPool2d
from cauce.ir.ops.reduce import Max, Mean, Sum
from cauce.ir.ops.shape import (
    Concat,
    Expand,
    Flatten,
    Pad,
    Reshape,
    Slice,
    SliceBackward,
    Transpose,
)
from tests.growers_nn import conv, dropout
from tests.net import Grower, Net

_MOTIFS: dict[str, Grower] = {}


def motif(*rules: str) -> Callable[[Grower], Grower]:
    """Decorator: the function writes what each of these rules looks for."""

    def mark(grower: Grower) -> Grower:
        for rule in rules:
            assert rule not in _MOTIFS, f"{rule} has two motifs"
            _MOTIFS[rule] = grower
        return grower

    return mark


def motifs() -> Mapping[str, Grower]:
    """The motif of each rule, by the rule's name."""
    return _MOTIFS


def filled(net: Net, number: float, x: Value) -> Value:
    """A constant that ``x`` broadcasts: a scalar, or one element for each of the last axis."""
    width = x.type.shape[-1] if x.type.rank else None
    if isinstance(width, int) and net.draw.flag():
        return net.b(Constant(Literal([number] * width, x.type.dtype)))
    return scalar(net.b, number, x)


def either(net: Net, op: Op, x: Value, y: Value) -> Value:
    """``op`` of both in either order."""
    return net.b(op, x, y) if net.draw.flag() else net.b(op, y, x)


# ---- arithmetic --------------------------------------------------------------------------------


@motif("AddZero", "MulOne", "MaximumRelu", "MulMinusOne")
def neutral(net: Net) -> None:
    x = net.floating()
    for op, number in ((Add(), 0), (Mul(), 1), (Maximum(), 0), (Mul(), -1)):
        x = either(net, op, x, filled(net, number, x))
    net.keep(x)


@motif("SubZero", "DivOne", "PowOne", "PowTwo", "DivByPowerOfTwo")
def neutral_right(net: Net) -> None:
    x = net.b(Tanh(), net.floating())
    for op, number in ((Sub(), 0), (Div(), 1), (Pow(), 1), (Div(), 0.25), (Pow(), 2)):
        x = net.b(op, x, filled(net, number, x))
    net.keep(x)


@motif("NegNeg", "NegMul", "MulMul")
def signs_and_scales(net: Net) -> None:
    x = net.b(Neg(), net.b(Neg(), net.floating()))
    for number in (0.75, 1.25):
        x = either(net, Mul(), x, scalar(net.b, number, x))
    net.keep(net.b(Neg(), x))


@motif("AddNeg", "SubNeg")
def minus(net: Net) -> None:
    x, y = net.floating(), net.floating()
    z = either(net, Add(), x, net.b(Neg(), net.partner(x)))
    net.keep(z, net.b(Sub(), y, net.b(Neg(), net.partner(y))))


@motif("NotNot", "SameOperands", "WhereNot", "WhereSame")
def choices(net: Net) -> None:
    condition = net.boolean()
    same = net.b(net.draw.choice(LogicalAnd(), LogicalOr()), condition, condition)
    twice = net.b(LogicalNot(), net.b(LogicalNot(), same))
    x = net.data(condition.type.shape)
    x = net.b(net.draw.choice(Maximum(), Minimum()), x, x)
    y = net.b(Where(), net.b(LogicalNot(), twice), x, net.partner(x))
    net.keep(net.b(Where(), condition, y, y))


@motif("WhereTrue", "WhereFalse")
def known_choice(net: Net) -> None:
    x, true = net.floating(), net.draw.flag()
    for known in (true, not true):
        condition = net.b(Constant(Literal(known, DType.BOOL)))
        operands = (x, net.partner(x)) if known else (net.partner(x), x)
        x = net.b(Where(), condition, *operands)
    net.keep(x)


@motif("CastSame", "CastCast")
def casts(net: Net) -> None:
    x = net.b(Cast(net.dtype), net.floating())
    wide = net.b(Cast(net.dtype), net.integer())
    low = net.b(Cast(DType.I32), net.data((net.symbol("N"),), DType.I64))
    net.keep(x, wide, net.b(Cast(net.dtype), net.b(Cast(DType.I64), low)))


# ---- activations -------------------------------------------------------------------------------


@motif("ClipClip", "ClipNothing", "ClipRelu")
def clips(net: Net) -> None:
    x = net.floating()
    for _ in range(net.draw.int(2, 4)):
        bounds = Clip(net.draw.choice(None, 0.0, -0.5), net.draw.choice(None, 0.5, 6.0))
        x = net.b(net.draw.choice(Relu(), bounds), x)
    net.keep(x, net.b(Clip(), net.floating()), net.b(Clip(0.0), net.floating()))


@motif("ReluPositive")
def relu_of_positive(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    op = net.draw.choice(Sigmoid(), Abs(), Softmax())
    net.keep(net.b(Relu(), net.b(op, x)), net.b(Relu(), net.b(Exp(), net.b(Tanh(), x))))


# ---- shapes ------------------------------------------------------------------------------------


@motif("ReshapeSame", "ExpandSame", "ConcatOne", "TransposeSame", "PadNothing", "SliceAll")
def nothing(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    shape = x.type.shape
    axes = tuple(range(len(shape)))
    zeros = (0,) * len(shape)
    ops: tuple[Op, ...] = (
        Reshape(shape),
        Expand(shape),
        Concat(0),
        Transpose(axes),
        Pad(((0, 0),) * len(shape), 1.0),
        Slice(axes, zeros, shape),
        SliceBackward(shape, axes, zeros, shape),
    )
    for op in net.draw.subset(ops, len(ops)):
        x = net.b(op, x)
    net.keep(x)


@motif("ReduceOnes", "ExpandExpand", "BroadcastExpand")
def ones(net: Net) -> None:
    x = net.floating()
    flat = net.b(net.draw.choice(Sum, Mean, Max)((), False), x)
    row = net.b(Reshape((1, *x.type.shape)), flat)
    less = net.b(Sum((0,), net.draw.flag()), row)
    once = net.b(Expand((2, *row.type.shape)), row)
    wide = net.b(Expand((3, 2, *row.type.shape)), once)
    small = net.data(x.type.shape)
    net.keep(less, either(net, Add(), wide, net.data(wide.type.shape)))
    net.keep(net.b(Cast(net.dtype), net.b(Less(), small, net.b(Expand(x.type.shape), small))))


@motif("FlattenReshape", "ReshapeReshape", "ReshapeAcross")
def reshapes(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 2)
    y = net.b(Tanh(), net.b(Flatten(), x))
    y = net.b(net.draw.choice(Relu(), Neg()), y)
    y = net.b(Reshape(x.type.shape), y)
    net.keep(net.b(Reshape((*x.type.shape, 1)), net.b(Reshape((1, *x.type.shape)), y)))


@motif("TransposeTranspose", "TransposeAcross")
def transposes(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 2)
    axes = range(x.type.rank)
    perm = (1, 0, *net.draw.subset(axes[2:], x.type.rank - 2))
    undo = tuple(perm.index(axis) for axis in axes)
    y = net.b(Transpose(undo), net.b(Tanh(), net.b(Transpose(perm), x)))
    net.keep(net.b(Transpose(perm), net.b(Transpose(perm), y)))


@motif("TransposeMatMul")
def transposed_product(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 2)
    bounded = net.b(Tanh(), x)
    operands = (swap_last(net.b, x), bounded)
    product = net.b(MatMul(), *net.draw.choice(operands, operands[::-1]))
    net.keep(swap_last(net.b, product))


@motif("TransposeOnes")
def moved_ones(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    wide = net.b(Reshape((*x.type.shape, 1)), x)
    rank = wide.type.rank
    net.keep(net.b(Transpose((rank - 1, *range(rank - 1))), wide))


def turned(net: Net) -> Value:
    """A value in the order of channels last."""
    x = net.picture()
    return net.b(Transpose((0, 2, 3, 1)), net.b(Tanh(), x))


@motif("PadTranspose", "SliceTranspose", "SoftmaxTranspose", "ReduceTranspose")
def past_one(net: Net) -> None:
    borders = tuple(net.draw.pair(0, 1) for _ in range(4))
    net.keep(net.b(Pad(borders), turned(net)))
    y = turned(net)
    axis = net.draw.int(-4, 3)
    net.keep(net.b(Slice((axis,), (0,), (1,)), y))
    net.keep(net.b(Softmax(net.draw.int(-4, 3)), turned(net)))
    axes = net.draw.subset(range(4), net.draw.int(1, 3))
    net.keep(net.b(net.draw.choice(Sum, Mean, Max)(axes, net.draw.flag()), turned(net)))


@motif("ConcatTranspose", "ElementwiseTranspose")
def past_several(net: Net) -> None:
    x, y = turned(net), net.b(Transpose((0, 2, 3, 1)), net.b(Tanh(), net.picture()))
    if x.type == y.type:
        net.keep(net.b(Concat(net.draw.int(-4, 3)), x, y))
    z = turned(net)
    bias = net.parameter(net.draw.choice((), (1,), z.type.shape[3:]))
    net.keep(net.b(Relu(), either(net, Add(), z, bias)))


# ---- what converters write out ----------------------------------------------------------------


def held(net: Net, x: Value, add: float, most: float) -> Value:
    return net.b(Clip(0.0, most), either(net, Add(), x, scalar(net.b, add, x)))


@motif("HardSigmoidLine", "HardSigmoidSixth", "HardSwishProduct", "HardSwishSixths", "SwishProduct")
def written_gates(net: Net) -> None:
    x = net.b(Tanh(), net.floating())
    line = either(net, Mul(), x, scalar(net.b, 0.25, x))
    net.keep(held(net, line, 0.5, 1.0))
    sixth = either(net, Mul(), held(net, x, 3.0, 6.0), scalar(net.b, 1 / 6, x))
    net.keep(sixth if net.draw.flag() else either(net, Mul(), x, sixth))
    net.keep(net.b(Div(), held(net, x, 3.0, 6.0), scalar(net.b, 6.0, x)))
    net.keep(either(net, Mul(), x, net.b(HardSigmoid(1 / 6, 0.5), x)))
    product = either(net, Mul(), x, held(net, x, 3.0, 6.0))
    net.keep(net.b(Div(), product, scalar(net.b, 6.0, x)))
    net.keep(either(net, Mul(), x, net.b(Sigmoid(), x)))


@motif("GeluProduct")
def written_gelu(net: Net) -> None:
    x = net.b(Tanh(), net.floating())
    scaled = net.b(Mul(), x, scalar(net.b, 0.5**0.5, x))
    gate = either(net, Add(), net.b(Erf(), scaled), scalar(net.b, 1.0, x))
    half = scalar(net.b, 0.5, x)
    if net.draw.flag():
        net.keep(either(net, Mul(), either(net, Mul(), x, half), gate))
    else:
        net.keep(either(net, Mul(), either(net, Mul(), x, gate), half))


@motif("LayerNormWritten", "MeanImage")
def written_norm(net: Net) -> None:
    x = net.b(Tanh(), net.picture())
    net.keep(net.b(Mean((2, 3), keepdims=True), x))
    axis = net.draw.choice(-1, 3)
    centred = net.b(Sub(), x, net.b(Mean((axis,), keepdims=True), x))
    variance = net.b(Mean((axis,), keepdims=True), net.b(Mul(), centred, centred))
    root = net.b(Sqrt(), either(net, Add(), variance, scalar(net.b, 0.1, x)))
    normal = net.b(Div(), centred, root)
    shape = net.draw.choice((), (1,))
    scaled = either(net, Mul(), normal, net.parameter(shape))
    net.keep(either(net, Add(), scaled, net.parameter(shape)))


# ---- batch norm, padding, dropout --------------------------------------------------------------


def normalized(net: Net, x: Value) -> Value:
    channels = x.type.shape[1:2]
    gamma, beta, mean = (net.parameter(channels) for _ in range(3))
    return net.b(BatchNorm(), x, gamma, beta, mean, net.state(channels))


@motif("ConvBatchNorm")
def conv_norm(net: Net) -> None:
    x = net.picture()
    op, weight = conv(net, x)
    bias = net.parameter(weight.type.shape[:1]) if net.draw.flag() else None
    net.keep(normalized(net, net.b(op, x, weight, bias)))


@motif("TransposeBatchNorm", "BiasedTransposeBatchNorm")
def transposed_norm(net: Net) -> None:
    x = net.picture()
    channels, groups = x.type.shape[1], net.draw.choice(1, x.type.shape[1])
    columns, kernel = net.draw.int(1, 2), net.draw.pair(1, 3)
    size = tuple(dim + k - 1 for dim, k in zip(x.type.shape[2:], kernel))
    op = conv_transpose((1, 1), ((0, 0), (0, 0)), (1, 1), groups, size)
    weight = net.weight((channels, columns, *kernel))
    net.keep(normalized(net, net.b(op, x, weight)))
    y = net.b(op, x, weight)
    bias = net.parameter((y.type.shape[1], 1, 1))
    net.keep(normalized(net, either(net, Add(), y, bias)))


@motif("LinearBatchNorm")
def linear_norm(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank == 2 and isinstance(type_.shape[1], int))
    if x.type.rank != 2:
        x = net.data((net.symbol("N"), 3))
    weight = net.parameter((net.draw.int(1, 3), x.type.shape[1]))
    bias = net.parameter(weight.type.shape[:1]) if net.draw.flag() else None
    net.keep(normalized(net, net.b(Linear(), x, weight, bias)))


@motif("LayerShift", "LayerScale")
def written_out_norm(net: Net) -> None:
    x = net.picture()
    op, weight = conv(net, x)
    y = net.b(op, x, weight)
    channels = (1, y.type.shape[1], 1, 1)
    scaled = either(net, Mul(), y, net.parameter(net.draw.choice(channels, channels[1:], (1,), ())))
    net.keep(net.b(net.draw.choice(Add(), Sub()), scaled, net.parameter(channels)))
    width = net.draw.int(1, 3)
    rows = net.data((net.symbol("N"), 3))
    sums = net.b(Linear(), rows, net.parameter((width, 3)), net.parameter((width,)))
    net.keep(either(net, Add(), sums, net.parameter((width,))))


@motif("ZeroBias")
def written_out_zeros(net: Net) -> None:
    x = net.b(Tanh(), net.picture())
    op, weight = conv(net, x)
    zeros = Literal([0.0] * weight.type.shape[0], x.type.dtype)
    net.keep(net.b(op, x, weight, net.b(Constant(zeros))))


@motif("BatchNormScale")
def norm(net: Net) -> None:
    net.keep(normalized(net, net.b(Tanh(), net.picture())))


def borders(net: Net, value: float, x: Value) -> Value:
    rows, columns = (net.draw.choice((1, 1), (0, 1), (1, 0)) for _ in range(2))
    return net.b(Pad(((0, 0), (0, 0), rows, columns), value), x)


@motif("PadPad", "PadConv")
def padded_conv(net: Net) -> None:
    x = borders(net, 0.0, borders(net, 0.0, net.picture()))
    op, weight = conv(net, x)
    net.keep(net.b(op, x, weight))


@motif("ConvDataSlice")
def cut_gradient(net: Net) -> None:
    dy = net.picture()
    weight = net.parameter((dy.type.shape[1], 2, 3, 3))
    size = tuple(dim + 2 for dim in dy.type.shape[2:])
    wide = net.b(Conv2dBackwardData(size=size), dy, weight)
    stops = tuple(dim - net.draw.int(0, 1) for dim in size)
    net.keep(net.b(Slice((2, 3), net.draw.pair(0, 1), stops), wide))


@motif("PadAvgPool", "PadMaxPool")
def padded_pool(net: Net) -> None:
    stride = net.draw.pair(1, 3)
    average = AvgPool2d(3, stride, count_include_pad=net.draw.flag())
    net.keep(net.b(average, borders(net, 0.0, net.data((net.symbol("N"), 2, 4, 5)))))
    greatest = MaxPool2d(3, stride, ceil_mode=net.draw.flag())
    net.keep(net.b(greatest, borders(net, -float("inf"), net.data((net.symbol("N"), 2, 4, 5)))))


@motif("DropoutNothing")
def some_dropout(net: Net) -> None:
    dropout(net)
