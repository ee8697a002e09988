"""Tracing: running a Python function over symbolic tensors writes a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ..ir import Array, Builder, DType, Graph, Input, Literal, Op, Role, TensorType
from ..ir.errors import AttributeMistake, GraphError, ShapeError, TypeMismatch, shown
from ..ir.location import here
from ..ir.ops.constant import Constant
from ..ir.ops.random import KEY, random_key
from .tensor import Tensor

# Gives the initial value of a parameter: (shape, random generator) -> array.
Initializer: TypeAlias = "Callable[[tuple[int, ...], np.random.Generator], Array]"


@dataclass
class Trace:
    """A graph being written by the user's function.

    Attributes:
        graph: what is written so far.
        training: whether layers take their training form (batch statistics, dropout).
        initializers: how each parameter and state gets its first value, by name.
    """

    graph: Graph
    training: bool = False
    initializers: dict[str, tuple[TensorType, Initializer]] = field(default_factory=dict)
    _scopes: list[str] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)
    _streams: int = 0
    _path: str | None = None

    def path(self, name: str) -> str:
        """``name`` below the scopes that are open."""
        return ".".join([*self._scopes, name])

    def layer_path(self, kind: str, name: str | None) -> str:
        """The path of a layer: its name, or its kind with a number: ``conv1``, ``conv2``.

        A kind that ends in a digit is kept apart from the number: ``resnet18_1``.

        Raises:
            GraphError: a layer with that name exists in this scope.
            AttributeMistake: a name that is none.
        """
        if name is not None:
            if not isinstance(name, str) or not name or "~" in name:
                raise AttributeMistake(
                    f"the name of a layer is text without ~, got {shown(name)}",
                    fix="leave it out, or write for example name='head'",
                    loc=here(),
                )
            path = self.path(name)
            if self._counts[path]:
                raise GraphError(
                    f"there are two layers called {path!r}",
                    fix="give each a name of its own, or put them in different nn.scope(...)",
                    loc=here(),
                )
            self._counts[path] += 1
            return path
        if kind[-1].isdigit():
            kind += "_"
        while True:
            self._counts[self.path(kind) + "#"] += 1
            path = self.path(f"{kind}{self._counts[self.path(kind) + '#']}")
            if not self._counts[path]:
                self._counts[path] += 1
                return path

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Within the block, layers are named below ``name``."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Within the block, nodes without a path of their own carry this one."""
        saved, self._path = self._path, path
        try:
            yield
        finally:
            self._path = saved

    def emit(self, op: Op, *operands: Tensor | None, path: str | None = None) -> Tensor:
        """Write a node and return its first result."""
        return self.emit_all(op, *operands, path=path)[0]

    def emit_all(
        self, op: Op, *operands: Tensor | None, path: str | None = None
    ) -> tuple[Tensor, ...]:
        """Write a node with the user's line and return all its results.

        Raises:
            GraphError: this trace is over, or an operand is of another one.
        """
        if _current.get() is not self:
            raise _stray(self.graph.name)
        self.check_own(*(x for x in operands if x is not None))
        path = path or self._path or self.path(op.name)
        b = Builder(self.graph, path=path, loc=here())
        values = b.results(op, *(None if x is None else x.value for x in operands))
        return tuple(Tensor(value, self) for value in values)

    def check_own(self, *tensors: Tensor, what: str = "an operand") -> None:
        """Check that these are tensors of this trace; ``what`` says what they are for.

        Raises:
            TypeMismatch: something that is no tensor.
            GraphError: a tensor that was made in another trace.
        """
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeMismatch(
                    f"{what} must be a tensor of the network, got {shown(tensor)}",
                    fix="a network is a function of tensors: arrays are fed to what compile gives; "
                    "numbers and constant arrays come in by arithmetic, x * 2",
                    loc=here(),
                )
            if tensor.trace is not self:
                raise _stray(tensor.trace.graph.name)

    def constant(self, value: object, dtype: DType, path: str | None = None) -> Tensor:
        """Write a constant."""
        return self.emit(Constant(Literal(value, dtype)), path=path)

    def parameter(
        self, name: str, type: TensorType, initializer: Initializer, role: Role = Role.PARAMETER
    ) -> Tensor:
        """A new parameter or state of the network, with the way it is first filled.

        Raises:
            ShapeError: a size that is not known, or 0.
            TypeMismatch: an initializer that is no function.
        """
        if not callable(initializer):
            raise TypeMismatch(
                f"the first values of {name} come from a function (shape, random generator) -> "
                f"array, got {shown(initializer)}",
                fix="use those of nn.init, for example nn.init.constant(0.1)",
                loc=here(),
            )
        if not all(isinstance(dim, int) for dim in type.shape):
            raise ShapeError(
                f"the parameter {name} would be {type}, but its size must be known",
                fix="give the channels (features) of the input as an int in init(...); before a "
                "linear layer, nn.global_avg_pool makes them independent of height and width",
                loc=here(),
            )
        if 0 in type.shape:
            raise ShapeError(
                f"the parameter {name} would be {type}, which holds nothing",
                fix="give sizes of at least 1",
                loc=here(),
            )
        value = self.graph.add_input(name, type, role)
        self.initializers[name] = (type, initializer)
        return Tensor(value, self)

    def update(self, target: Tensor, value: Tensor) -> None:
        """Let ``value`` take the place of a parameter or state after each run."""
        assert isinstance(target.value, Input)
        self.graph.updates[target.value] = value.value

    def random_key(self) -> Tensor:
        """The random key (seed, step), made at its first use; its step goes up with each run."""

        def no_seed(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
            return np.zeros(shape, np.uint32)

        key = random_key(self.graph, here())
        self.initializers[KEY] = (key.type, no_seed)
        return Tensor(key, self)

    def next_stream(self) -> int:
        """The number of the next random stream; it stays with its op whatever becomes of names."""
        self._streams += 1
        return self._streams - 1


def _stray(network: str) -> GraphError:
    return GraphError(
        f"a tensor of network {network} is used where that is not being traced",
        fix="keep no tensor from one call of a network for another: pass it as an argument",
        loc=here(),
    )


_current: ContextVar[Trace | None] = ContextVar("cauce_trace", default=None)


def current() -> Trace:
    """The trace that is running.

    Raises:
        GraphError: none is; layers only work inside a network.
    """
    trace = _current.get()
    if trace is None:
        raise GraphError(
            "layers can only be used inside a network",
            fix="put the code in a function decorated with @cauce.network and call its init(...)",
            loc=here(),
        )
    return trace


def is_tracing() -> bool:
    """Whether a network is being traced now."""
    return _current.get() is not None


@contextmanager
def tracing(trace: Trace) -> Iterator[Trace]:
    """Within the block, layers write into ``trace``."""
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def extend(graph: Graph) -> Trace:
    """A trace that goes on at the end of a graph which exists, in its training form."""
    streams = [
        value
        for node in graph.nodes
        for name, value in node.op.attributes()
        if name == "stream" and isinstance(value, int)
    ]
    trace = Trace(graph, training=True)
    trace._streams = max(streams, default=-1) + 1
    return trace
