"""Programs of the NumPy backend: the nodes in order, each run by its kernel."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir import Array, Graph, Node, Op
from ...ir.communicator import Communicator
from ...ir.errors import CauceError
from ...ir.version import VERSION
from ..contract import ArrayState, Dims, NodeTime, Program, State
from ..recent import Recent
from ..split import split
from .half import carried
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


class KernelSequence:
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
        self._ops: Recent[tuple[tuple[str, int], ...], list[Op]] = Recent()

    def ops(self, dims: Dims) -> list[Op]:
        """The op of each step with its symbols bound, kept for the sizes seen last."""
        key = tuple(sorted(dims.items()))
        return self._ops.get(key, lambda: [step.node.op.bind(dims) for step in self.steps])

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
                    slots[slot] = carried(step.node.op, value.type.dtype, array)
                for slot in step.free:
                    slots[slot] = None
                if profile is not None:
                    profile.append(NodeTime.of(step.node, time.perf_counter() - start, dims))


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
        self._prepare = KernelSequence(self._parts.prepare)
        self._main = KernelSequence(self._parts.main)
        self._leaving = list(self._parts.main.outputs.values())
        self._idle: list[Arena] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return NumpyProgram, (self.graph,), {"_identity": self.identity}

    def prepare(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        inputs = self._parts.prepare.inputs
        arena = Arena(self._prepare.count, {})
        arena.slots[: len(inputs)] = [
            value.type.dtype.widen(np.array(parameters[value.name])) for value in inputs
        ]
        self._prepare.run(arena, {})
        packed = {}
        for name, slot in zip(self._parts.prepare.outputs, self._prepare.outputs):
            array = arena.slots[slot]
            assert array is not None
            packed[name] = array
        return packed

    def new_state(self, values: Mapping[str, Array]) -> ArrayState:
        return ArrayState(self.interface.updated, {name: np.array(a) for name, a in values.items()})

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
        communicator: Communicator | None = None,
    ) -> list[Array]:
        assert state is None or isinstance(state, ArrayState)
        called = iter(inputs)
        slots = arena.slots
        held = state.arrays if state is not None else {}
        for slot, source in enumerate(self._parts.main.inputs):
            if source.name in held:
                slots[slot] = source.type.dtype.widen(held[source.name])
            elif source.name in packed:
                slots[slot] = packed[source.name]
            else:
                slots[slot] = source.type.dtype.widen(next(called))
        foreign = {id(array) for array in slots if array is not None}
        arena.memory.communicator = communicator
        self._main.run(arena, dims, profile)
        results = []
        for slot, out, leaving in zip(self._main.outputs, outputs, self._leaving):
            array = slots[slot]
            assert array is not None
            array = array.astype(leaving.type.dtype.numpy, copy=False)
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
