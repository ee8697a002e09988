"""Native code that maps and moves elements, on shapes that do not fit its vectors and blocks.

What only moves elements, or draws random bits, is held to the last bit; what computes may be wrong
by a small part of the greatest element, as in ``test_awkward_shapes``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cauce
from cauce.ir import Array, Builder, Dim, DType, Graph, Op, TensorType, Value, evaluate, symbol
from cauce.ir.dims import substitute
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import (
    Abs,
    Add,
    Cast,
    Div,
    Exp,
    Greater,
    Maximum,
    Mul,
    Neg,
    Sub,
    Where,
)
from cauce.ir.ops.normalize import BatchNormTrain, BatchNormTrainBackward
from cauce.ir.ops.random import RandomUniform
from cauce.ir.ops.shape import Concat, Expand, Gather, OneHot, Pad, Reshape, Slice, Transpose
from cauce.ir.ops.update import AdamUpdate, SGDMomentumUpdate

from ..facets.build import graph_in, wide
from ..facets.sample import Draw
from ..guarded import guarded
from .test_awkward_shapes import (
    COUNTS,
    EXAMPLES,
    OTHERS,
    Applied,
    any_shape,
    greatest,
    hold_samples,
)

LARGEST = 2**15
Shape = tuple[Dim, ...]


@dataclass
class Net:
    """A small graph being drawn, with its feeds; the first axis may be a symbol.

    Attributes:
        draw: sizes and choices.
        shape: what all values broadcast to, or start from.
        dtype: of the floats.
    """

    draw: Draw
    shape: Shape
    sizes: dict[str, int]
    dtype: DType
    graph: Graph = field(default_factory=lambda: Graph("awkward"))
    feeds: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.b = Builder(self.graph)

    def extents(self, shape: Shape) -> tuple[int, ...]:
        """The sizes that a shape will have."""
        return tuple(int(substitute(dim, self.sizes)) for dim in shape)  # type: ignore[arg-type]

    def input(self, array: Array, shape: Shape) -> Value:
        """A new input that is fed the array."""
        name = f"x{len(self.feeds)}"
        self.feeds[name] = array
        return self.graph.add_input(name, TensorType(DType.of(array.dtype), shape))

    def floats(self, shape: Shape) -> Value:
        """A new input of floats in [-2, 2)."""
        array = self.draw.uniform(self.extents(shape), -2, 2)
        return self.input(array.astype(self.dtype.numpy), shape)

    def run(self) -> Array:
        """What native code gives."""
        executable = cauce.compile(self.graph, backend="llvm")
        (result,) = executable.run(guarded(self.feeds)).values()
        return result


def nets(sampler: Callable[[Net], Value]) -> st.SearchStrategy[Net]:
    """Graphs whose output a function writes, in either dtype."""

    @st.composite
    def drawn(draw: Callable[[st.SearchStrategy[object]], object]) -> Net:
        helper = Draw(draw, Op)
        shape: Shape = any_shape(helper, most=5)
        sizes = {"N": shape[0]} if helper.flag() else {}
        shape = (symbol("N"), *shape[1:]) if sizes else shape
        net = Net(helper, shape, sizes, helper.choice(DType.F32, DType.F32, DType.F64))
        net.graph.outputs = {"y": sampler(net)}
        return net

    return drawn()


# ---- elementwise maps --------------------------------------------------------------------------


def narrowed(net: Net) -> Shape:
    """A shape that broadcasts to the net's: axes of size 1, the first ones left out."""
    shape = tuple(net.draw.choice(dim, dim, 1) for dim in net.shape)
    return shape[net.draw.choice(0, 0, 1, len(shape) // 2, len(shape) - 1) :]


def elementwise(net: Net) -> Value:
    """One to three ops on up to three float operands, beside conditions and small integers."""
    draw, b = net.draw, net.b
    operands = [net.floats(narrowed(net)) for _ in range(draw.int(1, 3))]
    x = operands[0]
    for i in range(draw.int(1, 3)):
        y = operands[(i + 1) % len(operands)]
        kind = draw.choice("binary", "binary", "div", "relu", "exp", "where", "greater", "cast")
        if kind == "binary":
            pair = (x, y) if draw.flag() else (y, x)
            x = b(draw.choice(Add, Sub, Mul, Maximum)(), *pair)
        elif kind == "div":
            x = b(Div(), x, b(Add(), b(Abs(), y), scalar(b, 0.5, y)))
        elif kind == "relu":
            x = b(Relu(), x)
        elif kind == "exp":
            x = b(Exp(), b(Neg(), b(Abs(), x)))
        elif kind == "where":
            shape = narrowed(net)
            x = b(Where(), net.input(draw.booleans(net.extents(shape)), shape), x, y)
        elif kind == "greater":
            # Operands are not rounded on the way: both sides choose alike.
            x = b(Where(), b(Greater(), operands[0], operands[-1]), x, y)
        else:
            shape = narrowed(net)
            integers = draw.integers(net.extents(shape), -5, 5, draw.choice("int64", "int8"))
            x = b(Add(), x, b(Cast(net.dtype), net.input(integers, shape)))
    return x


@settings(max_examples=2 * EXAMPLES)
@given(nets(elementwise))
def test_maps_broadcast(net: Net) -> None:
    feeds = {
        name: array.astype(np.float64) if array.dtype == np.float32 else array
        for name, array in net.feeds.items()
    }
    wanted = evaluate(graph_in(wide, net.graph), feeds).outputs["y"]
    actual = net.run()
    assert actual.shape == wanted.shape
    gap = np.abs(actual - wanted)
    bound = OTHERS[net.dtype.numpy] * greatest(wanted)
    assert (gap <= bound).all(), (np.argwhere(~(gap <= bound))[:3], gap.max())


# ---- movement ----------------------------------------------------------------------------------


def one_hot(net: Net) -> Value:
    """A start that is no input."""
    fitting = [n for n in COUNTS if n * np.prod(net.extents(net.shape)) <= LARGEST] or [1]
    depth = net.draw.choice(*fitting)
    classes = net.draw.integers(net.extents(net.shape), 0, depth - 1)
    return net.b(OneHot(depth, net.dtype), net.input(classes, net.shape))


def concat(net: Net, x: Value) -> Value:
    """Values side by side along any axis, often one of them twice."""
    draw, axis = net.draw, net.draw.int(0, x.type.rank - 1)
    shape = x.type.shape
    other = net.floats((*shape[:axis], draw.choice(*COUNTS[:6]), *shape[axis + 1 :]))
    return net.b(Concat(axis), *draw.choice((x, other), (x, x), (other, x, x), (x, other, x)))


def pad(net: Net, x: Value) -> Value:
    """Borders on some axes."""
    pads = tuple(net.draw.choice((0, 0), (1, 0), (0, 3), (2, 1)) for _ in x.type.shape)
    return net.b(Pad(pads, net.draw.choice(0.0, -1.5)), x)


def slices(net: Net, x: Value) -> Value:
    """Every how many-th element of some axes whose size is known."""
    draw, shape = net.draw, x.type.shape
    axes = draw.subset([axis for axis, dim in enumerate(shape) if isinstance(dim, int)])
    extents = net.extents(shape)
    starts = tuple(draw.int(0, extents[axis] - 1) for axis in axes)
    stops = tuple(draw.int(start + 1, extents[axis]) for axis, start in zip(axes, starts))
    return net.b(Slice(axes, starts, stops, tuple(draw.int(1, 4) for _ in axes)), x)


def transpose(net: Net, x: Value) -> Value:
    """Any order of the axes."""
    return net.b(Transpose(net.draw.subset(range(x.type.rank), x.type.rank)), x)


def gather(net: Net, x: Value) -> Value:
    """Indices of rank 0 to 2 into any axis whose size is known."""
    draw, shape = net.draw, x.type.shape
    axes = [axis for axis, dim in enumerate(shape) if isinstance(dim, int)]
    if not axes:
        return x
    axis = draw.choice(*axes)
    chosen = tuple(draw.choice(*COUNTS[:8]) for _ in range(draw.int(0, 2)))
    indices = draw.integers(chosen, 0, net.extents(shape)[axis] - 1, draw.choice("int64", "int32"))
    return net.b(Gather(axis), x, net.input(indices, chosen))


def expand(net: Net, x: Value) -> Value:
    """A copy for each index of new axes, and of those of size 1."""
    draw = net.draw
    shape = tuple(draw.choice(*COUNTS[:8]) if dim == 1 else dim for dim in x.type.shape)
    return net.b(Expand((*((draw.choice(*COUNTS[:8]),) if draw.flag() else ()), *shape)), x)


def reshape(net: Net, x: Value) -> Value:
    """Two neighbouring axes made one, or an axis cut in two, or one of size 1 put in."""
    draw, shape = net.draw, x.type.shape
    axis = draw.int(0, max(0, len(shape) - 2))
    before, after = shape[:axis], shape[axis:]
    if len(after) > 1 and draw.flag():
        return net.b(Reshape((*before, after[0] * after[1], *after[2:])), x)
    if after and isinstance(after[0], int):
        part = draw.choice(*[n for n in range(1, after[0] + 1) if after[0] % n == 0])
        return net.b(Reshape((*before, part, after[0] // part, *after[1:])), x)
    return net.b(Reshape((*before, 1, *after)), x)


MOVES = (concat, pad, slices, transpose, gather, expand, reshape)


def movement(move: Callable[[Net, Value], Value]) -> Callable[[Net], Value]:
    """The move, sometimes with another one before or after it."""

    def sampler(net: Net) -> Value:
        x = one_hot(net) if net.draw.int(0, 3) == 3 else net.floats(net.shape)
        plan = [move]
        if net.draw.flag():
            plan.insert(net.draw.int(0, 1), net.draw.choice(*MOVES))
        for step in plan:
            if x.type.rank and np.prod(net.extents(x.type.shape)) <= 2 * LARGEST:
                x = step(net, x)
        return x

    return sampler


def random_uniform(net: Net) -> Value:
    key = net.draw.integers((2,), 0, 2**32 - 1, "uint32")
    if net.sizes:
        net.floats((symbol("N"),))  # what the batch is read off
    op = RandomUniform(net.shape, net.draw.int(0, 2**32 - 1), net.dtype)
    return net.b(op, net.input(key, (2,)))


@pytest.mark.parametrize(
    "sampler",
    [*map(movement, MOVES), one_hot, random_uniform],
    ids=[*(move.__name__ for move in MOVES), "one_hot", "random_uniform"],
)
def test_every_bit_is_the_reference(sampler: Callable[[Net], Value]) -> None:
    @settings(max_examples=EXAMPLES)
    @given(nets(sampler))
    def check(net: Net) -> None:
        wanted = evaluate(net.graph, net.feeds).outputs["y"]
        actual = net.run()
        assert (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype)
        bits = f"u{wanted.dtype.itemsize}"
        found, expected = (np.ascontiguousarray(array).view(bits) for array in (actual, wanted))
        np.testing.assert_array_equal(found, expected)

    check()


# ---- updates and batch normalisation -----------------------------------------------------------


def sgd_momentum(draw: Draw) -> Applied:
    shape = any_shape(draw)
    op = SGDMomentumUpdate(draw.choice(0.9, 0.0), draw.flag(), draw.choice(0.0, 0.01))
    operands = (*(draw.normal(shape) for _ in range(3)), draw.uniform((), 0.01, 0.5))
    return Applied(op, tuple(map(np.asarray, operands)), sums=False)


def adam(draw: Draw) -> Applied:
    """Adam and AdamW."""
    shape = any_shape(draw)
    op = AdamUpdate(weight_decay=draw.choice(0.0, 0.01), decoupled=draw.flag())
    moments = (*(draw.normal(shape) for _ in range(3)), draw.positive(shape))
    operands = (*moments, draw.integers((), 1, 1000), draw.uniform((), 0.001, 0.1))
    return Applied(op, tuple(map(np.asarray, operands)), sums=False)


def batch_norm_train(draw: Draw) -> Applied:
    """Means and variances away from 0, where they would lose digits."""
    count, channels, *rest = any_shape(draw, least=2)
    count += count * int(np.prod(rest)) == 1  # one value for each channel has no variance
    steps = count * int(np.prod(rest))
    rows = draw.uniform((channels, steps)) + 2 * (np.arange(steps) % 2)
    x = np.moveaxis(rows.reshape(channels, count, *rest), 0, 1).copy()
    gamma, beta = draw.positive((channels,)), draw.normal((channels,))
    op = BatchNormTrain(draw.choice(1e-5, 1e-3))
    return Applied(op, (x, gamma, beta), batched=(0,), sums=False)


def batch_norm_train_backward(draw: Draw) -> Applied:
    """All that is summed is positive."""
    shape = any_shape(draw, least=2)
    x, dy = draw.uniform(shape), draw.positive(shape)
    gamma, variance = draw.normal(shape[1:2]), draw.positive(shape[1:2])
    operands = (x, gamma, draw.uniform(shape[1:2], -1, 0), variance, dy)
    op = BatchNormTrainBackward(draw.choice(1e-5, 1e-3))
    return Applied(op, operands, batched=(0, 4), sums=False)


@pytest.mark.parametrize(
    "sampler",
    [sgd_momentum, adam, batch_norm_train, batch_norm_train_backward],
    ids=lambda sampler: sampler.__name__,
)
def test_training_ops_are_the_reference(sampler: Callable[[Draw], Applied]) -> None:
    hold_samples(sampler)
