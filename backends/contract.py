"""The run-time contract of all backends.

A backend compiles a graph to a :class:`Program`: ``prepare`` turns the values of the fixed
parameters into what the code wants (run once for each set of weights, so that new weights need no
recompile), and ``main`` runs one call. State belongs to the backend and is updated in place.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from ..ir import Array, Graph, Input, Node, Role, TensorType
from ..ir.communicator import Communicator
from ..ir.dims import sizes, substitute
from ..ir.errors import CauceError, GraphError, ShapeError
from ..ir.evaluate import check_feed
from ..ir.graph import infer
from ..ir.record import Record
from ..ir.tracebacks import user_facing
from ..ir.unread import UnreadGraph

Dims = Mapping[str, int]
CALLED = (Role.DATA, Role.HYPERPARAMETER)  # the roles of inputs that a caller gives each time


class State(ABC):
    """What a graph updates in place: parameters in training, statistics, optimiser slots, keys.

    It belongs to one program and may be stored in a form of its own between calls.

    Attributes:
        program: the identity of the program whose state it is; set by the executable that makes
            it. In another process too, it is a state of that program and of its copies.
    """

    program: str | None = None

    @abstractmethod
    def read(self) -> dict[str, Array]:
        """A copy of every array, by input name."""

    @abstractmethod
    def write(self, values: Mapping[str, Array]) -> None:
        """Replace some or all of the arrays, by input name.

        Raises:
            GraphError: an unknown name.
            ShapeError, TypeMismatch: an array of another type.
        """


@user_facing
class ArrayState(State):
    """State as arrays in row-major order, one for each updated input.

    Args:
        inputs: the updated inputs.
        arrays: what they hold; the state's own from now on.
    """

    def __init__(self, inputs: Sequence[Input], arrays: Mapping[str, Array]) -> None:
        # Without the graph, which would go along with a state that is pickled.
        self._inputs = {v.name: Input(v.name, v.type, v.role) for v in inputs}
        self.arrays = dict(arrays)

    def read(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self.arrays.items()}

    def write(self, values: Mapping[str, Array]) -> None:
        checked = {}
        for name, array in values.items():
            if name not in self._inputs:
                raise GraphError(
                    f"the state has no array called {name!r}",
                    fix=f"it has {', '.join(list(self._inputs)[:6])}, ...: read() gives them all",
                )
            checked[name] = check_feed(self._inputs[name], array)
            check_shape(self._inputs[name], checked[name])
        for name, array in checked.items():
            self.arrays[name][...] = array


class NodeTime(Record):
    """One row of a profile: seconds, floating-point operations and bytes of one node.

    Attributes:
        share: of the time of the whole profile, from 0 to 1.
    """

    path: str
    op: str
    seconds: float
    flops: int
    bytes: int
    share: float = 0.0

    @staticmethod
    def of(node: Node, seconds: float, dims: Dims) -> NodeTime:
        """The row of ``node``, which took so long with these sizes of the symbols."""
        cost = node.cost
        flops, moved = sizes((substitute(cost.flops, dims), substitute(cost.bytes, dims)))
        return NodeTime(node.path, node.op.name, seconds, flops, moved)

    def __add__(self, other: NodeTime) -> NodeTime:
        """What both took, under the name of the first."""
        seconds, flops = self.seconds + other.seconds, self.flops + other.flops
        return replace(self, seconds=seconds, flops=flops, bytes=self.bytes + other.bytes)

    def within(self, seconds: float) -> NodeTime:
        """The row of a profile that took so long in all."""
        return replace(self, share=self.seconds / seconds if seconds else 0.0)

    @property
    def gflops_per_second(self) -> float:
        """How fast it was, in 1e9 floating-point operations a second; 0 where no time passed."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as it is printed."""
        return (
            self.path,
            self.op,
            f"{self.seconds * 1e3:.4f}",
            f"{self.flops / 1e9:.4f}",
            f"{self.gflops_per_second:.1f}",
            f"{self.bytes / 1e6:.3f}",
            f"{self.share:.1%}",
        )


class Interface(Record):
    """What goes into a compiled graph, and what comes out.

    Attributes:
        name: of the graph.
        inputs: all of them, in order.
        outputs: the types of the outputs, in order.
        updates: the names of the inputs that the graph replaces in place.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: Mapping[str, TensorType]
    updates: frozenset[str]

    @staticmethod
    def of(graph: Graph) -> Interface:
        """The interface of a graph."""
        outputs = {name: value.type for name, value in graph.outputs.items()}
        updates = frozenset(value.name for value in graph.updates)
        return Interface(graph.name, tuple(graph.inputs), outputs, updates)

    @property
    def called(self) -> list[Input]:
        """What a caller gives each time: data and hyperparameters."""
        return [value for value in self.inputs if value.role in CALLED]

    @property
    def fixed(self) -> list[Input]:
        """Parameters and state that no update replaces."""
        held = (value for value in self.inputs if value.role not in CALLED)
        return [value for value in held if value.name not in self.updates]

    @property
    def updated(self) -> list[Input]:
        """Parameters and state that the graph replaces in place."""
        return [value for value in self.inputs if value.name in self.updates]


class Optimized(Record):
    """In the place of passes: what they have left."""

    graph: Graph

    def __call__(self) -> Graph:
        return self.graph


class Request(Record):
    """What a backend is asked to compile.

    Attributes:
        given: the graph, or where it lies as text.
        optimize: runs the passes on a copy of it. A request that has options can be pickled.
        options: what the result of ``optimize`` depends on beside the source, as text; None where
            nobody can say.
        threads: how many are to share the work; None where the user did not say.
        settings: what the user said that this backend alone takes, pairs of name and value.
    """

    given: Graph | UnreadGraph
    optimize: Callable[[], Graph]
    options: str | None = None
    threads: int | None = None
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def source(self) -> Graph:
        """The graph as it was given."""
        return self.given.graph if isinstance(self.given, UnreadGraph) else self.given


class Program(ABC):
    """What a backend makes of a graph. It holds code and layout, never weights or buffers.

    So a program never changes, and copies of an executable share it. One whose parts cannot be
    pickled says in ``__reduce__`` how it is made anew, with :attr:`identity` as its state.

    Attributes:
        graph: the graph as the passes left it.
        forms: in which the code that the backend generates can be shown; none where it generates
            none.
    """

    graph: Graph
    forms: ClassVar[tuple[str, ...]] = ()

    @property
    def identity(self) -> str:
        """What tells this program, and what was pickled of it, from all others."""
        own = vars(self)
        return own.get("_identity") or own.setdefault("_identity", os.urandom(16).hex())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @property
    def interface(self) -> Interface:
        """What goes in and comes out."""
        return Interface.of(self.graph)

    def check(self, dims: Dims) -> None:
        """Whether every node takes these sizes of the symbols.

        Raises:
            ShapeError: a size that a node cannot take, with the node and its line.
        """
        check_sizes(self.graph, dims)

    def plan(self, **sizes: int) -> str:
        """How the graph runs, as text; the graph itself where a backend runs it as it stands."""
        return self.graph.to_text(locations=False)

    def code(self, form: str, layer: str | None = None) -> str:
        """The generated code of a layer, or of everything, as text in one of ``forms``."""
        raise NotImplementedError

    @abstractmethod
    def prepare(self, parameters: Mapping[str, Array]) -> Any:
        """Pack the values of the fixed parameters, given by input name.

        The caller may alter its arrays afterwards: what is kept of them is a copy.
        """

    @abstractmethod
    def new_state(self, values: Mapping[str, Array]) -> State:
        """A state with these values, given by input name."""

    @abstractmethod
    def new_arena(self, dims: Dims) -> Any:
        """The scratch memory of one call; it belongs to that call alone."""

    @abstractmethod
    def main(
        self,
        dims: Dims,
        packed: Any,
        state: State | None,
        arena: Any,
        inputs: Sequence[Array],
        outputs: Sequence[Array | None],
        profile: list[NodeTime] | None = None,
        communicator: Communicator | None = None,
    ) -> list[Array]:
        """Run one call.

        Args:
            dims: the sizes of the symbols.
            packed: what ``prepare`` gave.
            state: updated in place when everything else is done; None where nothing is updated.
            arena: what ``new_arena`` gave for these sizes.
            inputs: data and hyperparameters, in order; they are not altered.
            outputs: for each output an array to write to, or None to allocate one.
            profile: receives the time of every node, if given.
            communicator: of the ranks that make this call together; only where there are some is
                it given at all.

        Returns:
            The outputs in order; each is the caller's own.
        """

    @property
    @abstractmethod
    def backend(self) -> str:
        """The name of the backend."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What the bits of the results depend on beside the graph and the inputs."""


def check_shape(value: Input, array: Array) -> None:
    """Raise ShapeError where ``array`` contradicts the type of a parameter or state."""
    wanted, found = value.type.shape, array.shape
    if wanted != found and any(
        isinstance(dim, int) and dim != size for dim, size in zip(wanted, found)
    ):
        raise ShapeError(
            f"{value.name} is {value.type}, got an array of shape {array.shape}",
            fix="load the weights of the same network, made with the same options",
        )


def check_sizes(graph: Graph, dims: Dims) -> None:
    """Whether every node takes these run-time sizes, and gives what its type says.

    Raises:
        ShapeError: a size that a node cannot take, with the node and its line.
    """
    for node in graph.nodes:
        regions = node.op.regions()
        for body in regions:
            check_sizes(body, dims)
        if regions:
            continue  # its type is that of its body
        try:
            operands = [value.type.bind(dims) for value in node.operands]
            node.op.check_run(*operands)
            if not dims:
                continue  # its type was checked when it was made
            types = infer(node.op.bind(dims), *operands)
            for value, type_ in zip(node.results, types):
                if value.type.bind(dims) != type_ or _negative(type_):
                    sizes = ", ".join(f"{name} = {size}" for name, size in dims.items())
                    raise ShapeError(
                        f"{node.op.name} would give {type_} where {value.type} is expected, "
                        f"with {sizes}",
                        fix="feed larger arrays",
                    )
        except CauceError as error:
            error.at(node.path, node.loc)
            raise


def _negative(type_: TensorType) -> bool:
    return any(isinstance(dim, int) and dim < 0 for dim in type_.shape)
