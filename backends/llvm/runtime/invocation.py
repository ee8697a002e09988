"""Calls one function of the native code: which memory it gets, and how a batch runs in pieces."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ....ir import Array, Dim
from ....ir.communicator import Communicator
from ....ir.dims import substitute, symbols
from ....ir.errors import CauceError
from ....ir.interval_packer import Interval, pack
from ...contract import Dims, NodeTime, Request
from ...recent import Recent
from ..abi import (
    ALIGN,
    TIMED,
    Buffer,
    Check,
    Entry,
    Place,
    Reduction,
    crossing,
    part_name,
    rounded_up,
    spans_of,
)
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


class _Span(NamedTuple):
    """The launches of a function, and how many images of a batch it runs for at a time; 0 for all
    of them."""

    name: str
    first: int
    last: int
    piece: int


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
        request: what was compiled, whose source knows the lines of the layers.
    """

    def __init__(self, entry: Entry, code: Code, pool: Pool, request: Request) -> None:
        self.entry = entry
        self._request = request
        self._code = code
        self._pool = pool
        self._table = np.array(entry.table, np.intp)
        self._free = [name for name in entry.symbols if name not in entry.given]
        constants = {slot: aligned_copy(array) for slot, array in entry.constants.items()}
        self._constants = Fixed(constants)
        self._reductions = {reduction.end: reduction for reduction in entry.reductions}
        self._layouts: Recent[tuple[int, ...], CallLayout] = Recent()

    def sizes(self, dims: Dims) -> Dims:
        """All sizes, those included that are numbers in the source."""
        return {**dims, **self.entry.given}

    def pieces(self, dims: Dims) -> list[int]:
        """How many images of a batch each of its stages runs at a time; nothing where all of them
        run for all images."""
        batch = self.entry.batch
        if batch is None:
            return []
        count, threads = dims[batch.symbol], self._pool.threads
        found = [min(count, stage.piece(count, threads)) for stage in batch.stages]
        return found if count > 1 and min(found) < count else []

    def layout(self, dims: Dims) -> CallLayout:
        """The layout of a call with these sizes, kept for the sizes seen last."""
        key = tuple([dims[name] for name in self._free])
        return self._layouts.get(key, lambda: self._lay_out(self.sizes(dims)))

    def new_frame(self, layout: CallLayout) -> Frame:
        """A frame for one call at a time."""
        return Frame(layout, self.entry, self._constants)

    def _lay_out(self, dims: Dims) -> CallLayout:
        entry = self.entry
        spans = self._spans(dims)
        intervals = [self._interval(buffer, spans, dims) for buffer in entry.buffers]
        offsets, nbytes = pack(intervals, ALIGN)
        placed = zip(entry.buffers, offsets, intervals)
        slices = tuple(ArenaSlice(b.slot, offset, i.nbytes) for b, offset, i in placed)
        leaving = [place.type.shape for place in (*entry.outputs, *entry.updates)]
        shapes = [tuple([size_of(dim, dims) for dim in shape]) for shape in leaving]
        parts = [part for span in spans for part in self._parts(span, dims)]
        images = self._images(spans, dims)
        slots, steps = np.array(list(images), np.intp), np.array(list(images.values()), np.int64)
        return CallLayout(slices, nbytes, shapes, parts, slots, steps)

    def _spans(self, dims: Dims) -> list[_Span]:
        """The launches of each function of the entry, and for how many images they run; 0 for all
        of them."""
        end, batch, pieces = len(self.entry.launches), self.entry.batch, self.pieces(dims)
        bounds = spans_of(end, batch, self.entry.reductions)
        pieces += [0] * (len(bounds) - len(pieces))
        count = dims[batch.symbol] if batch is not None else 0
        names = (part_name(self.entry.name, number) for number in range(len(bounds)))
        return [
            _Span(name, *bound, piece if piece < count else 0)
            for name, bound, piece in zip(names, bounds, pieces)
        ]

    def _interval(self, buffer: Buffer, spans: Sequence[_Span], dims: Dims) -> Interval:
        """How large a buffer is, and when it is in use.

        One that is gone before its stage ends holds one piece. One that crosses to another stage
        holds all images, for as long as the launches of both run again for other pieces.
        """
        start = next(span for span in spans if buffer.first < span.last)
        end = next(span for span in spans if buffer.last < span.last)
        if start is end:
            part = self._of_piece(dims, start.piece)
            return Interval(self._size(buffer, part), buffer.first, buffer.last)
        first = start.first if start.piece else buffer.first
        last = end.last - 1 if end.piece else buffer.last
        return Interval(self._size(buffer, dims), first, last)

    def _parts(self, span: _Span, dims: Dims) -> Iterator[Part]:
        """The calls of a function, one for each piece."""
        batch, piece = self.entry.batch, span.piece
        if batch is None or not piece:
            yield Part(span.name, span.first, span.last, 0, *self._sized(dims, 0))
            return
        count = dims[batch.symbol]
        sized = {n: self._sized(dims, n) for n in (piece, count % piece) if n}
        for image in range(0, count, piece):
            part = sized[min(piece, count - image)]
            yield Part(span.name, span.first, span.last, image, *part)

    def _of_piece(self, dims: Dims, piece: int) -> Dims:
        """The sizes for a piece of a batch; for all of it where 0."""
        batch = self.entry.batch
        return {**dims, batch.symbol: piece} if batch is not None and piece else dims

    def _sized(self, dims: Dims, piece: int) -> tuple[Dims, Any]:
        """The same, and as native code takes them."""
        dims = self._of_piece(dims, piece)
        sizes = [dims[symbol] for symbol in self.entry.symbols]
        return dims, (ctypes.c_int64 * len(sizes))(*sizes)

    def _images(self, spans: Sequence[_Span], dims: Dims) -> dict[int, int]:
        """The buffers that hold the images of all pieces, and the bytes of an image in each."""
        entry, batch = self.entry, self.entry.batch
        if batch is None or not any(span.piece for span in spans):
            return {}
        across = crossing(entry.buffers, [(span.first, span.last) for span in spans])
        places = [(p.slot, p.nbytes) for p in (*entry.inputs, *entry.outputs)]
        places += [(b.slot, b.nbytes) for b in across]
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
        communicator: Communicator | None = None,
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
        self._pool.lend(self._code, lambda pool: self._launch(frame, pool, profile, communicator))

    def _launch(
        self,
        frame: Frame,
        pool: int | None,
        profile: list[NodeTime] | None,
        communicator: Communicator | None,
    ) -> None:
        """Call the parts one by one; the addresses of images move on between them, and what ends
        a part is summed over all ranks."""
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
            if communicator is not None and part.last in self._reductions:
                start = time.perf_counter()
                communicator.all_reduce(_array_of(self._reductions[part.last], frame, part.dims))
                if profile is not None:  # the last row is that of the op
                    waited = time.perf_counter() - start
                    profile[-1] = replace(profile[-1], seconds=profile[-1].seconds + waited)
        if starts is not None:
            addresses[layout.slots] = starts

    def _wrong_index(self, check: Check, frame: Frame, dims: Dims) -> CauceError:
        """What a check found, of which the status and the indices are as it left them."""
        item = check.dtype.itemsize
        place = int(frame.addresses[check.slot]) + int(frame.status[0]) * item
        (index,) = np.frombuffer(ctypes.string_at(place, item), check.dtype.numpy)
        from ....ir.ops.shape import index_error

        error = index_error(index, size_of(check.size, dims))
        nodes = enumerate(self._request.source.nodes)
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


def _array_of(reduction: Reduction, frame: Frame, dims: Dims) -> Array:
    """The elements of a buffer that is summed, in its memory."""
    dtype, count = reduction.dtype.numpy, size_of(reduction.size, dims)
    address = int(frame.addresses[reduction.slot])
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.ndarray((count,), dtype, memoryview(memory))


def size_of(dim: Dim, dims: Dims) -> int:
    """The number that a size is with these sizes of the symbols."""
    size = substitute(dim, dims)
    assert isinstance(size, int)
    return size
