"""Growers that belong to no op: values that meet in several roles, again and again."""

from __future__ import annotations

from cauce.ir import Dim, Op, Value
from cauce.ir.ops.activation import Relu, Tanh
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Maximum, Mul, Sub
from cauce.ir.ops.linear import Linear, MatMul
from cauce.ir.ops.shape import Concat, Transpose

from .net import Net, Shape, role


def beside(net: Net, x: Value, y: Value) -> Value:
    """Two values of one shape in an elementwise op, with luck behind another one."""
    if net.draw.flag():
        x = net.b(net.draw.choice(Relu(), Tanh()), x)
    op = net.draw.choice(Add(), Sub(), Maximum(), Mul())
    operands = [x, net.b(Tanh(), y) if isinstance(op, Mul) and net.draw.flag() else y]
    return net.b(op, *(operands if net.draw.flag() else operands[::-1]))


def others(net: Net, shape: Shape, but: Value) -> list[Value]:
    """The floats of a network that have this shape, parameters too."""
    return [
        value
        for value in net.graph.values
        if net.is_float(value) and value.type.shape == shape and value is not but
    ]


@role
def met_again(net: Net) -> None:
    """A value beside what it was made of, or anything else of its shape, in any order of axes."""
    x = net.turned(net.floating())
    found = others(net, x.type.shape, x)
    if not found and x.type.rank == 2:
        found = [net.b(Transpose((1, 0)), y) for y in others(net, x.type.shape[::-1], x)[:1]]
    net.keep(beside(net, x, net.draw.choice(*found) if found else x))


def square(net: Net, n: Dim) -> Value:
    """A value [n, n]: a parameter, or one that there is."""
    found = [v for v in net.live if net.is_float(v) and v.type.shape == (n, n)]
    return net.draw.choice(*found) if found and net.draw.flag() else net.parameter((n, n))


@role
def square_product(net: Net) -> None:
    """x @ w or w @ x with a square matrix that is read elsewhere too, as rows or as columns."""
    n = net.size(1, 5)
    w = square(net, n)
    rows = net.draw.choice(n, n, net.draw.int(1, 4))
    x = w if rows == n and net.draw.int(0, 3) == 3 else net.data((rows, n))
    match net.draw.int(0, 4):
        case 0 | 1:
            y = net.b(MatMul(), x, w)
        case 2:
            y = net.b(Linear(), x, w)
        case 3:
            y = net.b(MatMul(), x, net.b(Transpose((1, 0)), w))
        case _:
            y = net.b(MatMul(), w, x) if rows == n else net.b(MatMul(), w, net.data((n, rows)))
    if y.type.shape == (n, n) and net.draw.int(0, 3):
        y = beside(net, y, net.draw.choice(w, w, x, net.b(Transpose((1, 0)), w)))
    net.keep(y)


@role
def convolved_with_itself(net: Net) -> None:
    """A convolution whose weight is as large as its result, or is its image too."""
    n = net.size(1, 5)
    kernel = net.draw.pair(1, 3)
    w = net.weight((n, n, *kernel))
    x = w if net.draw.flag() else net.data((n, n, *kernel))
    before = tuple((k - 1) // 2 for k in kernel)
    borders = tuple((b, k - 1 - b) for b, k in zip(before, kernel))
    y = net.b(Conv2d(padding=borders), x, w)
    if net.draw.int(0, 3):
        y = beside(net, y, net.draw.choice(w, x))
    net.keep(y)


@role
def nested_concat(net: Net) -> None:
    """Parts that lie in several wholes, and several times in one, which lie in others."""
    x = net.floating(lambda type_: type_.rank >= 1)
    axis = net.draw.int(0, x.type.rank - 1)
    made: list[type[Op]] = [Relu, Tanh]
    pool = [x, net.b(net.draw.choice(*made)(), x)]
    for _ in range(net.draw.int(1, 3)):
        whole = net.b(Concat(axis), *(net.draw.choice(*pool) for _ in range(net.draw.int(2, 3))))
        if net.draw.int(0, 3) == 3:
            whole = net.b(net.draw.choice(*made)(), whole)
        pool.append(whole)
        if not net.fits(whole):
            break
    net.keep(*pool[1:])


@role
def taken_over(net: Net) -> None:
    """State that becomes another input, or a live value; with luck two states change places."""
    x = net.floating(lambda type_: all(isinstance(dim, int) for dim in type_.shape))
    if not all(isinstance(dim, int) for dim in x.type.shape):
        x = net.data((2, 3))
    first, second = net.state(x.type.shape), net.state(x.type.shape)
    net.graph.updates[first] = net.draw.choice(x, second)
    if net.draw.flag():
        net.graph.updates[second] = net.draw.choice(x, first)
    net.keep(net.b(Add(), x, net.draw.choice(first, second)))


@role
def deep_convolution(net: Net) -> None:
    """3x3 taps in steps of one, or two, from many channels to many, as most convolutions are that
    people train, with what may follow: Winograd's algorithm computes them."""
    x = net.picture()
    channels, own = net.draw.choice(4, 5, 8, 16, 17, 20), x.type.shape[1]
    assert isinstance(own, int)
    if own < channels:
        x, own = net.b(Conv2d(), x, net.parameter((channels, own, 1, 1))), channels
    # Results as large as others are: those of large ones would be wild behind a tanh.
    before, little = net.draw.flag(), scalar(net.b, 0.0625, x)
    x = net.b(Mul(), x, little) if before else x
    padding = net.draw.choice(((1, 1), (1, 1)), ((0, 2), (1, 1)), ((3, 0), (2, 2)))
    weight = net.parameter((net.draw.choice(4, 8, 16, 19, 33), own, 3, 3))
    bias = net.parameter(weight.type.shape[:1]) if net.draw.flag() else None
    stride = net.draw.choice((1, 1), (1, 1), (2, 2))
    y = net.b(Conv2d(stride, padding), x, weight, bias)
    y = y if before else net.b(Mul(), y, little)
    if y.type == x.type and net.draw.flag():
        y = beside(net, y, x)
    net.keep(y)
