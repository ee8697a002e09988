"""Growers of what networks are made of: convolution, pooling, normalisation, losses, updates."""

from __future__ import annotations

from cauce.ir import Dim, DType, Literal, TensorType, Value
from cauce.ir.ops.activation import Clip, LeakyRelu, LogSoftmax, Relu, Sigmoid, Softmax, Tanh
from cauce.ir.ops.adaptive_pool import (
    AdaptiveAvgPool2d,
    AdaptiveAvgPool2dBackward,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool2dBackward,
    AdaptiveMaxPool2dSelect,
)
from cauce.ir.ops.constant import Constant, scalar
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight, kernel_of
from cauce.ir.ops.elementwise import Add, Mul, Sub
from cauce.ir.ops.linear import Linear, MatMul
from cauce.ir.ops.loss import (
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    CrossEntropy,
    FlooredLog,
    KLDivergence,
    MSELoss,
)
from cauce.ir.ops.normalize import (
    BatchNorm,
    BatchNormTrain,
    BatchNormTrainBackward,
)
from cauce.ir.ops.pool import (
    AvgPool2d,
    AvgPool2dBackward,
    GlobalAvgPool2d,
    MaxPool2d,
    MaxPool2dBackward,
    MaxPool2dSelect,
)
from cauce.ir.ops.random import Dropout, RandomUniform
from cauce.ir.ops.update import AdamUpdate, SGDMomentumUpdate, SGDUpdate

from .net import Net, grows

# ---- activations -------------------------------------------------------------------------------


@grows(Relu, Sigmoid, Tanh)
def activation(net: Net) -> None:
    net.keep(net.b(net.op(), net.floating()))


@grows(LeakyRelu)
def leaky_relu(net: Net) -> None:
    net.keep(net.b(LeakyRelu(net.draw.choice(0.01, 0.2)), net.floating()))


@grows(Clip)
def clip(net: Net) -> None:
    op = Clip(net.draw.choice(None, -0.5, 0.0), net.draw.choice(None, 0.5, 6.0), net.draw.flag())
    net.keep(net.b(op, net.floating()))


@grows(Softmax, LogSoftmax)
def softmax(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    net.keep(net.b(net.op(net.draw.axis(x.type.rank)), x))


# ---- convolution -------------------------------------------------------------------------------


def windows(net: Net, x: Value) -> dict[str, object]:
    """Stride, padding and dilation of a convolution, and a kernel that fits ``x``."""
    dilation = net.draw.choice((1, 1), (1, 1), (2, 1))
    padding = tuple(net.draw.choice((0, 0), (1, 1), (0, 1)) for _ in range(2))
    kernel = []
    for dim, borders, spread in zip(x.type.shape[2:], padding, dilation):
        room = (net.extent(dim) + sum(borders) - 1) // spread + 1
        kernel.append(net.draw.int(1, min(3, room)))
    stride = net.draw.choice((1, 1), (2, 2), (1, 2))
    return {"kernel": tuple(kernel), "stride": stride, "padding": padding, "dilation": dilation}


def conv(net: Net, x: Value) -> tuple[Conv2d, Value]:
    """A convolution that takes ``x``, and its weight."""
    geometry = windows(net, x)
    (kh, kw), channels = geometry.pop("kernel"), x.type.shape[1]
    assert isinstance(channels, int)
    groups = net.draw.choice(*(g for g in (1, 2, channels) if channels % g == 0))
    several = net.size(1, 2) if groups == 1 else net.draw.int(1, 2)
    weight = net.weight((groups * several, channels // groups, kh, kw))
    return Conv2d(**geometry, groups=groups), weight


@grows(Conv2d)
def conv2d(net: Net) -> None:
    x = net.picture()
    op, weight = conv(net, x)
    bias = net.parameter(weight.type.shape[:1]) if net.draw.flag() else None
    net.keep(net.b(op, x, weight, bias))


@grows(Conv2dBackwardData)
def conv2d_transposed(net: Net) -> None:
    dy = net.picture()
    channels = dy.type.shape[1]
    assert isinstance(channels, int)
    groups = net.draw.choice(*(g for g in (1, channels) if channels % g == 0))
    kernel, stride = net.draw.pair(1, 3), net.draw.pair(1, 2)
    padding = tuple((net.draw.int(0, (k - 1) // 2),) * 2 for k in kernel)
    size: list[Dim] = []
    for dim, k, s, (before, after) in zip(dy.type.shape[2:], kernel, stride, padding):
        size.append((dim - 1) * s + k - before - after)
    weight = net.weight((channels, net.draw.int(1, 2), *kernel))
    op = Conv2dBackwardData(stride=stride, padding=padding, groups=groups, size=tuple(size))
    net.keep(net.b(op, dy, weight))


@grows(Conv2dBackwardWeight)
def conv2d_backward_weight(net: Net) -> None:
    x = net.picture()
    op, weight = conv(net, x)
    dy = net.data(op.infer(x.type, weight.type).shape)
    backward = Conv2dBackwardWeight(*op.geometry(), kernel=kernel_of(weight))
    net.keep(net.b(backward, x, dy))


# ---- pooling -----------------------------------------------------------------------------------


def pool_attributes(net: Net, x: Value) -> dict[str, object]:
    kernel = tuple(net.draw.int(1, min(3, net.extent(dim))) for dim in x.type.shape[2:])
    padding = tuple((net.draw.int(0, k // 2), net.draw.int(0, k // 2)) for k in kernel)
    stride = net.draw.choice(None, (1, 1), (2, 1))
    ceil = net.draw.flag()
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}


def max_pool(net: Net, x: Value) -> MaxPool2d:
    attributes = pool_attributes(net, x)
    fits = all(net.extent(dim) >= 5 for dim in x.type.shape[2:])
    return MaxPool2d(**attributes, dilation=2 if fits and net.draw.flag() else 1)


@grows(MaxPool2d)
def max_pool2d(net: Net) -> None:
    x = net.picture()
    net.keep(net.b(max_pool(net, x), x), exact=True)


@grows(MaxPool2dBackward)
def max_pool2d_backward(net: Net) -> None:
    x = net.exact(lambda type_: type_.rank == 4)
    op = max_pool(net, x)
    dy = net.data(op.infer(x.type).shape)
    net.keep(net.b(op.sibling(MaxPool2dBackward), x, dy))


@grows(MaxPool2dSelect)
def max_pool2d_select(net: Net) -> None:
    x = net.exact(lambda type_: type_.rank == 4)
    g = net.data(x.type.shape)
    net.keep(net.b(max_pool(net, x).sibling(MaxPool2dSelect), x, g))


def avg_pool(net: Net, x: Value) -> AvgPool2d:
    attributes = pool_attributes(net, x)
    fits = all(net.extent(dim) >= 5 for dim in x.type.shape[2:])
    dilation = 2 if fits and net.draw.flag() else 1
    return AvgPool2d(**attributes, count_include_pad=net.draw.flag(), dilation=dilation)


@grows(AvgPool2d)
def avg_pool2d(net: Net) -> None:
    x = net.picture()
    net.keep(net.b(avg_pool(net, x), x))


@grows(AvgPool2dBackward)
def avg_pool2d_backward(net: Net) -> None:
    x = net.picture().type
    op = avg_pool(net, net.data(x.shape))
    dy = net.data(op.infer(x).shape)
    net.keep(net.b(op.sibling(AvgPool2dBackward, size=x.shape[2:]), dy))


@grows(GlobalAvgPool2d)
def global_avg_pool2d(net: Net) -> None:
    net.keep(net.b(GlobalAvgPool2d(), net.picture()))


@grows(AdaptiveMaxPool2d, AdaptiveAvgPool2d)
def adaptive_pool(net: Net) -> None:
    net.keep(net.b(net.op(net.draw.pair(1, 4)), net.picture()))


@grows(AdaptiveMaxPool2dBackward)
def adaptive_max_pool_backward(net: Net) -> None:
    x = net.exact(lambda type_: type_.rank == 4)
    output_size = net.draw.pair(1, 4)
    dy = net.data((*x.type.shape[:2], *output_size))
    net.keep(net.b(AdaptiveMaxPool2dBackward(output_size), x, dy))


@grows(AdaptiveMaxPool2dSelect)
def adaptive_max_pool_select(net: Net) -> None:
    x = net.exact(lambda type_: type_.rank == 4)
    g = net.data(x.type.shape)
    net.keep(net.b(AdaptiveMaxPool2dSelect(net.draw.pair(1, 4)), x, g))


@grows(AdaptiveAvgPool2dBackward)
def adaptive_avg_pool_backward(net: Net) -> None:
    fits = lambda type_: type_.rank == 4 and all(isinstance(d, int) for d in type_.shape[2:])  # noqa: E731
    dy = net.floating(fits) if net.draw.flag() else net.data((net.symbol("N"), 2, 2, 3))
    if not fits(dy.type):
        dy = net.data((net.symbol("N"), 2, 2, 3))
    op = AdaptiveAvgPool2dBackward(dy.type.shape[2:], size=net.draw.pair(2, 6))
    net.keep(net.b(op, dy))


# ---- normalisation and randomness --------------------------------------------------------------


def normalizable(net: Net, least: int = 1) -> Value:
    """A value [N, C, ...] with at least so many elements in each channel."""

    def fits(type_: TensorType) -> bool:
        if not (2 <= type_.rank <= 4 and isinstance(type_.shape[1], int)):
            return False
        return net.extent(type_.size) >= least * type_.shape[1]

    return net.turned(net.floating(fits), fits)


@grows(BatchNorm)
def batch_norm(net: Net) -> None:
    x = normalizable(net)
    channels = x.type.shape[1:2]
    gamma, beta, mean = (net.parameter(channels) for _ in range(3))
    epsilon = net.draw.choice(1e-5, 1e-3)
    net.keep(net.b(BatchNorm(epsilon), x, gamma, beta, mean, net.state(channels)))


@grows(BatchNormTrain)
def batch_norm_train(net: Net) -> None:
    x = normalizable(net, least=2)
    channels = x.type.shape[1:2]
    gamma, beta = net.parameter(channels), net.parameter(channels)
    y, mean, variance = net.b.results(BatchNormTrain(), x, gamma, beta)
    if net.draw.flag():
        for statistic in (mean, variance):
            write_running(net, statistic)
    net.keep(y)


def write_running(net: Net, statistic: Value, momentum: float = 0.1) -> None:
    """Write running = (1 - momentum) * running + momentum * statistic, as an update."""
    running = net.state(statistic.type.shape, name=f"{statistic.name}.running")
    old = net.b(Mul(), running, scalar(net.b, 1 - momentum, running))
    new = net.b(Mul(), statistic, scalar(net.b, momentum, running))
    net.graph.updates[running] = net.b(Add(), old, new)


@grows(BatchNormTrainBackward)
def batch_norm_train_backward(net: Net) -> None:
    x = normalizable(net, least=2)
    channels = x.type.shape[1:2]
    gamma, mean, variance = net.parameter(channels), net.parameter(channels), net.state(channels)
    dy = net.data(x.type.shape)
    net.keep(*net.b.results(BatchNormTrainBackward(), x, gamma, mean, variance, dy))


def draws(net: Net, x: Value) -> Value:
    """Random numbers for every element of ``x``; with luck from a stream that is drawn twice."""
    key = net.pick(lambda value: value.type.dtype is DType.U32, lambda: net.state((2,), DType.U32))
    if key not in net.live:
        net.live.append(key)
    return net.b(RandomUniform(x.type.shape, net.draw.int(0, 3), net.dtype), key)


@grows(RandomUniform)
def random_uniform(net: Net) -> None:
    net.keep(draws(net, net.floating()), exact=True)


@grows(Dropout)
def dropout(net: Net) -> None:
    x = net.floating()
    net.keep(net.b(Dropout(net.draw.choice(0.1, 0.5)), x, draws(net, x)))


# ---- matrix products ---------------------------------------------------------------------------


@grows(Linear)
def linear(net: Net) -> None:
    x = net.features()
    weight = net.weight((net.size(1, 4), x.type.shape[-1]))
    bias = net.parameter(weight.type.shape[:1]) if net.draw.flag() else None
    net.keep(net.b(Linear(), x, weight, bias))


@grows(MatMul)
def matmul(net: Net) -> None:
    x = net.features()
    inner = x.type.shape[-1]
    if net.draw.flag():
        net.keep(net.b(MatMul(), x, net.weight((inner, net.size(1, 4)))))
    else:
        net.keep(net.b(MatMul(), x, net.data((*x.type.shape[:-2], inner, net.draw.int(1, 4)))))


# ---- losses and updates ------------------------------------------------------------------------

REDUCTIONS = ("mean", "sum", "none")


@grows(CrossEntropy, KLDivergence)
def class_loss(net: Net) -> None:
    x = net.floating(lambda t: t.rank >= 2 and isinstance(t.shape[1], int) and t.shape[1] >= 2)
    if net.draw.flag():
        target = net.indices((x.type.shape[0], *x.type.shape[2:]))
    else:
        target = net.b(Softmax(1), net.data(x.type.shape))
    op = net.op(net.draw.choice(*REDUCTIONS))
    if isinstance(op, CrossEntropy):
        op = op.with_attributes(label_smoothing=net.draw.choice(0.0, 0.1))
    net.keep(net.b(op, x, target))


@grows(BinaryCrossEntropy, BinaryCrossEntropyWithLogits, MSELoss)
def pair_loss(net: Net) -> None:
    x = net.b(Tanh(), net.floating())
    if net.op is BinaryCrossEntropy:
        x = net.b(Sigmoid(), x)
    target = net.b(Sigmoid(), net.data(x.type.shape))
    net.keep(net.b(net.op(net.draw.choice(*REDUCTIONS)), x, target))


@grows(FlooredLog)
def floored_log(net: Net) -> None:
    net.keep(net.b(FlooredLog(), net.b(Sigmoid(), net.floating())))


@grows(SGDUpdate, SGDMomentumUpdate, AdamUpdate)
def update(net: Net) -> None:
    gradient = net.floating(lambda type_: all(isinstance(dim, int) for dim in type_.shape[:1]))
    if not all(isinstance(dim, int) for dim in gradient.type.shape):
        gradient = net.data((2, 3))
    shape, decay = gradient.type.shape, net.draw.choice(0.0, 0.01)
    parameter, slots = net.new_parameter(shape), []
    if net.op is SGDUpdate:
        results = net.b.results(SGDUpdate(decay), parameter, gradient, net.rate())
    elif net.op is SGDMomentumUpdate:
        slots = [net.state(shape)]
        op = SGDMomentumUpdate(0.9, net.draw.flag(), decay)
        results = net.b.results(op, parameter, gradient, *slots, net.rate())
    else:
        slots = [net.state(shape), net.state(shape)]
        one = net.b(Constant(Literal(1, DType.I64)))
        step = net.b(Add(), net.state((), DType.I64), one)
        adam = AdamUpdate(weight_decay=decay, decoupled=net.draw.flag())
        results = net.b.results(adam, parameter, gradient, *slots, step, net.rate())
    for target, value in zip((parameter, *slots), results):
        net.graph.updates[target] = value
    net.keep(net.b(Sub(), results[0], parameter))
