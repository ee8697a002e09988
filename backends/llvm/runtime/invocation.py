"""Calls one function of the native code: which memory it gets, and how a batch runs in pieces."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ....ir import Array, Dim, Graph
from ....ir.dims import substitute, symbols
from ....ir.errors import CauceError
from ....ir.interval_packer import Interval, pack
from ....ir.ops.shape import index_error
from ...contract import Dims, NodeTime
from ...recent import Recent
from ..abi import ALIGN, REST, TIMED, Buffer, Check, Entry, Place, rounded_up
from .library import Code
from .memory import Arena, ArenaSlice, aligned_copy, aligned_together
from .threads import Pool


class ArenaLayout(NamedTuple):
    """Where the buffers of the arena lie for given sizes."""

    pieces: tuple[ArenaSlice, ...]
    nbytes: int


class Fixed:
    """Arrays that hold from call to call, by buffer, with their addresses."""

    def __init__(self, arrays: Mapping[int, Array]) -> None:
        self.arrays = dict(arrays)
        self._slots = list(arrays)
        self._addresses = [array.ctypes.data for array in arrays.values()]

    def __reduce__(self) -> tuple[Any, ...]:
        return _fixed, (self.arrays,)  # with the addresses of the copies

    def enter(self, addresses: Array) -> None:
        """Write the addresses into a table by slot."""
        addresses[self._slots] = self._addresses


def _fixed(arrays: Mapping[int, Array]) -> Fixed:
    """Copies that lie as those that were packed here."""
    rooms = aligned_together([array.nbytes for array in arrays.values()])
    copies = {}
    for (slot, array), room in zip(arrays.items(), rooms):
        copies[slot] = room.view(array.dtype).reshape(array.shape)
        copies[slot][...] = array
    return Fixed(copies)


class Caller:
    """Calls one entry of the code with tables of addresses.

    Args:
        source: what was compiled, as it was given; it knows the lines of the layers.
    """

    def __init__(self, entry: Entry, code: Code, pool: Pool, source: Graph) -> None:
        self.entry = entry
        self._source = source
        self._code = code
        self._pool = pool
        self._table = np.array(entry.table, np.int64)
        constants = {slot: aligned_copy(array) for slot, array in entry.constants.items()}
        self._constants = Fixed(constants)
        self._layouts: Recent[tuple[int, ...], ArenaLayout] = Recent()

    def sizes(self, dims: Dims) -> Dims:
        """All sizes, those included that are numbers in the source."""
        return {**dims, **self.entry.given}

    def piece(self, dims: Dims) -> int:
        """How many images of a batch to run at a time; 0 for all of them."""
        batch = self.entry.batch
        count = dims[batch.symbol] if batch is not None else 0
        threads = self._pool.threads
        piece = batch.piece(count, threads) if batch is not None and count > 1 else count
        return piece if piece < count else 0

    def layout(self, dims: Dims) -> ArenaLayout:
        """The layout of the arena for these sizes, kept for the sizes seen last."""
        sizes = tuple(dims[name] for name in self.entry.symbols)
        return self._layouts.get(sizes, lambda: self._pack(dims))

    def _pack(self, dims: Dims) -> ArenaLayout:
        buffers, batch, piece = self.entry.buffers, self.entry.batch, self.piece(dims)
        part = {**dims, batch.symbol: piece} if batch is not None and piece else dims
        cut = batch.cut if batch is not None else 0
        # What is gone before the cut holds one piece. What crosses it holds all of them, from the
        # first piece on, while all launches before the cut run again.
        intervals = [
            Interval(self._size(b, part), b.first, b.last)
            if b.last < cut
            else Interval(self._size(b, dims), 0 if b.first < cut else b.first, b.last)
            for b in buffers
        ]
        offsets, nbytes = pack(intervals, ALIGN)
        placed = zip(buffers, offsets, intervals)
        return ArenaLayout(
            tuple(ArenaSlice(b.slot, offset, i.nbytes) for b, offset, i in placed), nbytes
        )

    def _size(self, buffer: Buffer, dims: Dims) -> int:
        """The bytes of a buffer, of all threads where each has one."""
        if not buffer.per_thread:
            return size_of(buffer.nbytes, dims)
        return size_of(rounded_up(buffer.nbytes), dims) * self._pool.threads

    def constants(self, places: Sequence[Place]) -> dict[int, Array]:
        """Those that are constants, which no launch writes, by buffer."""
        known = self._constants.arrays
        return {place.slot: known[place.slot] for place in places if place.slot in known}

    def run(
        self,
        arrays: Mapping[int, Array],
        arena: Arena,
        dims: Dims,
        profile: list[NodeTime] | None = None,
        packed: Fixed | None = None,
    ) -> None:
        """Run all launches with these arrays, by buffer, of inputs and outputs.

        Raises:
            ShapeError: an index out of range. The launches after its check have not run then.
        """
        entry = self.entry
        addresses = arena.table(entry.count)
        self._constants.enter(addresses)
        if packed is not None:
            packed.enter(addresses)
        for slot, array in arrays.items():
            addresses[slot] = array.ctypes.data
        if entry.status is not None:
            status = np.array([-1], np.int64)  # one for each call: several may run at a time
            addresses[entry.status] = status.ctypes.data
        cut = entry.batch.cut if entry.batch is not None else len(entry.launches)
        with self._pool.borrow(self._code) as address:
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
        times = None
        if profile is not None:
            name, times = name + TIMED, np.zeros((len(self.entry.launches) + 1, 2), np.int64)
        function = self._code.function(name, *[ctypes.c_void_p] * 4, result=ctypes.c_int64)
        clock = times.ctypes.data if times is not None else None
        failed = function(pointers.ctypes.data, sizes.ctypes.data, pool, clock)
        if failed:
            raise self._wrong_index(self.entry.checks[failed - 1], addresses, dims)
        if profile is not None and times is not None:
            profile += self._rows(times[first : last + 1], self.entry.launches[first:last], dims)

    def _wrong_index(self, check: Check, addresses: Array, dims: Dims) -> CauceError:
        """What a check found, of which the status and the indices are as it left them."""
        place = ctypes.c_int64.from_address(int(addresses[self.entry.status])).value
        item = check.dtype.itemsize
        data = ctypes.string_at(int(addresses[check.slot]) + place * item, item)
        (index,) = np.frombuffer(data, check.dtype.numpy)
        error = index_error(index, size_of(check.size, dims))
        nodes = enumerate(self._source.nodes)
        lines = (node.loc for number, node in nodes if number == check.origin)
        return error.at(check.path, next(lines, None))

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
            slot: size_of(size, dims) // count
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
            NodeTime(row.path, row.op, time, size_of(row.flops, dims), size_of(row.bytes, dims))
            for row, time in rows
        ]


def size_of(dim: Dim, dims: Dims) -> int:
    """The number that a size is with these sizes of the symbols."""
    size = substitute(dim, dims)
    assert isinstance(size, int)
    return size
