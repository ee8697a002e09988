"""Programs of the LLVM backend: one module of native code for a graph."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...ir import Array, Dim, Graph
from ...ir.dims import substitute, symbols
from ...ir.interval_packer import Interval, pack
from ...ir.version import VERSION
from ..contract import (
    ArrayState,
    Dims,
    Interface,
    NodeTime,
    Program,
    Request,
    State,
    check_sizes,
)
from ..indices import check_index_inputs, index_inputs
from ..recent import Recent
from .artifact import REST, TIMED, Artifact, Entry, Place
from .engine import Code, assembly, load
from .memory import ALIGN, Arena, Piece, aligned_copy, aligned_together, empty, guard
from .pool import Pool, shared_pool, thread_count
from .target import Target

# What compiles is imported when something is compiled: code from the cache needs none of it.
if TYPE_CHECKING:
    from .build import Build


class Layout(NamedTuple):
    """Where the buffers of the arena lie for given sizes."""

    pieces: tuple[Piece, ...]
    nbytes: int


class Fixed:
    """Arrays that hold from call to call, by buffer, with their addresses."""

    def __init__(self, arrays: Mapping[int, Array]) -> None:
        self.arrays = dict(arrays)
        self._slots = list(arrays)
        self._addresses = [array.ctypes.data for array in arrays.values()]

    def enter(self, addresses: Array) -> None:
        """Write the addresses into a table by slot."""
        addresses[self._slots] = self._addresses


class Caller:
    """Calls one entry of the code with tables of addresses."""

    def __init__(self, entry: Entry, code: Code) -> None:
        self.entry = entry
        self._code = code
        self._table = np.array(entry.table, np.int64)
        constants = {slot: aligned_copy(array) for slot, array in entry.constants.items()}
        self._constants = Fixed(constants)
        self._layouts: Recent[tuple[int, ...], Layout] = Recent()

    def sizes(self, dims: Dims) -> Dims:
        """All sizes, those included that are numbers in the source."""
        return {**dims, **self.entry.given}

    def piece(self, dims: Dims) -> int:
        """How many images of a batch to run at a time; 0 for all of them."""
        batch = self.entry.batch
        count = dims[batch.symbol] if batch is not None else 0
        piece = batch.piece(count) if batch is not None and count > 1 else count
        return piece if piece < count else 0

    def layout(self, dims: Dims) -> Layout:
        """The layout of the arena for these sizes, kept for the sizes seen last."""
        sizes = tuple(dims[name] for name in self.entry.symbols)
        return self._layouts.get(sizes, lambda: self._pack(dims))

    def _pack(self, dims: Dims) -> Layout:
        buffers, batch, piece = self.entry.buffers, self.entry.batch, self.piece(dims)
        part = {**dims, batch.symbol: piece} if batch is not None and piece else dims
        cut = batch.cut if batch is not None else 0
        # What is gone before the cut holds one piece. What crosses it holds all of them, from the
        # first piece on, while all launches before the cut run again.
        intervals = [
            Interval(_size(b.nbytes, part), b.first, b.last)
            if b.last < cut
            else Interval(_size(b.nbytes, dims), 0 if b.first < cut else b.first, b.last)
            for b in buffers
        ]
        offsets, nbytes = pack(intervals, ALIGN)
        placed = zip(buffers, offsets, intervals)
        return Layout(tuple(Piece(b.slot, offset, i.nbytes) for b, offset, i in placed), nbytes)

    def constants(self, places: Sequence[Place]) -> dict[int, Array]:
        """Those that are constants, which no launch writes, by buffer."""
        known = self._constants.arrays
        return {place.slot: known[place.slot] for place in places if place.slot in known}

    def run(
        self,
        arrays: Mapping[int, Array],
        arena: Arena,
        dims: Dims,
        pool: Pool,
        profile: list[NodeTime] | None = None,
        packed: Fixed | None = None,
    ) -> None:
        """Run all launches with these arrays, by buffer, of inputs and outputs."""
        entry = self.entry
        addresses = arena.table(entry.count)
        self._constants.enter(addresses)
        if packed is not None:
            packed.enter(addresses)
        for slot, array in arrays.items():
            addresses[slot] = array.ctypes.data
        cut = entry.batch.cut if entry.batch is not None else len(entry.launches)
        with pool.borrow(self._code) as address:
            for part in self._pieces(addresses, dims):
                self._call(entry.name, 0, cut, addresses, part, address, profile)
            if cut < len(entry.launches):
                self._call(
                    entry.name + REST, cut, len(entry.launches), addresses, dims, address, profile
                )

    def _call(
        self,
        name: str,
        first: int,
        last: int,
        addresses: Array,
        dims: Dims,
        pool: int | None,
        profile: list[NodeTime] | None,
    ) -> None:
        """Call the function of the launches from ``first`` to before ``last``."""
        pointers = addresses[self._table]
        sizes = np.array([dims[symbol] for symbol in self.entry.symbols], np.int64)
        if profile is None:
            function = self._code.function(name, *[ctypes.c_void_p] * 4)
            function(pointers.ctypes.data, sizes.ctypes.data, pool, None)
            return
        times = np.zeros((len(self.entry.launches) + 1, 2), np.int64)
        function = self._code.function(name + TIMED, *[ctypes.c_void_p] * 4)
        function(pointers.ctypes.data, sizes.ctypes.data, pool, times.ctypes.data)
        profile += self._rows(times[first : last + 1], self.entry.launches[first:last], dims)

    def _pieces(self, addresses: Array, dims: Dims) -> Iterator[Dims]:
        """The sizes of each piece of the batch; the addresses of images move on between them."""
        entry, piece = self.entry, self.piece(dims)
        if not piece:
            yield dims
            return
        batch = entry.batch
        assert batch is not None
        count = dims[batch.symbol]
        places = [(p.slot, p.nbytes) for p in (*entry.inputs, *entry.outputs)]
        places += [(b.slot, b.nbytes) for b in entry.buffers if b.first < batch.cut <= b.last]
        images = {
            slot: _size(size, dims) // count
            for slot, size in places
            if batch.symbol in symbols(size)
        }
        slots, steps = list(images), np.array(list(images.values()), np.int64)
        starts = addresses[slots]
        for start in range(0, count, piece):
            addresses[slots] = starts + steps * start
            yield {**dims, batch.symbol: min(piece, count - start)}
        addresses[slots] = starts

    def _rows(self, times: Array, launches: Sequence[int], dims: Dims) -> list[NodeTime]:
        """The time of each node, from the clock before the first launch and after each."""
        taken = np.diff(times[:, 0] + times[:, 1] * 1e-9)
        seconds: dict[int, float] = {}
        for row, part in zip(launches, taken):
            seconds[row] = seconds.get(row, 0.0) + float(part)
        rows = [(self.entry.rows[row], time) for row, time in seconds.items()]
        return [
            NodeTime(row.path, row.op, time, _size(row.flops, dims), _size(row.bytes, dims))
            for row, time in rows
        ]


def _size(dim: Dim, dims: Dims) -> int:
    size = substitute(dim, dims)
    assert isinstance(size, int)
    return size


def _empty(place: Place, dims: Dims) -> Array:
    shape = tuple(_size(dim, dims) for dim in place.type.shape)
    return empty(shape, place.type.dtype)


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
        self,
        graph: Graph,
        target: Target | None = None,
        threads: int | None = None,
    ) -> None:
        from .build import compile_graph

        artifact = compile_graph(graph, target or Target.host())
        self._take(artifact, Request(graph, lambda: graph, threads=threads))

    @classmethod
    def of(cls, artifact: Artifact, request: Request) -> LlvmProgram:
        """The program that was made for such a request before."""
        program = cls.__new__(cls)
        program._take(artifact, request)
        return program

    def _take(self, artifact: Artifact, request: Request) -> None:
        self.target = artifact.target
        self._request = request
        self._interface = artifact.interface
        self._digest = artifact.digest
        self._code = load(artifact.code, self.target)
        self._prepare = Caller(artifact.prepare, self._code)
        self._main = Caller(artifact.main, self._code)
        self._leaving = (*artifact.main.outputs, *artifact.main.updates)
        self._pool = shared_pool(thread_count(request.threads))
        self._idle: list[tuple[Layout, Arena]] = []
        self._indices = index_inputs(request.source)

    @property
    def interface(self) -> Interface:
        return self._interface

    @cached_property
    def graph(self) -> Graph:  # type: ignore[override]
        """The graph as the passes leave it, made when it is asked for."""
        return self._request.optimize()

    def check(self, dims: Dims) -> None:
        check_sizes(self._request.source, dims)

    @cached_property
    def build(self) -> Build:
        """The lowered graph, the plans and the module, made when they are asked for."""
        from .build import build

        return build(self.graph, self.target)

    @property
    def text(self) -> str:
        """The module as LLVM IR."""
        return self.build.text

    def plan(self, **sizes: int) -> str:
        from .show import show_plan

        return show_plan(self.build, (self._prepare, self._main), sizes)

    def llvm_ir(self, node: str | None = None) -> str:
        if node is None:
            return self.text
        from .show import functions_of

        return functions_of(self.build, node)

    def assembly(self, node: str | None = None) -> str:
        if node is None:
            return assembly(self.text, self.target)
        from .show import assembly_of

        return assembly_of(self.build, node, assembly(self.text, self.target))

    @property
    def fingerprint(self) -> str:
        digest = self._digest
        return f"cauce {VERSION}, llvm for {self.target.cpu} ({self.target.name}), code {digest}"

    def prepare(self, parameters: Mapping[str, Array]) -> Fixed:
        entry = self._prepare.entry
        held = {place.name: _contiguous(parameters[place.name]) for place in entry.inputs}
        arrays = {place.slot: held[place.name] for place in entry.inputs}
        arrays.update(self._prepare.constants(entry.outputs))
        borrowed = set(arrays)
        made = {place.slot: _size(place.nbytes, {}) for place in entry.outputs}
        made = {slot: nbytes for slot, nbytes in made.items() if slot not in borrowed}
        arrays.update(zip(made, aligned_together(list(made.values()))))
        packed: dict[str, Array] = {}
        for place in entry.outputs:
            # The caller may alter its own array later.
            own = arrays[place.slot]
            packed[place.name] = aligned_copy(own) if place.slot in borrowed else own
        layout = self._prepare.layout({})
        arena = Arena(layout.pieces, layout.nbytes)
        self._prepare.run(arrays, arena, {}, self._pool)
        places = {place.name: place.slot for place in self._main.entry.inputs}
        return Fixed({places[name]: array for name, array in packed.items()})

    def new_state(self, values: Mapping[str, Array]) -> ArrayState:
        return ArrayState(
            self._interface.updated, {name: aligned_copy(a) for name, a in values.items()}
        )

    def new_arena(self, dims: Dims) -> tuple[Layout, Arena]:
        layout = self._main.layout(self._main.sizes(dims))
        try:
            kept = self._idle.pop()
        except IndexError:
            return layout, Arena(layout.pieces, layout.nbytes)
        return kept if kept[0] is layout else (layout, Arena(layout.pieces, layout.nbytes))

    def main(
        self,
        dims: Dims,
        packed: Fixed,
        state: State | None,
        arena: tuple[Layout, Arena],
        inputs: Sequence[Array],
        outputs: Sequence[Array | None],
        profile: list[NodeTime] | None = None,
    ) -> list[Array]:
        assert state is None or isinstance(state, ArrayState)
        check_index_inputs(self._indices, inputs, dims)
        entry, dims = self._main.entry, self._main.sizes(dims)
        held = state.arrays if state is not None else {}
        arrays = self._input_arrays(held, packed, inputs)
        arrays.update(self._main.constants(self._leaving))
        for place in self._leaving:
            if place.slot in packed.arrays:
                # What leaves the graph is dense, so the bytes that were prepared are its elements.
                own = packed.arrays[place.slot].view(place.type.dtype.numpy)
                arrays[place.slot] = own.reshape(place.type.bind({}).shape)
        borrowed = set(arrays)
        for place, out in zip(entry.outputs, outputs):
            if place.slot not in arrays:
                usable = out is not None and _writable_in_place(out, inputs)
                arrays[place.slot] = out if out is not None and usable else _empty(place, dims)
        for place in entry.updates:
            if place.slot not in arrays:
                arrays[place.slot] = _empty(place, dims)
        self._main.run(arrays, arena[1], dims, self._pool, profile, packed)
        if guard() is None:  # in the test mode every call gets poisoned scratch
            self._idle.append(arena)
        results = []
        for place, out in zip(entry.outputs, outputs):
            array = arrays[place.slot]
            if out is not None:
                if array is not out:
                    out[...] = array
                results.append(out)
            else:
                results.append(array.copy() if place.slot in borrowed else array)
            borrowed.add(place.slot)
        self._update(held, arrays)
        return results

    def _update(self, held: Mapping[str, Array], arrays: Mapping[int, Array]) -> None:
        """All reads are done: the new values take their places."""
        entry = self._main.entry
        given = {place.slot for place in entry.inputs}
        fresh = [place for place in entry.updates if place.name not in entry.in_place]
        # Those that are other inputs are copied first, before these change.
        new = {
            place.name: arrays[place.slot].copy() if place.slot in given else arrays[place.slot]
            for place in fresh
        }
        for name, array in new.items():
            held[name][...] = array

    def _input_arrays(
        self, held: Mapping[str, Array], packed: Fixed, inputs: Sequence[Array]
    ) -> dict[int, Array]:
        """The arrays of the inputs of the main entry that are not packed, by buffer."""
        called = iter(inputs)
        arrays: dict[int, Array] = {}
        for place in self._main.entry.inputs:
            if place.name in held:
                arrays[place.slot] = held[place.name]
            elif place.slot not in packed.arrays:
                arrays[place.slot] = _contiguous(next(called))
        return arrays


def _contiguous(array: Array) -> Array:
    return array if array.flags.c_contiguous else aligned_copy(array)


def _writable_in_place(out: Array, inputs: Sequence[Array]) -> bool:
    """Whether native code may write to ``out`` while it reads the inputs."""
    fit = out.flags.c_contiguous and out.flags.aligned and out.flags.writeable
    return fit and not any(np.may_share_memory(out, array) for array in inputs)
