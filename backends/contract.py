"""The run-time contract of all backends, and the executable that users call.

A backend compiles a graph to a :class:`Program`: ``prepare`` turns the values of the fixed
parameters into what the code wants (run once for each set of weights, so that new weights need no
recompile), and ``main`` runs one call. State belongs to the backend and is updated in place.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Array, Graph, Input, Node, TensorType
from ..ir.dims import sizes, substitute
from ..ir.errors import CauceError, GraphError, ShapeError, TypeMismatch, need
from ..ir.evaluate import bind_symbols, check_feed, check_feeds
from ..ir.graph import infer
from ..ir.tracebacks import user_facing
from .recent import Recent
from .split import call_inputs, fixed_inputs, updated_inputs

Dims = Mapping[str, int]
TAP = "tap "  # what the names of tapped outputs start with


class State(ABC):
    """What a graph updates in place: parameters in training, statistics, optimiser slots, keys.

    It belongs to one program and may be stored in a form of its own between calls.

    Attributes:
        program: whose state it is; set by the executable that makes it.
    """

    program: Program | None = None

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
    """State as arrays in row order, one for each updated input.

    Args:
        inputs: the updated inputs.
        arrays: what they hold; the state's own from now on.
    """

    def __init__(self, inputs: Sequence[Input], arrays: Mapping[str, Array]) -> None:
        self._inputs = {value.name: value for value in inputs}
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


@dataclass(frozen=True)
class NodeTime:
    """One row of a profile: seconds, floating-point operations and bytes of one node."""

    path: str
    op: str
    seconds: float
    flops: int
    bytes: int

    @staticmethod
    def of(node: Node, seconds: float, dims: Dims) -> NodeTime:
        """The row of ``node``, which took so long with these sizes of the symbols."""
        cost = node.op.cost([v.type for v in node.operands], [v.type for v in node.results])
        flops, moved = sizes((substitute(cost.flops, dims), substitute(cost.bytes, dims)))
        return NodeTime(node.path, node.op.name, seconds, flops, moved)


class Program(ABC):
    """What a backend makes of a graph. It holds code and layout, never weights or buffers."""

    graph: Graph

    @abstractmethod
    def prepare(self, parameters: Mapping[str, Array]) -> Any:
        """Pack the values of the fixed parameters, given by input name."""

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


@user_facing
class Executable:
    """A compiled graph. Call it with arrays, by position or by name.

    With one output it returns one array, otherwise a tuple in the graph's order. Inputs are never
    altered. An executable may be called from several threads at once.

    Args:
        program: what the backend compiled.
        parameters: values of the fixed parameters, by name; may be loaded later.
        outputs: how many of the graph's outputs a call returns; those behind are taps.
    """

    def __init__(
        self,
        program: Program,
        parameters: Mapping[str, object] | None = None,
        outputs: int | None = None,
    ) -> None:
        self.program = program
        self.graph = program.graph
        self._inputs = call_inputs(self.graph)
        self._fixed = fixed_inputs(self.graph)
        self._updated = updated_inputs(self.graph)
        self._types = {name: value.type for name, value in self.graph.outputs.items()}
        self._count = len(self._types) if outputs is None else outputs
        self._packed: Any = None
        self._sizes: Recent[tuple[tuple[str, int], ...], None] = Recent()
        self._loaded = False
        self._lock = threading.Lock()
        if parameters is not None or not self._fixed:
            self.load_state_dict(parameters or {})

    @property
    def backend(self) -> str:
        """The name of the backend that compiled it."""
        return self.program.backend

    @property
    def inputs(self) -> list[Input]:
        """What a call takes, in order: data, then hyperparameters, as the graph lists them."""
        return list(self._inputs)

    @property
    def outputs(self) -> dict[str, TensorType]:
        """What a call returns, in order, with the types."""
        return dict(list(self._types.items())[: self._count])

    @property
    def taps(self) -> list[str]:
        """What :meth:`tapped` returns beside the outputs."""
        return [name.removeprefix(TAP) for name in list(self._types)[self._count :]]

    def __repr__(self) -> str:
        takes = ", ".join(f"{value.name}: {value.type}" for value in self._inputs)
        gives = ", ".join(f"{name}: {type_}" for name, type_ in self.outputs.items())
        return f"<Executable {self.graph.name} on {self.backend}: ({takes}) -> ({gives})>"

    def load_state_dict(self, parameters: Mapping[str, object]) -> None:
        """Take new weights, without recompiling. Names that the graph does not use are ignored.

        Raises:
            GraphError: a parameter is missing.
            ShapeError, TypeMismatch: an array that does not fit its parameter.
        """
        missing = [value.name for value in self._fixed if value.name not in parameters]
        if missing:
            raise GraphError(
                f"{self.graph.name}: no value for the parameters {', '.join(missing)}",
                fix="pass all of them, as Model.state_dict() does",
            )
        arrays = {}
        for value in self._fixed:
            arrays[value.name] = array = check_feed(value, parameters[value.name])
            check_shape(value, array)
        packed = self.program.prepare(arrays)
        with self._lock:
            self._packed, self._loaded = packed, True

    def new_state(self, values: Mapping[str, object]) -> State:
        """A state for a graph that updates its inputs (a training step).

        Args:
            values: an array for each updated input, by name.

        Raises:
            GraphError: a missing or unknown name.
        """
        arrays = check_feeds(self._updated, values, self.graph.name)
        for value, array in zip(self._updated, arrays):
            check_shape(value, array)
        names = (value.name for value in self._updated)
        state = self.program.new_state(dict(zip(names, arrays)))
        state.program = self.program
        return state

    def __call__(
        self,
        *args: object,
        state: State | None = None,
        out: Array | Sequence[Array] | None = None,
        **kwargs: object,
    ) -> Any:
        """Run once.

        Args:
            args: data and hyperparameters in order.
            state: for a graph that updates its inputs: updated in place.
            out: arrays to write the outputs to (one, or one for each output).
            kwargs: data and hyperparameters by name.

        Raises:
            GraphError: parameters not loaded, a missing or unknown input, or no state.
            ShapeError, TypeMismatch: an array that does not fit.
        """
        outputs = self._run(self._arguments(args, kwargs), state, out, None)[: self._count]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def tapped(
        self, *args: object, state: State | None = None, **kwargs: object
    ) -> tuple[Any, dict[str, Array]]:
        """Run once; returns what a call returns, and the tapped values by name."""
        everything = self._run(self._arguments(args, kwargs), state, None, None)
        outputs, taps = everything[: self._count], everything[self._count :]
        result = outputs[0] if len(outputs) == 1 else tuple(outputs)
        return result, dict(zip(self.taps, taps))

    def run(self, feeds: Mapping[str, object], state: State | None = None) -> dict[str, Array]:
        """Run once with inputs by name; returns the outputs by name."""
        outputs = self._run(dict(feeds), state, None, None)
        return dict(zip(self.outputs, outputs))

    def profile(
        self, *args: object, state: State | None = None, **kwargs: object
    ) -> list[NodeTime]:
        """Run once and return the time of every node, in order."""
        times: list[NodeTime] = []
        self._run(self._arguments(args, kwargs), state, None, times)
        return times

    def _arguments(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> dict[str, object]:
        names = [value.name for value in self._inputs]
        if len(args) > len(names):
            raise GraphError(
                f"{self.graph.name} takes ({', '.join(names)}), got {len(args)} arrays",
                fix="give an array for each, in this order or by name",
            )
        feeds = dict(zip(names, args))
        twice = [name for name in kwargs if name in feeds]
        if twice:
            raise GraphError(
                f"{self.graph.name}: {', '.join(twice)} given by position and by name",
                fix="give each input once",
            )
        return {**feeds, **kwargs}

    def _run(
        self,
        feeds: Mapping[str, object],
        state: State | None,
        out: Array | Sequence[Array] | None,
        profile: list[NodeTime] | None,
    ) -> list[Array]:
        if not self._loaded:
            raise GraphError(
                f"{self.graph.name} has no parameter values yet",
                fix="call load_state_dict, or compile a Model instead of its graph",
            )
        if state is None and self._updated:
            names = ", ".join(value.name for value in self._updated[:3])
            raise GraphError(
                f"{self.graph.name} updates {len(self._updated)} arrays ({names}, ...), "
                "and no state that holds them was given",
                fix="make a state with new_state(values) and pass it as state=",
            )
        if state is not None and not self._updated:
            raise GraphError(
                f"{self.graph.name} updates nothing, it takes no state", fix="leave out state="
            )
        if state is not None:
            need(state, State, "state= takes a state", "make it with new_state(values)")
        if state is not None and state.program is not self.program:
            raise GraphError(
                f"this state is not of {self.graph.name}: another executable made it",
                fix="make one here: new_state({**values, **other.read()})",
            )
        arrays = check_feeds(self._inputs, feeds, self.graph.name)
        dims = bind_symbols([value.type for value in self._inputs], arrays, names=self._inputs)
        self._sizes.get(tuple(sorted(dims.items())), lambda: check_sizes(self.graph, dims))
        outputs = self._outputs(out, dims, arrays)
        arena = self.program.new_arena(dims)
        return self.program.main(dims, self._packed, state, arena, arrays, outputs, profile)

    def _outputs(
        self, out: Array | Sequence[Array] | None, dims: Dims, inputs: Sequence[Array]
    ) -> list[Array | None]:
        types = list(self.outputs.values())
        if out is None:
            return [None] * len(self._types)
        given: list[Any] = list(out) if isinstance(out, (tuple, list)) else [out]
        if len(given) != len(types):
            raise GraphError(
                f"out has {len(given)} arrays, {self.graph.name} has {len(types)} outputs",
                fix=f"give an array for each of {', '.join(self.outputs)}",
            )
        for (name, type_), array in zip(self.outputs.items(), given):
            wanted = type_.bind(dims)
            fix = f"make it with np.empty({wanted.shape}, np.{wanted.dtype.numpy.name})"
            need(array, np.ndarray, f"out for {name} must be an array {wanted}", fix)
            if array.shape != wanted.shape:
                raise ShapeError(
                    f"out for {name} must be {wanted}, got an array of shape {array.shape}", fix=fix
                )
            if array.dtype != wanted.dtype.numpy:
                raise TypeMismatch(
                    f"out for {name} must be {wanted}, got an array of {array.dtype}", fix=fix
                )
            others = [*inputs, *given]
            shared = sum(np.shares_memory(array, other) for other in others) > 1
            if shared or not array.flags.writeable:
                raise GraphError(
                    f"out for {name} must be memory of its own that can be written to",
                    fix="give an array made with np.empty",
                )
        return [*given, *[None] * (len(self._types) - len(types))]


def check_shape(value: Input, array: Array) -> None:
    """Raise ShapeError where ``array`` contradicts the type of a parameter or state."""
    if any(
        isinstance(dim, int) and dim != size for dim, size in zip(value.type.shape, array.shape)
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
    for node in graph.nodes if dims else ():
        bodies = [value for _, value in node.op.attributes() if isinstance(value, Graph)]
        for body in bodies:
            check_sizes(body, dims)
        if bodies:
            continue  # its type is that of its body
        try:
            operands = [value.type.bind(dims) for value in node.operands]
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
