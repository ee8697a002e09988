"""Programs of the NumPy backend: the nodes in order, each run by its kernel."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ir import Array, Graph, Input, Node, Op
from ...ir.dims import substitute
from ...ir.errors import CauceError, GraphError
from ...ir.evaluate import check_feed
from ...ir.tracebacks import user_facing
from ...ir.version import VERSION
from ..contract import Dims, NodeTime, Program, State, check_shape
from ..split import split, updated_inputs
from .kernels import KERNELS, Kernel
from .lowering import lower
from .memory import Memory

Slots = list[Array | None]


class Arena:
    """What one call works with: a slot for every value, and memory for what the slots hold."""

    def __init__(self, count: int, dims: Dims) -> None:
        self.dims = dict(dims)
        self.slots: Slots = [None] * count
        self.memory = Memory()


@dataclass(frozen=True)
class Step:
    """One node to run; operands and results are slots, ``free`` those not read any more."""

    node: Node
    kernel: Kernel
    operands: tuple[int, ...]
    results: tuple[int, ...]
    free: tuple[int, ...]


class Schedule:
    """A graph as steps over numbered slots; inputs take the first slots, in order."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        number = {value: slot for slot, value in enumerate(graph.values)}
        self.count = len(number)
        self.outputs = [number[value] for value in graph.outputs.values()]
        self.updates = [(target, number[value]) for target, value in graph.updates.items()]
        kept = {*range(len(graph.inputs)), *self.outputs, *(slot for _, slot in self.updates)}
        steps: list[Step] = []
        for node in graph.nodes_reversed:
            operands = tuple(number[value] for value in node.operands)
            results = tuple(number[value] for value in node.results)
            free = tuple({*operands, *results} - kept)
            kept.update(free)
            steps.append(Step(node, KERNELS[type(node.op)], operands, results, free))
        self.steps = steps[::-1]
        self._ops: dict[tuple[tuple[str, int], ...], list[Op]] = {}

    def ops(self, dims: Dims) -> list[Op]:
        """The op of each step with its symbols bound, kept for sizes seen before."""
        key = tuple(sorted(dims.items()))
        if key not in self._ops:
            self._ops[key] = [step.node.op.bind(dims) for step in self.steps]
        return self._ops[key]

    def run(self, arena: Arena, dims: Dims, profile: list[NodeTime] | None = None) -> None:
        """Fill the slots, whose first ones hold the inputs; only what leaves is kept."""
        slots = arena.slots
        with np.errstate(all="ignore"):
            for step, op in zip(self.steps, self.ops(dims)):
                start = time.perf_counter()
                operands = [slots[slot] for slot in step.operands]
                try:
                    results = step.kernel(op, arena.memory, *operands)
                except CauceError as error:
                    error.at(step.node.path, step.node.loc)
                    raise
                results = results if isinstance(results, tuple) else (results,)
                for slot, value, array in zip(step.results, step.node.results, results):
                    slots[slot] = value.type.dtype.round(array)
                for slot in step.free:
                    slots[slot] = None
                if profile is not None:
                    profile.append(_row(step.node, time.perf_counter() - start, dims))


def _row(node: Node, seconds: float, dims: Dims) -> NodeTime:
    cost = node.op.cost([v.type for v in node.operands], [v.type for v in node.results])
    flops, moved = substitute(cost.flops, dims), substitute(cost.bytes, dims)
    assert isinstance(flops, int) and isinstance(moved, int)
    return NodeTime(node.path, node.op.name, seconds, flops, moved)


@user_facing
class NumpyState(State):
    """State as NumPy arrays, one for each updated input."""

    def __init__(self, inputs: Sequence[Input], values: Mapping[str, Array]) -> None:
        self._inputs = {value.name: value for value in inputs}
        self.arrays = {name: np.array(values[name]) for name in self._inputs}

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


class NumpyProgram(Program):
    """A graph run by NumPy kernels.

    Args:
        graph: what to run; it is left as it is.

    Raises:
        UnsupportedOp: a primitive without a kernel.
    """

    backend = "numpy"
    fingerprint = f"cauce {VERSION}, numpy {np.__version__}"

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._parts = split(lower(graph))
        self._prepare = Schedule(self._parts.prepare)
        self._main = Schedule(self._parts.main)
        self._updated = updated_inputs(graph)
        self._idle: list[Arena] = []

    def prepare(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        inputs = self._parts.prepare.inputs
        arena = Arena(self._prepare.count, {})
        arena.slots[: len(inputs)] = [np.array(parameters[value.name]) for value in inputs]
        self._prepare.run(arena, {})
        packed = {}
        for name, slot in zip(self._parts.prepare.outputs, self._prepare.outputs):
            array = arena.slots[slot]
            assert array is not None
            packed[name] = array
        return packed

    def new_state(self, values: Mapping[str, Array]) -> NumpyState:
        return NumpyState(self._updated, values)

    def new_arena(self, dims: Dims) -> Arena:
        """The arena of an earlier call with these sizes, if there is one; its memory is warm."""
        try:
            arena = self._idle.pop()
        except IndexError:
            return Arena(self._main.count, dims)
        return arena if arena.dims == dims else Arena(self._main.count, dims)

    def main(
        self,
        dims: Dims,
        packed: Mapping[str, Array],
        state: State | None,
        arena: Arena,
        inputs: Sequence[Array],
        outputs: Sequence[Array | None],
        profile: list[NodeTime] | None = None,
    ) -> list[Array]:
        assert state is None or isinstance(state, NumpyState)
        called = iter(inputs)
        slots = arena.slots
        held = state.arrays if state is not None else {}
        for slot, value in enumerate(self._parts.main.inputs):
            if value.name in held:
                slots[slot] = held[value.name]
            elif value.name in packed:
                slots[slot] = packed[value.name]
            else:
                slots[slot] = next(called)
        foreign = {id(array) for array in slots if array is not None}
        self._main.run(arena, dims, profile)
        results = []
        for slot, out in zip(self._main.outputs, outputs):
            array = slots[slot]
            assert array is not None
            if out is not None:
                out[...] = array
                array = out
            elif id(array) in foreign or not (array.flags.owndata and array.flags.writeable):
                array = array.copy()  # memory that is not the caller's, or an output twice
            foreign.add(id(array))
            results.append(array)
        # All reads are done: the new values take their places.
        fresh = {target.name: _own(slots[slot], held) for target, slot in self._main.updates}
        for name, array in fresh.items():
            held[name][...] = array
        slots[:] = [None] * len(slots)
        self._idle.append(arena)
        return results


def _own(array: Array | None, held: Mapping[str, Array]) -> Array:
    """``array``, copied where it might be a view of a state array that is written before it."""
    assert array is not None
    owned = array.flags.owndata and all(array is not other for other in held.values())
    return array if owned else array.copy()
