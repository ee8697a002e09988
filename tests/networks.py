"""Random networks over the whole op registry, as a hypothesis strategy.

:func:`networks` draws graphs: an image of random size with a symbolic batch, parameters, and nodes
written by *growers*, one for each registered op (``tests/growers_*.py``). A grower takes values
that are there already, or adds an input, so that ops meet in all combinations.

Values are kept tame, so that two right evaluations agree: logarithms get positive values, what
decides by comparing (``greater``, ``argmax``, ``sign``) gets values that no rounding has touched.
What is left of chaos (a maximum of nearly equal values, say) is filtered out by :func:`tame`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cauce.ir import (
    Array,
    Builder,
    Dim,
    DType,
    Frame,
    Graph,
    Input,
    Location,
    Op,
    Role,
    TensorType,
    Value,
    evaluate,
    symbol,
)
from cauce.ir.dims import substitute
from cauce.ir.ops.activation import Tanh
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import Add, Exp, Mul
from cauce.ir.ops.reduce import Mean
from cauce.ir.ops.update import SGDUpdate
from cauce.ir.validation import Feeds, difference, perturbed, random_feeds
from cauce.passes.autodiff import gradients

from .facets.sample import Draw

# What the symbols stand for when a network is run.
SIZES = {"N": 3, "H": 6, "W": 5}
# Values with more elements than this are not built upon.
LARGEST = 1500

Shape = tuple[Dim, ...]
Grower = Callable[["Net"], None]
_GROWERS: dict[type[Op], Grower] = {}


class Net:
    """A network being drawn.

    Attributes:
        draw: sizes and choices.
        dtype: of all floating-point values (but those behind a cast).
        graph, b: the network and the builder that writes it.
        live: values that growers may use, inputs among them.
        op: the op class that the running grower was asked for.
    """

    def __init__(self, draw: Draw, dtype: DType, symbols: Sequence[str]) -> None:
        self.draw = draw
        self.dtype = dtype
        self.graph = Graph("network")
        self.b = Builder(self.graph)
        self.live: list[Value] = []
        self.op: type[Op] = Op
        self.symbols = frozenset(symbols)
        self._exact: set[Value] = set()
        self._count: dict[str, int] = {}

    # ---- sizes ---------------------------------------------------------------------------------

    def extent(self, dim: Dim) -> int:
        """The size that a dimension will have."""
        size = substitute(dim, SIZES)
        assert isinstance(size, int)
        return size

    def symbol(self, name: str) -> Dim:
        """The symbol, or its size where this network has no such symbol."""
        return symbol(name) if name in self.symbols else SIZES[name]

    # ---- inputs --------------------------------------------------------------------------------

    def _input(
        self, prefix: str, shape: Sequence[Dim], role: Role, dtype: DType | None, name: str = ""
    ) -> Input:
        if not name:
            number = self._count[prefix] = self._count.get(prefix, 0) + 1
            name = f"{prefix}{number}"
        type_ = TensorType(dtype or self.dtype, tuple(shape))
        value = self.graph.add_input(name, type_, role)
        if role is Role.DATA:
            self.live.append(value)
            self._exact.add(value)
        return value

    def data(self, shape: Sequence[Dim], dtype: DType | None = None) -> Input:
        """A new data input: normal floats, or integers and bools that are 0 or 1."""
        return self._input("x", shape, Role.DATA, dtype)

    def parameter(self, shape: Sequence[Dim]) -> Input:
        """A new parameter: normal."""
        return self._input("p", shape, Role.PARAMETER, None)

    def state(self, shape: Sequence[Dim], dtype: DType | None = None, name: str = "") -> Input:
        """A new state: floats within 0.5 .. 1.5, integers 0 or 1."""
        return self._input("s", shape, Role.STATE, dtype, name)

    def rate(self) -> Value:
        """A hyperparameter: 0.1."""
        known = self.graph.inputs_with(Role.HYPERPARAMETER)
        return known[0] if known else self._input("rate", (), Role.HYPERPARAMETER, None)

    def image(self) -> Input:
        """A new data input [N, C, H, W]."""
        sizes = (self.symbol("H"), self.symbol("W")) if self.draw.flag() else self.draw.pair(3, 7)
        return self.data((self.symbol("N"), self.draw.int(1, 4), *sizes))

    # ---- values --------------------------------------------------------------------------------

    def pick(self, fits: Callable[[Value], bool], else_: Callable[[], Value]) -> Value:
        """A live value that fits, the latest first; a new one where none does."""
        found = [value for value in reversed(self.live) if fits(value)]
        return self.draw.choice(*found) if found else else_()

    def is_float(self, value: Value) -> bool:
        return value.type.dtype is self.dtype

    def floating(self, fits: Callable[[TensorType], bool] = lambda type_: True) -> Value:
        """A floating-point value of any rank, whose type fits; else a new image, or matrix."""

        def new() -> Value:
            matrix = TensorType(self.dtype, (self.symbol("N"), self.draw.int(2, 5)))
            return self.data(matrix.shape) if fits(matrix) else self.image()

        return self.pick(lambda value: self.is_float(value) and fits(value.type), new)

    def picture(self) -> Value:
        """A floating-point value [N, C, H, W] with a known number of channels."""
        return self.floating(lambda type_: type_.rank == 4 and isinstance(type_.shape[1], int))

    def features(self) -> Value:
        """A floating-point value [..., C] with a known number of features."""
        return self.floating(lambda type_: type_.rank >= 2 and isinstance(type_.shape[-1], int))

    def exact(self, fits: Callable[[TensorType], bool] = lambda type_: True) -> Value:
        """A floating-point value that no rounding has touched."""

        def usable(value: Value) -> bool:
            return value in self._exact and self.is_float(value) and fits(value.type)

        return self.pick(usable, self.image)

    def integer(self) -> Value:
        """An integer value: 0 or 1."""
        fits = lambda value: value in self._exact and value.type.dtype is DType.I64  # noqa: E731
        return self.pick(fits, lambda: self.data((self.symbol("N"),), DType.I64))

    def boolean(self) -> Value:
        """A bool value."""
        fits = lambda value: value.type.dtype is DType.BOOL  # noqa: E731
        return self.pick(fits, lambda: self.data(self.floating().type.shape, DType.BOOL))

    def positive(self, value: Value) -> Value:
        """Write exp(tanh x), which lies within 1/e .. e."""
        return self.b(Exp(), self.b(Tanh(), value))

    def narrower(self, shape: Shape) -> Shape:
        """A shape of known sizes that broadcasts to ``shape``."""
        sizes: list[Dim] = []
        for dim in shape:
            sizes.append(dim if isinstance(dim, int) and self.draw.flag() else 1)
        return tuple(sizes[self.draw.choice(0, len(sizes) // 2, len(sizes)) :])

    def partner(self, x: Value) -> Value:
        """What may stand beside ``x`` in a broadcasting op: a live value of its shape, a
        parameter, or a constant."""
        match self.draw.int(0, 3):
            case 0:
                return self.pick(
                    lambda v: self.is_float(v) and v.type == x.type, lambda: self.data(x.type.shape)
                )
            case 1 | 2:
                return self.parameter(self.narrower(x.type.shape))
            case _:
                return scalar(self.b, self.draw.choice(2.0, 0.5, -1.5, 0.25), x)

    def keep(self, *values: Value, exact: bool = False) -> None:
        """Let later growers use these values.

        Args:
            values: what has been written.
            exact: whether they are no more rounded than what they were made of.
        """
        for value in values:
            if self.extent(value.type.size) <= LARGEST:
                self.live.append(value)
            operands = value.node.operands if value.node else ()
            if exact and all(operand in self._exact for operand in operands):
                self._exact.add(value)

    def grow(self, op: type[Op]) -> None:
        """Let the grower of ``op`` write."""
        self.op = op
        self.at_line()
        growers()[op](self)

    def at_line(self) -> None:
        """What is written from here on belongs to a new line of the network's source."""
        line = self._count["line"] = self._count.get("line", 0) + 1
        self.b.path = None if self.draw.flag() else f"block{line % 3}.layer{line}"
        self.b.loc = Location((Frame("net.py", line),)) if self.draw.flag() else None

    # ---- ends ----------------------------------------------------------------------------------

    def leaves(self) -> list[Value]:
        """The results that nothing reads."""
        return [v for node in self.graph.nodes for v in node.results if not v.users]

    def finish(self, training: bool) -> None:
        """Choose the outputs: most of what nothing reads (the rest is dead code), or a loss and
        its gradients; and sometimes a value from within."""
        inner = [value for value in self.live if value.node is not None]
        if inner and self.draw.int(0, 3) == 3:
            # Before the gradients: these may replace nodes by their decompositions.
            self.graph.outputs["inner"] = self.draw.choice(*inner)
        if training:
            self.finish_training()
        leaves = [value for value in self.leaves() if not self.graph.leaves(value)]
        for value in [v for v in leaves if self.draw.int(0, 5) < 5] or leaves[:1]:
            self.graph.outputs[value.name] = value
        if not self.graph.outputs:
            self.graph.outputs["y"] = self.graph.inputs[0]

    def finish_training(self) -> None:
        """Make a loss of all the floats that nothing reads; outputs are it and its gradients."""
        at = self.b
        at.path, at.loc = "loss", None
        ends = [v for v in self.leaves() if self.is_float(v) and not self.graph.leaves(v)]
        ends = ends or [self.floating()]
        loss: Value | None = None
        for value in ends:
            part = at(Mean(), at(Mul(), value, at(Tanh(), value))) if value.type.rank else value
            loss = part if loss is None else at(Add(), loss, part)
        assert loss is not None
        parameters = self.graph.inputs_with(Role.PARAMETER)
        wrt = [v for v in parameters if self.is_float(v) and v not in self.graph.updates]
        wrt = wrt or [value for value in self.graph.inputs if self.is_float(value)]
        self.graph.outputs["loss"] = loss
        grads = gradients(self.graph, loss, wrt)
        for value, grad in zip(wrt, grads):
            if grad is not None and value.role is Role.PARAMETER and self.draw.flag():
                self.graph.updates[value] = at(SGDUpdate(), value, grad, self.rate())
            elif grad is not None:
                self.graph.outputs[f"grad {value.name}"] = grad


def grows(*ops: type[Op]) -> Callable[[Grower], Grower]:
    """Decorator: the function writes each of these ops into a network; ``net.op`` says which."""

    def mark(grower: Grower) -> Grower:
        for op in ops:
            assert op not in _GROWERS, f"{op.name} has two growers"
            _GROWERS[op] = grower
        return grower

    return mark


def growers() -> Mapping[type[Op], Grower]:
    """The growers in the modules ``growers_*.py``, by op."""
    for file in sorted(Path(__file__).parent.glob("growers_*.py")):
        importlib.import_module(f"{__package__}.{file.stem}")
    return _GROWERS


# Every second op of a network is one of these, so that most look like what people train.
TYPICAL = (
    "conv2d",
    "relu",
    "batch_norm",
    "batch_norm_train",
    "max_pool2d",
    "avg_pool2d",
    "add",
    "mul",
    "linear",
    "flatten",
    "dropout",
    "pad",
    "concat",
    "transpose",
    "global_avg_pool2d",
)


@st.composite
def networks(
    draw: Callable[[st.SearchStrategy[Any]], Any],
    dtype: str = "f64",
    training: bool = False,
    *,
    symbols: Sequence[str] = ("N", "H", "W"),
    ops: Sequence[type[Op]] | None = None,
    include: Sequence[type[Op] | Grower] = (),
    most: int = 8,
) -> Graph:
    """A random network.

    Args:
        draw: given by hypothesis.
        dtype: of its floating-point values, f64 or f32.
        training: whether its outputs are a loss and the gradients by its parameters.
        symbols: which of N, H and W are symbols; the others are sizes.
        ops: the ops to choose from (a grower may need others beside them); all by default.
        include: ops, or growers, that it holds in any case.
        most: the greatest number of other ops.
    """
    net = Net(Draw(draw, Op), DType.of(dtype), symbols)
    net.image()
    known = sorted(growers() if ops is None else ops, key=lambda op: op.name)
    typical = [op for op in known if op.name in TYPICAL] or known
    # The ops come from a seed: hypothesis would favour a few. Failures shrink to fewer of them.
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    plan: list[type[Op] | Grower] = []
    for _ in range(draw(st.sampled_from(range(1, most + 1)))):
        choices = typical if rng.random() < 0.5 else known
        plan.append(choices[rng.integers(len(choices))])
    for item in include:
        plan.insert(net.draw.int(0, len(plan)), item)
    for item in plan:
        if isinstance(item, type):
            net.grow(item)
        else:
            net.at_line()
            item(net)
    net.finish(training)
    return net.graph


def feeds_for(graph: Graph, seed: int = 0) -> Feeds:
    """Arrays for the inputs of a drawn network."""
    return random_feeds(graph, SIZES, seed)


def results_of(graph: Graph, feeds: Feeds) -> dict[str, Array]:
    """Outputs and updates of a network by the reference; feeds it has no input for are ignored."""
    names = {value.name for value in graph.inputs}
    result = evaluate(graph, {name: feed for name, feed in feeds.items() if name in names})
    return {**result.outputs, **{f"update {name}": new for name, new in result.updates.items()}}


def tame(
    graph: Graph, feeds: Feeds, *, relative: float = 1e-13, amplification: float = 1e3
) -> bool:
    """Whether all results are finite, and change little where the inputs change a little.

    A network that is not tame cannot be compared between two right evaluations: near a kink or a
    tie, or where a result is rounding noise around 0. For f32, ``relative=1e-6`` and
    ``amplification=30`` suit a comparison to 1e-4.
    """
    before = results_of(graph, feeds)
    after = results_of(graph, perturbed(feeds, relative))
    return all(
        bool(np.isfinite(array).all()) and difference(after[name], array) < relative * amplification
        for name, array in before.items()
    )
