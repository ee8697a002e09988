"""Convolutions that Winograd's algorithm can compute, what surrounds them, and bounds for them.

The algorithm's error is relative to a tile, not to each output of it, so it is held to the greatest
of sum|w||x| over an image of one filter: |native - exact| <= e * max(|w| * |x|), in which what a
layer has beside (a bias, a residual) counts as well. Exact is the reference in f64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cauce.backends.executable import Executable
from cauce.backends.llvm.codegen import kernels
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.schedule.schedule import Schedule
from cauce.backends.llvm.schedule.winograd import Winograd, WinogradWeight
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, Graph, Role, TensorType, Value, evaluate, symbol
from cauce.ir.ops.activation import Relu, Tanh
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData
from cauce.ir.ops.elementwise import Add, Mul
from cauce.ir.ops.shape import Concat

from ..guarded import guarded

assert kernels  # which registers what lowering must know

TILES = ((2, 2), (4, 2), (4, 4), (5, 5))
ORDERS = ("tiles", "filters")

# By tile: a part of max(|w| * |x|) for one filter of an image. With stride 2 there are tiles of 3 x
# 3 in the place of those of 5 x 5.
BOUNDS = {(2, 2): 1e-6, (4, 2): 2e-6, (3, 3): 2e-6, (4, 4): 4e-6, (5, 5): 1.6e-5}
STRIDED = {**dict(zip(TILES, TILES)), (5, 5): (3, 3)}

Padding = tuple[tuple[int, int], tuple[int, int]]
Results = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """A layer with 3x3 taps.

    Attributes:
        channels: of the image, ``filters`` of the result.
        height, width: of the image.
        images: of a call.
        padding: (above, below), (left, right).
        end: what surrounds the convolution, a key of ``ENDS``.
        backward: whether it is the gradient of a convolution's input, with that padding.
        symbolic: whether N, H and W are symbols.
        stride: of the convolution; 1 for a gradient.
    """

    channels: int
    filters: int
    height: int
    width: int
    images: int = 2
    padding: Padding = ((1, 1), (1, 1))
    end: str = "bias"
    backward: bool = False
    symbolic: bool = False
    stride: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        pairs = zip((self.height, self.width), self.padding)
        if self.backward:
            return tuple(size + 2 - sum(pair) for size, pair in pairs)  # type: ignore[return-value]
        found = ((size - 3 + sum(pair)) // self.stride + 1 for size, pair in pairs)
        return tuple(found)  # type: ignore[return-value]

    def graph(self, dtype: str = "f32", batch: int | None = None) -> Graph:
        """The layer; its batch is free where the images of a call are not given."""
        graph = Graph("layer")
        sizes: tuple[Any, ...] = (self.height, self.width)
        if self.symbolic:
            sizes = (symbol("H"), symbol("W"))
        image = (symbol("N") if batch is None else batch, self.channels, *sizes)
        x = graph.add_input("x", TensorType.make(dtype, image), Role.DATA)
        ENDS[self.end](_Layer(self, graph, dtype), x)
        return graph

    def feeds(self, seed: int = 0) -> Results:
        """Normal arrays; weights about as large as they are when a network is initialized."""
        rng = np.random.default_rng(seed)
        bindings = {"N": self.images, "H": self.height, "W": self.width}
        found = {}
        for value in self.graph().inputs:
            shape = tuple(int(dim) for dim in value.type.bind(bindings).shape)  # type: ignore[arg-type]
            found[value.name] = rng.standard_normal(shape, np.float32)
            if value.name.startswith("w"):
                found[value.name] /= np.float32(np.sqrt(9 * shape[1]))
        return found

    def exact(self, feeds: Mapping[str, Array]) -> Results:
        """The reference in f64."""
        wide = {name: array.astype(np.float64) for name, array in feeds.items()}
        return evaluate(self.graph("f64"), wide).outputs

    def hold(self, found: Mapping[str, Array], feeds: Mapping[str, Array], bound: float) -> None:
        """Hold results to the exact ones."""
        if not self.images:  # of which the reference has nothing to say
            assert all(array.size == 0 for array in found.values())
            return
        scale, exact = self.exact(self._sizes(feeds)), self.exact(feeds)
        assert found.keys() == exact.keys()
        for name, wanted in exact.items():
            assert found[name].shape == wanted.shape and found[name].dtype == np.float32
            allowed = bound * scale[name].max((2, 3), keepdims=True, initial=0)
            wrong = ~(np.abs(found[name] - wanted) <= allowed)
            assert not wrong.any(), (self, np.argwhere(wrong)[:3], found[name][wrong][:3])

    def _sizes(self, feeds: Mapping[str, Array]) -> Results:
        """How large arrays are. Where some taps meet none but zeros, they count as the others do:
        they are in the transform of a filter all the same."""
        found = {name: np.abs(array) for name, array in feeds.items()}
        if min(self.height, self.width, *self.size) < 3:
            for name in found:
                if name.startswith("w"):
                    most = found[name].max((2, 3), keepdims=True)
                    found[name] = np.broadcast_to(most, found[name].shape)
        return found


class _Layer:
    """Writes convolutions into a graph."""

    def __init__(self, case: Case, graph: Graph, dtype: str) -> None:
        self.case, self.graph, self.dtype = case, graph, dtype
        self.b = Builder(graph, path="layer")

    def parameter(self, name: str, *shape: int) -> Value:
        return self.graph.add_input(name, TensorType.make(self.dtype, shape), Role.PARAMETER)

    def convolved(self, x: Value, bias: bool = False, name: str = "w") -> Value:
        """The case's own convolution of a value."""
        case, channels = self.case, x.type.shape[1]
        assert isinstance(channels, int)
        if not case.backward:
            weight = self.parameter(name, case.filters, channels, 3, 3)
            more = [self.parameter("bias", case.filters)] if bias else []
            stride = (case.stride, case.stride)
            return self.b(Conv2d(stride, case.padding), x, weight, *more)
        size = tuple(dim + 2 - sum(pair) for dim, pair in zip(x.type.shape[2:], case.padding))
        op = Conv2dBackwardData(padding=case.padding, size=size)
        y = self.b(op, x, self.parameter(name, channels, case.filters, 3, 3))
        return self.b(Add(), y, self.parameter("bias", case.filters, 1, 1)) if bias else y

    def give(self, y: Value) -> None:
        self.graph.outputs = {"y": y}


def _plain(layer: _Layer, x: Value) -> None:
    layer.give(layer.convolved(x))


def _bias(layer: _Layer, x: Value) -> None:
    layer.give(layer.b(Relu(), layer.convolved(x, bias=True)))


def _residual(layer: _Layer, x: Value) -> None:
    y = layer.convolved(x, bias=True)
    other = layer.graph.add_input("other", y.type, Role.DATA)
    layer.give(layer.b(Relu(), layer.b(Add(), y, other)))


def _scaled(layer: _Layer, x: Value) -> None:
    """A batch norm's multiplication and addition, for each channel."""
    scale, shift = (layer.parameter(name, layer.case.filters, 1, 1) for name in ("p", "q"))
    layer.give(layer.b(Add(), layer.b(Mul(), layer.convolved(x), scale), shift))


def _concatenated(layer: _Layer, x: Value) -> None:
    """The result is a part of a whole, which has a halo, since it is convolved itself."""
    y = layer.b(Relu(), layer.convolved(x))
    z = layer.b(Relu(), layer.convolved(x, name="w2"))
    whole = layer.b(Concat(1), y, z, y)
    layer.give(layer.convolved(whole, name="w3"))


def _beside(layer: _Layer, x: Value) -> None:
    """The result is a part of two wholes, above and beside another image."""
    y = layer.convolved(x)
    z = layer.b(Relu(), layer.convolved(x, name="w2"))
    layer.graph.outputs = {"y": layer.b(Concat(2), y, z), "z": layer.b(Concat(3), z, y)}


def _part(layer: _Layer, x: Value) -> None:
    """The image is a part of a whole."""
    own = layer.b(Relu(), x)
    whole = layer.b(Concat(1), layer.b(Tanh(), x), own)
    layer.graph.outputs = {"y": layer.convolved(own), "z": layer.b(Relu(), whole)}


def _chain(layer: _Layer, x: Value) -> None:
    """The result is the image of another convolution."""
    y = layer.b(Relu(), layer.convolved(layer.b(Relu(), x)))
    layer.give(layer.convolved(y, name="w2"))


ENDS = {
    "plain": _plain,
    "bias": _bias,
    "residual": _residual,
    "scaled": _scaled,
    "concatenated": _concatenated,
    "beside": _beside,
    "part": _part,
    "chain": _chain,
}


@dataclass(frozen=True)
class Way:
    """A schedule for all that Winograd's algorithm can compute.

    Attributes:
        tile, order, tiles: as in :class:`Winograd`.
        columns, vectors: of the register tile; fewer where a block, or the registers, have fewer.
        ahead: as in :class:`Winograd`.
    """

    tile: tuple[int, int]
    order: str = "tiles"
    tiles: int = 7
    columns: int = 3
    vectors: int = 2
    ahead: int = 0

    def schedule(self, target: Target, stride: int = 1) -> Winograd:
        tile = self.tile if stride == 1 else STRIDED[self.tile]
        vectors = min(self.vectors, target.registers // 3)
        columns = min(self.columns, self.tiles, (target.registers - 1 - vectors) // vectors)
        across = (("t", columns),)
        order, ahead = self.order, self.ahead
        return Winograd(across, vectors, tile, self.tiles, order, ahead, stride=stride)

    def weight_schedule(self, target: Target) -> WinogradWeight:
        """For gradients of weights, alike."""
        own = self.schedule(target)
        parts = 0 if self.order == "filters" else 1 + self.tiles % 4
        across = (("c", own.columns[0][1]),)
        return WinogradWeight(across, own.vectors, self.tile, self.tiles, parts)


def possible(
    graph: Graph, target: Target, precision: str = "default", kind: type[Schedule] = Winograd
) -> Iterator[str]:
    """The kernels that Winograd's algorithm can compute."""
    for name, choices in lower(graph, target, precision=precision).choices.items():
        if any(isinstance(choice.schedule, kind) for choice in choices):
            yield name


def forced(graph: Graph, way: Way, target: Target) -> dict[str, Schedule]:
    """Schedules that let a graph run in that way, where it can."""
    found: dict[str, Schedule] = {}
    for name, choices in lower(graph, target).choices.items():
        for own in (choice.schedule for choice in choices):
            if isinstance(own, Winograd):
                found[name] = way.schedule(target, own.stride)
            elif isinstance(own, WinogradWeight):
                found[name] = way.weight_schedule(target)
    return found


def run(
    case: Case,
    feeds: Mapping[str, Array],
    target: Target,
    way: Way | None = None,
    threads: int = 1,
    **settings: Any,
) -> Results:
    """What native code gives: in a way of ours, or as it chooses itself."""
    graph = case.graph()
    if way is not None:
        settings["schedules"] = forced(graph, way, target)
        assert settings["schedules"], f"nothing of {case} can run as {way}"
    return call(compile_program(graph, target, threads, **settings), feeds)


def call(program: Any, feeds: Mapping[str, Array]) -> Results:
    """What a program gives, in the test mode on arrays at guard pages too."""
    given = guarded(feeds)
    executable = Executable(program, given)
    return dict(executable.run({value.name: given[value.name] for value in executable.inputs}))


@st.composite
def cases(draw: Any, lanes: int) -> Case:
    """Layers of all sizes, for vectors of so many lanes."""
    channels = draw(st.integers(lanes, 3 * lanes + 1))
    filters = draw(st.integers(lanes, 4 * lanes + 1))
    backward = draw(st.booleans())
    most = 2 if backward else 3
    padding = tuple((draw(st.integers(0, most)), draw(st.integers(0, most))) for _ in range(2))
    height, width = (
        draw(st.integers(max(1, sum(p) - 1 if backward else 3 - sum(p)), 30)) for p in padding
    )
    end = draw(st.sampled_from(list(ENDS)))
    if end in ("chain", "concatenated"):  # which may not lose what they convolve twice
        padding = ((1, 2), (2, 1))
        backward = False
    images, symbolic = draw(st.integers(1, 3)), draw(st.booleans())
    stride = 1 if backward else draw(st.sampled_from((1, 2)))
    return Case(channels, filters, height, width, images, padding, end, backward, symbolic, stride)


def ways() -> st.SearchStrategy[Way]:
    """Schedules of all kinds."""
    return st.builds(
        Way,
        st.sampled_from(TILES),
        st.sampled_from(ORDERS),
        st.integers(1, 40),
        st.integers(1, 14),
        st.integers(1, 3),
        st.sampled_from((0, 0, 4096)),
    )
