"""Every order of axes before and behind what reads images, with sizes of 1 in every axis.

An axis of size 1 has no place of its own, so that several orders lie alike; what is added to it,
zeros around it say, must not take one for the other. Memory is full of NaN at first, so that zeros
which nobody wrote show. Right is the reference in f64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.abi import BatchStage, Share
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.runtime.memory import GUARD
from cauce.ir import Array, Builder, DType, Graph, Op, Role, TensorType, Value, evaluate, symbol
from cauce.ir.dims import sizes
from cauce.ir.ops import adaptive_pool, conv, linear, pool, reduce, shape
from cauce.ir.ops.activation import Relu, Softmax, Tanh
from cauce.ir.ops.elementwise import Add, Mul

from ..guarded import guarded

Shape = tuple[int, ...]
Order = tuple[int, ...]
Anchor = Callable[["Net", Value], Value]

ORDERS: list[Order] = list(permutations(range(4)))
# Those of the fast tier, and all: with few channels, which a convolution reads one by one, and with
# more than a vector has lanes.
FEW: list[Shape] = [(2, 20, 1, 4), (1, 3, 5, 1), (2, 1, 1, 4)]
SHAPES: list[Shape] = [*FEW, *product((2,), (1, 3, 20), (1, 5), (1, 4))]

PADDED = {
    "1x3": ((1, 3), ((0, 0), (1, 1))),
    "3x1": ((3, 1), ((1, 1), (0, 0))),
    "3x3": ((3, 3), ((1, 1), (1, 1))),
    "uneven": ((2, 3), ((0, 1), (2, 0))),
}


class Net:
    """A graph of many outputs, and what it is fed."""

    def __init__(self, dtype: DType) -> None:
        self.graph = Graph("net")
        self.b = Builder(self.graph)
        self.dtype = dtype
        self.feeds: dict[str, Array] = {}
        self.rng = np.random.default_rng(0)

    def input(self, shape: Sequence[int], role: Role = Role.DATA) -> Value:
        """A further input, with random elements."""
        type_ = TensorType(self.dtype, tuple(shape))
        value = self.graph.add_input(f"x{len(self.feeds)}", type_, role)
        self.feeds[value.name] = self.rng.standard_normal(type_.shape).astype(self.dtype.numpy)
        return value

    def image(self, shape: Shape, order: Order) -> Value:
        """An image that lies in memory with its axes in this order."""
        x = self.input([shape[axis] for axis in order])
        return self.b(turned(order), x)

    def like(self, x: Value) -> Value:
        """A further image that lies as ``x`` does, a transpose of an input."""
        assert x.node is not None
        return self.b(x.node.op, self.input(known(x.node.operands[0])))

    def indices(self, size: int) -> Value:
        """Indices of an axis of that size, backwards."""
        value = self.graph.add_input(f"x{len(self.feeds)}", TensorType(DType.I64, (size,)))
        self.feeds[value.name] = np.arange(size)[::-1].copy()
        return value

    def output(self, value: Value) -> None:
        self.graph.outputs[f"y{len(self.graph.outputs)}"] = value

    def hold(self) -> None:
        """Compare native code with the reference."""
        graph, tolerance = self.graph, 1e-5 if self.dtype is DType.F32 else 1e-12
        with np.errstate(all="ignore"):
            wanted = evaluate(graph, self.feeds).outputs
        arrays = guarded(self.feeds)
        executable = Executable(compile_program(graph), arrays)
        found = executable.run({v.name: arrays[v.name] for v in executable.inputs})
        wrong = []
        for name, array in wanted.items():
            scale = np.abs(array[np.isfinite(array)]).max(initial=1)
            if not np.allclose(found[name], array, 0, tolerance * scale):
                wrong.append(name)
        assert not wrong, f"{len(wrong)} of {len(wanted)}: {wrong[:5]}"


def known(value: Value) -> Shape:
    """The shape of a value, all sizes of which are known."""
    return sizes(value.type.shape)


def turned(order: Order) -> shape.Transpose:
    """From axes that lie in this order to those of the image."""
    return shape.Transpose(tuple(order.index(axis) for axis in range(4)))


def convolution(size: str, depthwise: bool = False) -> Anchor:
    kernel, padding = PADDED[size]

    def write(net: Net, x: Value) -> Value:
        channels = known(x)[1]
        groups = channels if depthwise else 1
        outputs = channels if depthwise else 6
        weight = net.input((outputs, channels // groups, *kernel), Role.PARAMETER)
        return net.b(conv.Conv2d(padding=padding, groups=groups), x, weight)

    return write


def by_data(size: str, stride: int = 1) -> Anchor:
    kernel, padding = PADDED[size]

    def write(net: Net, dy: Value) -> Value:
        _, outputs, *image = known(dy)
        weight = net.input((outputs, 6, *kernel), Role.PARAMETER)
        height, width = ((count - 1) * stride + 1 for count in image)
        op = conv.Conv2dBackwardData((stride, stride), padding, size=(height, width))
        return net.b(op, dy, weight)

    return write


def by_weight(size: str) -> Anchor:
    """The gradient of the weight; both operands lie in that order."""
    kernel, padding = PADDED[size]

    def write(net: Net, x: Value) -> Value:
        return net.b(conv.Conv2dBackwardWeight(padding=padding, kernel=kernel), x, net.like(x))

    return write


def plain(*ops: Op) -> Anchor:
    """One op behind the other, each of one operand."""

    def write(net: Net, x: Value) -> Value:
        for op in ops:
            x = net.b(op, x)
        return x

    return write


def beside(op: Op) -> Anchor:
    """An op of two operands that lie in the same order."""
    return lambda net, x: net.b(op, x, net.like(x))


def pooled(op: type[Op], **attributes: Any) -> Anchor:
    """The transpose of an average pool that leaves the size as it is."""
    return lambda net, dy: net.b(op(size=known(dy)[2:], **attributes), dy)


def product_with(place: int) -> Anchor:
    """A product with a matrix on the other side."""

    def write(net: Net, x: Value) -> Value:
        *_, rows, columns = known(x)
        if place == 0:
            return net.b(linear.MatMul(), x, net.input((columns, 9), Role.PARAMETER))
        return net.b(linear.MatMul(), net.input((9, rows)), x)

    return write


def joined(axis: int) -> Anchor:
    """What is concatenated lies in the whole, within the zeros that are read around it."""

    def write(net: Net, x: Value) -> Value:
        y = net.b(Relu(), x)
        return convolution("3x3")(net, net.b(shape.Concat(axis), x, y, net.b(Tanh(), y)))

    return write


def chained(net: Net, x: Value) -> Value:
    """An elementwise op between, which lies as its operand does."""
    return convolution("3x3")(net, net.b(Add(), net.b(Relu(), x), net.b(Tanh(), x)))


def padded(net: Net, x: Value) -> Value:
    return convolution("3x3")(net, net.b(shape.Pad(((0, 0), (0, 1), (1, 0), (0, 2)), 0.5), x))


def sliced(net: Net, x: Value) -> Value:
    """The last of each axis, whose size then is 1, and its transpose."""
    axes = (1, 2)
    sizes = tuple(known(x)[axis] for axis in axes)
    starts = tuple(size - 1 for size in sizes)
    y = net.b(shape.Slice(axes, starts, sizes), x)
    z = net.b(shape.SliceBackward(known(x), axes, starts, sizes), net.b(Relu(), y))
    parts = (convolution("1x3")(net, part) for part in (z, y))
    return convolution("3x3")(net, net.b(Add(), *parts))


def spread(net: Net, x: Value) -> Value:
    """A mean over the pixels, given back to each of them."""
    mean = net.b(reduce.Mean((2, 3), keepdims=True), x)
    return convolution("3x3")(net, net.b(shape.Expand(known(x)), mean))


def flat(net: Net, x: Value) -> Value:
    return net.b(shape.Flatten(), net.b(Relu(), x))


def reshaped(net: Net, x: Value) -> Value:
    n, c, h, w = known(x)
    return convolution("3x3")(net, net.b(shape.Reshape((n, h, c, w)), x))


def gathered(net: Net, x: Value) -> Value:
    return convolution("3x3")(net, net.b(shape.Gather(2), x, net.indices(known(x)[2])))


WINDOWS: dict[str, Any] = {"kernel_size": (3, 3), "stride": (1, 1), "padding": ((1, 1), (1, 1))}
ADAPTIVE: dict[str, Any] = {"output_size": (2, 3)}

CONVOLUTIONS: dict[str, Anchor] = {
    **{f"conv {size}": convolution(size) for size in PADDED},
    "depthwise": convolution("3x3", depthwise=True),
    **{f"by data {size}": by_data(size) for size in PADDED},
    "by data, strided": by_data("3x3", stride=2),
    **{f"by weight {size}": by_weight(size) for size in PADDED},
}
ANCHORS: dict[str, Anchor] = {
    **CONVOLUTIONS,
    "max pool": plain(pool.MaxPool2d(**WINDOWS)),
    "max pool backward": beside(pool.MaxPool2dBackward(**WINDOWS)),
    "max pool select": beside(pool.MaxPool2dSelect(**WINDOWS)),
    "avg pool": plain(pool.AvgPool2d(**WINDOWS)),
    "avg pool backward": pooled(pool.AvgPool2dBackward, **WINDOWS),
    "adaptive max": plain(adaptive_pool.AdaptiveMaxPool2d(**ADAPTIVE)),
    "adaptive average": plain(adaptive_pool.AdaptiveAvgPool2d(**ADAPTIVE)),
    "product on the left": product_with(0),
    "product on the right": product_with(1),
    **{
        f"sum over {axes}": plain(Tanh(), reduce.Sum(axes)) for axes in ((0,), (1,), (2, 3), (1, 3))
    },
    "max over (1, 2)": plain(reduce.Max((1, 2), keepdims=True)),
    "argmax": plain(reduce.ArgMax(1)),
    "softmax": plain(Softmax(1)),
    **{f"concat along {axis}": joined(axis) for axis in range(4)},
    "elementwise": chained,
    "beside": beside(Mul()),
    "pad": padded,
    "slice": sliced,
    "expand": spread,
    "flatten": flat,
    "reshape": reshaped,
    "gather": gathered,
}


def behind(anchor: Anchor, order: Order) -> Anchor:
    """A transpose behind it, and a convolution and a pool that read that within zeros."""

    def write(net: Net, x: Value) -> Value:
        y = anchor(net, x)
        if y.type.rank != 4 or y.type.dtype is not net.dtype:
            return y
        z = net.b(turned(order), y)
        total = net.b(reduce.Sum(), by_data("1x3")(net, net.b(Relu(), z)))
        return net.b(Add(), convolution("3x3")(net, z), total)

    return write


def hold(anchor: Anchor, dtype: DType, shapes: Sequence[Shape], further: bool = False) -> None:
    """Each shape with every order of its axes; another order comes behind, if anything does."""
    net = Net(dtype)
    for place, image in enumerate(shapes):
        for number, order in enumerate(ORDERS):
            other = ORDERS[(5 * number + place) % len(ORDERS)]
            write = behind(anchor, other) if further else anchor
            net.output(write(net, net.image(image, order)))
    net.hold()


@pytest.fixture(autouse=True)
def memory_full_of_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUARD, "end")


@pytest.mark.parametrize("anchor", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_before_convolutions(anchor: Anchor) -> None:
    hold(anchor, DType.F32, FEW)


def test_behind_a_pool() -> None:
    hold(plain(pool.MaxPool2d(**WINDOWS)), DType.F64, FEW[:2], further=True)


@pytest.mark.parametrize("ones", [(), (1, 3)], ids=["none", "two"])
@pytest.mark.parametrize("pieces", [False, True])
def test_symbols_that_turn_out_to_be_1(
    pieces: bool, ones: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside sizes that are 1 from the start; with a batch that runs image by image, too."""
    orders = [order for order in ORDERS if order[0] == 0] if pieces else ORDERS
    if pieces:
        monkeypatch.setattr(BatchStage, "share", lambda self, count, threads: Share(1, 2))
    net, dims = Net(DType.F64), (symbol("N"), 3, symbol("H"), symbol("W"))
    fixed = tuple(1 if axis in ones else dim for axis, dim in enumerate(dims))
    weight = net.input((6, 1 if 1 in ones else 3, 3, 3), Role.PARAMETER)
    views: list[Value] = []
    for order in orders:
        type_ = TensorType(net.dtype, tuple(fixed[axis] for axis in order))
        x = net.graph.add_input(f"v{len(views)}", type_)
        views.append(x)
        net.output(net.b(conv.Conv2d(padding=((1, 1), (1, 1))), net.b(turned(order), x), weight))
    parameters = {weight.name: net.feeds[weight.name]}
    program = compile_program(net.graph)
    assert (program.listing.build.main.batch is not None) == pieces
    executable = Executable(program, parameters)
    for extents in product((1, 2), (1, 5), (1, 4)):
        bound = dict(zip("NHW", extents))
        feeds = {x.name: net.rng.standard_normal(sizes(x.type.bind(bound).shape)) for x in views}
        wanted = evaluate(net.graph, {**feeds, **parameters}).outputs
        for name, array in executable.run(guarded(feeds)).items():
            np.testing.assert_allclose(array, wanted[name], rtol=1e-10, atol=1e-10, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("anchor", ANCHORS.values(), ids=ANCHORS)
def test_before(anchor: Anchor) -> None:
    hold(anchor, DType.F32, SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize("anchor", ANCHORS.values(), ids=ANCHORS)
def test_behind(anchor: Anchor) -> None:
    hold(anchor, DType.F32, FEW, further=True)


@pytest.mark.slow
@pytest.mark.parametrize("anchor", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_before_convolutions_in_f64(anchor: Anchor) -> None:
    hold(anchor, DType.F64, SHAPES)
