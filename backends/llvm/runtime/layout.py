"""What calls with the same sizes share: where buffers lie, and how a batch is cut."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ....ir import Array, Dim
from ....ir.dims import substitute, symbols
from ....ir.interval_packer import Interval, pack
from ...contract import Dims
from ..abi import ALIGN, Buffer, Entry, Share, crossing, part_name, rounded_up, spans_of
from .memory import ArenaSlice


class Sized(NamedTuple):
    """The sizes of the symbols, and the same as native code takes them."""

    dims: Dims
    array: Any


class MicroBatches(NamedTuple):
    """A batch in micro-batches.

    Attributes:
        total: how many there are.
        streams: what takes them; one is all threads together, several are a thread each.
        last: the sizes of the last micro-batch.
        steps: for each buffer in the table of the entry, the bytes from micro-batch to micro-batch.
        own: the places, in that table, of buffers that each stream has for itself.
        slices: for each stream, where these are in the list of all slices of the arena.
    """

    total: int
    streams: int
    last: Sized
    steps: Array
    own: Array
    slices: Array

    def sized(self, micro_batch: int, sizes: Sized) -> Sized:
        """The sizes of a micro-batch; ``sizes`` are those of the first."""
        return self.last if micro_batch == self.total - 1 else sizes


class Part(NamedTuple):
    """One call of native code: some of the launches, for the whole batch or all micro-batches."""

    name: str
    first: int
    last: int
    sizes: Sized
    micro_batches: MicroBatches | None


class CallLayout(NamedTuple):
    """The slices of the arena and its bytes, the shapes of what leaves, and the parts."""

    slices: tuple[ArenaSlice, ...]
    nbytes: int
    shapes: list[tuple[int, ...]]
    parts: list[Part]


class _Span(NamedTuple):
    """The launches of a function, and how a batch is shared out there; None where it is not."""

    name: str
    first: int
    last: int
    share: Share | None

    @property
    def apart(self) -> bool:
        """Whether each stream has memory of its own."""
        return self.share is not None and self.share.streams > 1

    def covers(self, buffer: Buffer) -> bool:
        """Whether a buffer is in use here alone."""
        return self.first <= buffer.first and buffer.last < self.last


def shares(entry: Entry, dims: Dims, threads: int) -> list[Share]:
    """How each stage of a batch is shared out; nothing where all of them run for all images."""
    batch = entry.batch
    if batch is None:
        return []
    count = dims[batch.symbol]
    found = [stage.share(count, threads) for stage in batch.stages]
    if entry.checks:  # there is one place for what they find
        found = [Share(each.micro_batch * each.streams, 1) for each in found]
    return found if count > 1 and min(each.micro_batch for each in found) < count else []


def lay_out(entry: Entry, dims: Dims, threads: int) -> CallLayout:
    """The layout of calls with these sizes, for so many threads."""
    return _Layout(entry, dims, threads).layout()


class _Layout:
    def __init__(self, entry: Entry, dims: Dims, threads: int) -> None:
        self._entry, self._dims, self._threads = entry, dims, threads
        self._count = dims[entry.batch.symbol] if entry.batch is not None else 0
        bounds = spans_of(len(entry.launches), entry.batch, entry.reductions)
        names = (part_name(entry.name, number) for number in range(len(bounds)))
        found: list[Share | None] = [*shares(entry, dims, threads)]
        found += [None] * (len(bounds) - len(found))
        self._spans = [
            _Span(name, *bound, share if share and share.micro_batch < self._count else None)
            for name, bound, share in zip(names, bounds, found)
        ]

    def layout(self) -> CallLayout:
        entry = self._entry
        apart = [span for span in self._spans if span.apart]
        common = [b for b in entry.buffers if not any(span.covers(b) for span in apart)]
        streams = [self._stream(span) for span in apart]
        intervals = [self._interval(buffer) for buffer in common]
        blocks = [
            Interval(nbytes * span.share.streams, span.first, span.last - 1)
            for span, (_, nbytes) in zip(apart, streams)
            if span.share is not None
        ]
        offsets, nbytes = pack([*intervals, *blocks], ALIGN)
        placed = zip(common, offsets, intervals)
        slices = [ArenaSlice(b.slot, offset, i.nbytes) for b, offset, i in placed]
        for span, (own, room), start in zip(apart, streams, offsets[len(common) :]):
            assert span.share is not None
            for stream in range(span.share.streams):
                at = start + stream * room
                slices += [s._replace(offset=at + s.offset, stream=stream) for s in own]
        leaving = [place.type.shape for place in (*entry.outputs, *entry.updates)]
        shapes = [tuple([size_of(dim, self._dims) for dim in shape]) for shape in leaving]
        steps = self._images()
        places = {(own.slot, own.stream): place for place, own in enumerate(slices)}
        parts = [self._part(span, places, steps) for span in self._spans]
        return CallLayout(tuple(slices), nbytes, shapes, parts)

    def _stream(self, span: _Span) -> tuple[list[ArenaSlice], int]:
        """Where in the memory of a stream its buffers lie, and how large that is: whole pages, for
        no two threads are to write to one line."""
        assert span.share is not None
        dims = self._of_micro_batch(span.share.micro_batch)
        own = [buffer for buffer in self._entry.buffers if span.covers(buffer)]
        intervals = [Interval(_size(b, dims, 1), b.first, b.last) for b in own]
        offsets, nbytes = pack(intervals, ALIGN)
        slices = [ArenaSlice(b.slot, at, i.nbytes) for b, at, i in zip(own, offsets, intervals)]
        return slices, -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE

    def _interval(self, buffer: Buffer) -> Interval:
        """How large a buffer is, and when it is in use.

        One that is gone before its stage ends holds one micro-batch. One that crosses to another
        stage holds all images, for as long as the launches of both run again for other
        micro-batches.
        """
        start = next(span for span in self._spans if buffer.first < span.last)
        end = next(span for span in self._spans if buffer.last < span.last)
        if start is end:
            dims = self._of_micro_batch(start.share.micro_batch) if start.share else self._dims
            return Interval(_size(buffer, dims, self._threads), buffer.first, buffer.last)
        first = start.first if start.share else buffer.first
        last = end.last - 1 if end.share else buffer.last
        return Interval(_size(buffer, self._dims, self._threads), first, last)

    def _part(self, span: _Span, places: Mapping[tuple[int, int], int], steps: Array) -> Part:
        if span.share is None:
            return Part(span.name, span.first, span.last, self._sized(self._dims), None)
        micro_batch, streams = span.share
        count = -(-self._count // micro_batch)
        last = self._count - (count - 1) * micro_batch
        table, slots = self._entry.table, set[int]()
        if span.apart:
            slots = {buffer.slot for buffer in self._entry.buffers if span.covers(buffer)}
        own = [at for at, slot in enumerate(table) if slot in slots]
        found = [[places[table[at], stream] for at in own] for stream in range(streams)]
        micro_batches = MicroBatches(
            count,
            streams,
            self._sized(self._of_micro_batch(last)),
            micro_batch * steps,
            np.array(own, np.intp),
            np.array(found, np.intp),
        )
        sizes = self._sized(self._of_micro_batch(micro_batch))
        return Part(span.name, span.first, span.last, sizes, micro_batches)

    def _of_micro_batch(self, micro_batch: int) -> Dims:
        """The sizes for a micro-batch of the batch."""
        assert self._entry.batch is not None
        return {**self._dims, self._entry.batch.symbol: micro_batch}

    def _sized(self, dims: Dims) -> Sized:
        sizes = [dims[symbol] for symbol in self._entry.symbols]
        return Sized(dims, (ctypes.c_int64 * len(sizes))(*sizes))

    def _images(self) -> Array:
        """For each buffer in the table of the entry the bytes of an image; 0 where it holds but
        those of a micro-batch, or none at all."""
        entry, batch = self._entry, self._entry.batch
        steps = np.zeros(entry.count, np.int64)
        if batch is not None and any(span.share for span in self._spans):
            across = crossing(entry.buffers, [(span.first, span.last) for span in self._spans])
            found = [(place.slot, place.nbytes) for place in (*entry.inputs, *entry.outputs)]
            found += [(buffer.slot, buffer.nbytes) for buffer in across]
            for slot, size in found:
                if batch.symbol in symbols(size):
                    steps[slot] = size_of(size, self._dims) // self._count
        return steps[np.array(entry.table, np.intp)]


def _size(buffer: Buffer, dims: Dims, threads: int) -> int:
    """The bytes of a buffer, of all threads where each has one."""
    if not buffer.per_thread:
        return size_of(buffer.nbytes, dims)
    return size_of(rounded_up(buffer.nbytes), dims) * threads


def size_of(dim: Dim, dims: Dims) -> int:
    """The number that a size is with these sizes of the symbols."""
    size = substitute(dim, dims)
    assert isinstance(size, int)
    return size
