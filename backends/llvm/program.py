"""Programs of the LLVM backend: one module of native code for a graph."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ir import Array, Dim, Graph, Node, TensorType, Value
from ...ir.dims import substitute
from ...ir.interval_packer import Interval, pack
from ...ir.version import VERSION
from ..contract import ArrayState, Dims, NodeTime, Program, State
from ..recent import Recent
from ..split import split, updated_inputs
from .emitter import Module
from .engine import Library, assembly, compile_text
from .layouts import choose_blocks, choose_orders, want_weights
from .lowering import lower
from .memory import ALIGN, Arena, Piece, aligned_copy, empty
from .plan import TIMED, Plan, add_plan, make_plan
from .pool import Pool, shared_pool, thread_count, write_run
from .target import Target


@dataclass(frozen=True)
class Layout:
    """Where the buffers of the arena lie for given sizes."""

    pieces: tuple[Piece, ...]
    nbytes: int


class Code:
    """A plan with its compiled entry: runs on tables of addresses."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._table = plan.table
        self._constants = {slot: aligned_copy(array) for slot, array in plan.constants.items()}
        self._layouts: Recent[tuple[int, ...], Layout] = Recent()

    def sizes(self, dims: Dims) -> tuple[int, ...]:
        """The sizes of the symbols, in the order that the code takes them."""
        return tuple(dims[name] for name in self.plan.symbols)

    def layout(self, dims: Dims) -> Layout:
        """The layout of the arena for these sizes, kept for the sizes seen last."""
        return self._layouts.get(self.sizes(dims), lambda: self._pack(dims))

    def _pack(self, dims: Dims) -> Layout:
        intervals = [
            Interval(_size(buffer.nbytes, dims), buffer.first, buffer.last)
            for buffer in self.plan.buffers
        ]
        offsets, nbytes = pack(intervals, ALIGN)
        placed = zip(self.plan.buffers, offsets, intervals)
        return Layout(tuple(Piece(b.slot, offset, i.nbytes) for b, offset, i in placed), nbytes)

    def new_arena(self, dims: Dims) -> Arena:
        """The buffers of one call with these sizes."""
        layout = self.layout(dims)
        return Arena(layout.pieces, layout.nbytes)

    def constant_outputs(self) -> dict[Value, Array]:
        """Outputs and updates that are constants: no launch writes them."""
        graph = self.plan.graph
        leaving = (*graph.outputs.values(), *graph.updates.values())
        slots = self.plan.slots
        known = self._constants
        return {value: known[slots[value]] for value in leaving if slots[value] in known}

    def run(
        self,
        library: Library,
        arrays: Mapping[Value, Array],
        arena: Arena,
        dims: Dims,
        pool: Pool,
        profile: list[NodeTime] | None = None,
    ) -> None:
        """Run all launches with these arrays of inputs and outputs."""
        addresses = [0] * self.plan.count
        for slot, begin in arena.addresses.items():
            addresses[slot] = begin
        for slot, array in self._constants.items():
            addresses[slot] = array.ctypes.data
        for value, array in arrays.items():
            addresses[self.plan.slots[value]] = array.ctypes.data
        pointers = [addresses[slot] for slot in self._table]
        table = (ctypes.c_void_p * max(1, len(pointers)))(*pointers)
        sizes = self.sizes(dims)
        numbers = (ctypes.c_int64 * max(1, len(sizes)))(*sizes)
        times = None
        if profile is not None:
            times = (ctypes.c_int64 * (2 * len(self.plan.launches) + 2))()
        entry = library.function(
            self.plan.entry + (TIMED if profile is not None else ""), *[ctypes.c_void_p] * 4
        )
        with pool.borrow() as address:
            entry(table, numbers, address, times)
        if profile is not None and times is not None:
            profile += self._rows(list(times), dims)

    def _rows(self, times: list[int], dims: Dims) -> list[NodeTime]:
        """The time of each node, from the clock before the first launch and after each."""
        clock = [times[i] + times[i + 1] * 1e-9 for i in range(0, len(times), 2)]
        seconds: dict[Node, float] = {}
        for (_, node), before, after in zip(self.plan.launches, clock, clock[1:]):
            seconds[node] = seconds.get(node, 0.0) + after - before
        return [NodeTime.of(node, taken, dims) for node, taken in seconds.items()]


def _size(dim: Dim, dims: Dims) -> int:
    size = substitute(dim, dims)
    assert isinstance(size, int)
    return size


def _shape(type_: TensorType, dims: Dims) -> tuple[int, ...]:
    return tuple(_size(dim, dims) for dim in type_.shape)


class LlvmProgram(Program):
    """A graph as native code.

    Args:
        graph: what to compile; it is left as it is.
        target: the processor; this machine's where None.
        threads: how many share the work; ``CAUCE_NUM_THREADS``, or all processors, where None.
            The results are the same for any number.

    Raises:
        UnsupportedOp: an op or a dtype without native code.
    """

    backend = "llvm"

    def __init__(
        self, graph: Graph, target: Target | None = None, threads: int | None = None
    ) -> None:
        self.graph = graph
        self.target = target or Target.host()
        lowered = lower(graph)
        want_weights(lowered, self.target)
        orders, blocks = choose_orders(lowered), choose_blocks(lowered)
        self._parts = split(lowered)
        symbols = sorted(graph.symbols())
        self._main = Code(make_plan(self._parts.main, self.target, "main", symbols, orders, blocks))
        self._prepare = Code(
            make_plan(self._parts.prepare, self.target, "prepare", (), orders, blocks)
        )
        module = Module()
        write_run(module, self.target)
        for code in (self._main, self._prepare):
            add_plan(module, code.plan, self.target)
        self.text = module.text(self.target.triple, f'nounwind "target-cpu"="{self.target.cpu}"')
        self._library = Library(compile_text(self.text, self.target), self.target)
        self._updated = updated_inputs(graph)
        self._pool = shared_pool(thread_count(threads), self.target)

    def assembly(self) -> str:
        """The machine code as text; ``text`` is the module that it comes from."""
        return assembly(self.text, self.target)

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        return f"cauce {VERSION}, llvm for {self.target.cpu} ({self.target.name}), code {digest}"

    def prepare(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        graph = self._prepare.plan.graph
        arrays: dict[Value, Array] = {
            value: aligned_copy(parameters[value.name]) for value in graph.inputs
        }
        for value in graph.outputs.values():
            if value not in arrays:
                arrays[value] = _empty(value.type, {})
        arena = self._prepare.new_arena({})
        self._prepare.run(self._library, arrays, arena, {}, self._pool)
        return {name: arrays[value] for name, value in graph.outputs.items()}

    def new_state(self, values: Mapping[str, Array]) -> ArrayState:
        return ArrayState(self._updated, {name: aligned_copy(a) for name, a in values.items()})

    def new_arena(self, dims: Dims) -> Arena:
        return self._main.new_arena(dims)

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
        assert state is None or isinstance(state, ArrayState)
        graph = self._main.plan.graph
        held = state.arrays if state is not None else {}
        arrays = self._input_arrays(held, packed, inputs)
        arrays.update(self._main.constant_outputs())
        borrowed = {id(array) for array in arrays.values()}
        wanted = list(zip(graph.outputs.values(), outputs))
        for value, out in [*wanted, *((value, None) for value in graph.updates.values())]:
            if value not in arrays:
                usable = out is not None and _writable_in_place(out, inputs)
                fresh = out if usable else None
                arrays[value] = _empty(value.type, dims) if fresh is None else fresh
        self._main.run(self._library, arrays, arena, dims, self._pool, profile)
        results = []
        for value, out in wanted:
            array = arrays[value]
            if out is not None:
                if array is not out:
                    out[...] = array
                results.append(out)
            else:
                results.append(array.copy() if id(array) in borrowed else array)
            borrowed.add(id(array))
        # All reads are done: the new values take their places, those that are inputs copied first.
        given = set(graph.inputs)
        new = {
            target.name: arrays[value].copy() if value in given else arrays[value]
            for target, value in graph.updates.items()
        }
        for name, array in new.items():
            held[name][...] = array
        return results

    def _input_arrays(
        self, held: Mapping[str, Array], packed: Mapping[str, Array], inputs: Sequence[Array]
    ) -> dict[Value, Array]:
        """The arrays of all inputs of the main graph, contiguous."""
        called = iter(inputs)
        arrays: dict[Value, Array] = {}
        for value in self._main.plan.graph.inputs:
            if value.name in held:
                arrays[value] = held[value.name]
            elif value.name in packed:
                arrays[value] = packed[value.name]
            else:
                array = next(called)
                arrays[value] = array if array.flags.c_contiguous else aligned_copy(array)
        return arrays


def _empty(type_: TensorType, dims: Dims) -> Array:
    return empty(_shape(type_, dims), type_.dtype)


def _writable_in_place(out: Array, inputs: Sequence[Array]) -> bool:
    """Whether native code may write to ``out`` while it reads the inputs."""
    fit = out.flags.c_contiguous and out.flags.aligned and out.flags.writeable
    return fit and not any(np.may_share_memory(out, array) for array in inputs)
