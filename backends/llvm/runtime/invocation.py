"""Calls one function of the native code: which memory it gets, and how a batch runs in pieces."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ....ir import Array, Dim, Graph
from ....ir.dims import substitute, symbols
from ....ir.errors import CauceError
from ....ir.interval_packer import Interval, pack
from ....ir.ops.shape import index_error
from ...contract import Dims, NodeTime
from ...recent import Recent
from ..abi import ALIGN, REST, TIMED, Batch, Buffer, Check, Entry, Place, rounded_up
from .library import Code
from .memory import Arena, ArenaSlice, aligned_copy, aligned_together
from .threads import Pool

_SIGNATURE = [ctypes.c_void_p] * 4  # the pointers, the sizes, the pool, the clock


class Part(NamedTuple):
    """One call of native code: some of the launches, for the images of the batch from one on."""

    name: str
    first: int
    last: int
    image: int
    dims: Dims
    sizes: Any  # the same as native code takes them


class CallLayout(NamedTuple):
    """What calls with the same sizes have in common: the arena, the shapes of what leaves, the
    parts, the buffers that hold the images of all parts and the bytes of one image in each."""

    pieces: tuple[ArenaSlice, ...]
    nbytes: int
    shapes: list[tuple[int, ...]]
    parts: list[Part]
    slots: Array
    steps: Array


class Fixed:
    """Arrays that hold from call to call, by buffer, with their addresses."""

    def __init__(self, arrays: Mapping[int, Array]) -> None:
        self.arrays = dict(arrays)
        self._slots = np.array(list(arrays), np.intp)
        self._addresses = np.array([array.ctypes.data for array in arrays.values()], np.int64)

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


class Frame:
    """The memory of one call and its tables, which a later one of the same sizes takes over."""

    def __init__(self, layout: CallLayout, entry: Entry, constants: Fixed) -> None:
        self.layout = layout
        self.arena = Arena(layout.pieces, layout.nbytes)
        self.addresses = self.arena.table(entry.count)
        constants.enter(self.addresses)
        self.status = np.empty(1, np.int64)
        if entry.status is not None:
            self.addresses[entry.status] = self.status.ctypes.data
        self.pointers = np.empty(len(entry.table), np.int64)
        self.pointers_address = self.pointers.ctypes.data


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
        self._table = np.array(entry.table, np.intp)
        self._free = [name for name in entry.symbols if name not in entry.given]
        constants = {slot: aligned_copy(array) for slot, array in entry.constants.items()}
        self._constants = Fixed(constants)
        self._layouts: Recent[tuple[int, ...], CallLayout] = Recent()

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

    def layout(self, dims: Dims) -> CallLayout:
        """The layout of a call with these sizes, kept for the sizes seen last."""
        key = tuple([dims[name] for name in self._free])
        return self._layouts.get(key, lambda: self._lay_out(self.sizes(dims)))

    def new_frame(self, layout: CallLayout) -> Frame:
        """A frame for one call at a time."""
        return Frame(layout, self.entry, self._constants)

    def _lay_out(self, dims: Dims) -> CallLayout:
        entry, batch, piece = self.entry, self.entry.batch, self.piece(dims)
        part = {**dims, batch.symbol: piece} if batch is not None and piece else dims
        end = len(entry.launches)
        cut = batch.cut if batch is not None else end
        # What is gone before the cut holds one piece. What crosses it holds all of them, from the
        # first piece on, while all launches before the cut run again.
        intervals = [
            Interval(self._size(b, part), b.first, b.last)
            if b.last < cut
            else Interval(self._size(b, dims), 0 if b.first < cut else b.first, b.last)
            for b in entry.buffers
        ]
        offsets, nbytes = pack(intervals, ALIGN)
        placed = zip(entry.buffers, offsets, intervals)
        slices = tuple(ArenaSlice(b.slot, offset, i.nbytes) for b, offset, i in placed)
        leaving = [place.type.shape for place in (*entry.outputs, *entry.updates)]
        shapes = [tuple([size_of(dim, dims) for dim in shape]) for shape in leaving]
        parts = [Part(entry.name, 0, cut, 0, *self._sized(dims))]
        images: dict[int, int] = {}
        if batch is not None and piece:
            count = dims[batch.symbol]
            sized = {n: self._sized({**dims, batch.symbol: n}) for n in (piece, count % piece)}
            starts = range(0, count, piece)
            parts = [Part(entry.name, 0, cut, i, *sized[min(piece, count - i)]) for i in starts]
            images = self._images(batch, dims)
        if cut < end:
            parts.append(Part(entry.name + REST, cut, end, 0, *self._sized(dims)))
        slots, steps = np.array(list(images), np.intp), np.array(list(images.values()), np.int64)
        return CallLayout(slices, nbytes, shapes, parts, slots, steps)

    def _sized(self, dims: Dims) -> tuple[Dims, Any]:
        sizes = [dims[symbol] for symbol in self.entry.symbols]
        return dims, (ctypes.c_int64 * len(sizes))(*sizes)

    def _images(self, batch: Batch, dims: Dims) -> dict[int, int]:
        """The buffers that hold the images of all pieces, and the bytes of an image in each."""
        entry = self.entry
        places = [(p.slot, p.nbytes) for p in (*entry.inputs, *entry.outputs)]
        places += [(b.slot, b.nbytes) for b in entry.buffers if b.first < batch.cut <= b.last]
        return {
            slot: size_of(size, dims) // dims[batch.symbol]
            for slot, size in places
            if batch.symbol in symbols(size)
        }

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
        frame: Frame,
        packed: Fixed | None = None,
        profile: list[NodeTime] | None = None,
    ) -> None:
        """Run all launches with these arrays, by buffer, of inputs and outputs.

        Raises:
            ShapeError: an index out of range. The launches after its check have not run then, and
                the frame must not be used again.
        """
        addresses = frame.addresses
        if packed is not None:
            packed.enter(addresses)
        for slot, array in arrays.items():
            addresses[slot] = array.ctypes.data
        frame.status[0] = -1
        self._pool.lend(self._code, lambda pool: self._launch(frame, pool, profile))

    def _launch(self, frame: Frame, pool: int | None, profile: list[NodeTime] | None) -> None:
        """Call the parts one by one; the addresses of images move on between them."""
        layout, addresses = frame.layout, frame.addresses
        starts = addresses[layout.slots] if layout.slots.size else None
        for part in layout.parts:
            if starts is not None:
                addresses[layout.slots] = starts + layout.steps * part.image
            frame.pointers[:] = addresses[self._table]
            name, times, clock = part.name, None, None
            if profile is not None:
                name, times = name + TIMED, np.zeros((len(self.entry.launches) + 1, 2), np.int64)
                clock = times.ctypes.data
            function = self._code.function(name, *_SIGNATURE, result=ctypes.c_int64)
            failed = function(frame.pointers_address, part.sizes, pool, clock)
            if failed:
                raise self._wrong_index(self.entry.checks[failed - 1], frame, part.dims)
            if profile is not None and times is not None:
                profile += self._rows(times, part)
        if starts is not None:
            addresses[layout.slots] = starts

    def _wrong_index(self, check: Check, frame: Frame, dims: Dims) -> CauceError:
        """What a check found, of which the status and the indices are as it left them."""
        item = check.dtype.itemsize
        place = int(frame.addresses[check.slot]) + int(frame.status[0]) * item
        (index,) = np.frombuffer(ctypes.string_at(place, item), check.dtype.numpy)
        error = index_error(index, size_of(check.size, dims))
        nodes = enumerate(self._source.nodes)
        lines = (node.loc for number, node in nodes if number == check.origin)
        return error.at(check.path, next(lines, None))

    def _rows(self, times: Array, part: Part) -> list[NodeTime]:
        """The time of each node, from the clock before the first launch and after each."""
        dims, launches = part.dims, self.entry.launches[part.first : part.last]
        clock = times[part.first : part.last + 1]
        taken = np.diff(clock[:, 0] + clock[:, 1] * 1e-9)
        seconds: dict[int, float] = {}
        for row, each in zip(launches, taken):
            seconds[row] = seconds.get(row, 0.0) + float(each)
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
