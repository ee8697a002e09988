"""What compiling a graph gives: machine code, and all that is needed to run it.

No node, no value and no IR is in it, so it can be kept on disk and run without compiling again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from ...ir import Array, Dim, DType, TensorType
from ...ir.record import Record
from ..contract import Interface
from .target import Target

# What a caller may ask of the rounding of results.
PRECISIONS = ("strict", "default", "fast")

# Work for each micro-batch that hides what its call costs.
_FLOPS_PER_MICRO_BATCH = 100_000_000

# How much longer than its share of the work may take what runs beside others, before all threads
# share each micro-batch instead: some wait at the end of all of them then, and not of every launch.
_UNEVEN = 1.07


# Chunks for each thread, and the most threads: a ticket has 16 bits for a chunk.
CHUNKS, MOST_THREADS, TICKET_BYTES = 4, 1024, 64

# Rounds of spinning, each with a pause of some ten nanoseconds, before a worker sleeps, and before
# a caller that waits lets others run.
SPINS = 5_000


class Word(IntEnum):
    """The words of a thread pool, by byte offset, those that are written at different times in
    cache lines of their own.

    The upper half of the launch counts launches, and is the futex. A ticket, one for each thread,
    has the same number in its upper half, below it where the thread's chunks end, and in its lowest
    16 bits its next chunk. A chunk is taken by compare-and-exchange of the whole ticket. So who
    succeeds has read the launch that the chunk belongs to: it is not written again before that
    chunk is done.
    """

    LAUNCH = 0
    STOP = 64
    WORKERS = 72  # so far
    FUNCTION = 128
    TABLE = 136
    DIMS = 144
    TASKS = 152
    THREADS = 160
    CHUNKS = 168
    DONE = 192  # chunks
    SLEEPING = 256  # threads
    TICKETS = 320


class Job(IntEnum):
    """The words of a call for a batch in micro-batches, by byte offset.

    A stream is what takes micro-batches one by one: a thread by itself, or all of them together. It
    has a table of addresses of its own, made for each micro-batch: where its memory begins, or
    where the first image lies, and for each micro-batch before it some bytes more.
    """

    FUNCTION = 0  # runs some launches, as ``entry`` does
    POOL = 8  # that shares each launch; null where each stream is one thread
    STREAMS = 16
    MICRO_BATCHES = 24
    ENTRIES = 32  # of a table
    STARTS = 40  # a table for each stream: the addresses for the first micro-batch
    STEPS = 48  # a table: the bytes from micro-batch to micro-batch
    TABLES = 56  # a table for each stream, for its micro-batch
    SIZES = 64  # the sizes of the dimensions for a micro-batch
    LAST = 72  # and for the last one
    TIMES = 80  # of the first micro-batch; null where no time is noted
    CLOCK = 88  # bytes from the times of a micro-batch to those of the next
    FAILED = 96  # the number of a check that failed; 0 where none did
    WHERE = 104  # the micro-batch in which it did
    NEXT = 128  # the next micro-batch that no stream has taken


JOB_BYTES = 192


# Bytes at multiples of which arrays begin: a line of the cache, and no vector is longer.
ALIGN = 64


def rounded_up(nbytes: Dim) -> Dim:
    """The next multiple of ``ALIGN``."""
    return (nbytes + (ALIGN - 1)) // ALIGN * ALIGN


class Buffer(NamedTuple):
    """Memory that one call needs: from the first launch that touches it to the last.

    Where ``per_thread``, each thread has so many bytes, rounded up to ``ALIGN``.
    """

    slot: int
    nbytes: Dim
    first: int
    last: int
    per_thread: bool = False


class Binding(NamedTuple):
    """An array that goes in or comes out: its name, its buffer, its type and its bytes."""

    name: str
    slot: int
    type: TensorType
    nbytes: Dim


class Row(NamedTuple):
    """What a profile says of one node beside its time."""

    path: str
    op: str
    flops: Dim
    bytes: Dim


class Check(NamedTuple):
    """Indices that a launch looks through: the layer that reads them, their buffer and dtype, and
    the size that they choose among.

    ``origin`` is the place, among the nodes of the source, of one that was written where the reader
    was: equal code may stem from other lines, so no artifact names one. None where there is none.
    """

    path: str
    slot: int
    dtype: DType
    size: Dim
    origin: int | None = None


class Share(NamedTuple):
    """How the images of a batch are shared out: how many make a micro-batch, and how many streams
    take those, each of which is one thread; with one stream all threads share each micro-batch."""

    micro_batch: int
    streams: int

    def __str__(self) -> str:
        return f"{self.streams} x {self.micro_batch}" if self.streams > 1 else str(self.micro_batch)


class BatchStage(Record):
    """Launches that run for some images of a batch at a time, all of which they do before the next
    stage begins.

    Attributes:
        end: the first launch behind it.
        flops: of one image.
        together: how many images are worth reading the weights once for.
    """

    end: int
    flops: int
    together: int

    def share(self, count: int, threads: int) -> Share:
        """How ``count`` images run on so many threads.

        The fewer there are in a micro-batch, the nearer a cache holds what one kernel writes and
        the next one reads; but each micro-batch reads all weights. Threads do best apart, each with
        micro-batches and memory of its own: none waits for another, or reads what another one
        wrote. Where images cannot be shared out evenly, all threads share each micro-batch instead.
        """
        calls = math.ceil(_FLOPS_PER_MICRO_BATCH / max(1, self.flops))
        own = max(1 << (calls - 1).bit_length(), 1 << self.together.bit_length() >> 1)
        micro_batch = min(own, math.ceil(count / threads))
        while micro_batch:
            micro_batches, rest = divmod(count, micro_batch)
            turns, others = divmod(micro_batches, threads)
            if (
                threads * (turns * micro_batch + (micro_batch if others else rest))
                <= _UNEVEN * count
            ):
                return Share(micro_batch, threads)
            micro_batch //= 2
        return Share(min(count, own * threads), 1)


class Batch(Record):
    """A batch that can be cut: its images do not meet.

    Attributes:
        symbol: the dimension that counts its images.
        stages: one after the other. What launches there are behind the last run for the whole
            batch: they read large matrices, which are to be read once.
    """

    symbol: str
    stages: tuple[BatchStage, ...]


class RankSum(NamedTuple):
    """An array that is summed over all ranks between two calls of the code, in row-major order.

    ``end`` is the first launch behind it.
    """

    end: int
    slot: int
    dtype: DType
    size: Dim


def spans_of(
    launches: int, batch: Batch | None, reductions: Sequence[RankSum]
) -> list[tuple[int, int]]:
    """The launches of each function of an entry: the first, and the one behind the last.

    Args:
        launches: how many there are.
        batch: that is cut, if so; there are no reductions then.
        reductions: that end a function.
    """
    cuts = reductions if batch is None else batch.stages
    ends = [0, *(cut.end for cut in cuts), launches]
    return [(first, last) for first, last in pairwise(ends) if first < last] or [(0, 0)]


def crossing(buffers: Iterable[Buffer], spans: Sequence[tuple[int, int]]) -> list[Buffer]:
    """The buffers that are in use from one span to another."""
    cuts = [first for first, _ in spans if first]
    return [b for b in buffers if any(b.first < cut <= b.last for cut in cuts)]


def part_name(entry: str, number: int) -> str:
    """The name of the function that runs the launches of a span, by its number."""
    return f"{entry}.part{number}" if number else entry


class Entry(Record):
    """How to call one of the two entries of the code, ``prepare`` or ``main``.

    Attributes:
        name: of the function.
        symbols: the dimensions that it takes, in order.
        count: how many buffers there are.
        table: the buffers of all launches, one after the other.
        buffers: what the arena holds.
        constants: the arrays of constants, by buffer.
        inputs: in order.
        outputs: in order.
        updates: the new value of each updated input, under the input's name.
        in_place: updated inputs that the code itself overwrites.
        rows: the nodes, in order.
        launches: for each launch, which row it belongs to.
        batch: of which images do not meet, if so.
        given: the sizes of dimensions that are numbers in the source.
        checks: of indices, by their numbers, of which the first is 1. The function returns the
            number of the one that fails, 0 where none does.
        status: the buffer of one i64 that then holds the first place of a wrong index; all bits are
            set before the call. None where there are no checks.
        reductions: in order.
    """

    name: str
    symbols: tuple[str, ...]
    count: int
    table: tuple[int, ...]
    buffers: tuple[Buffer, ...]
    constants: Mapping[int, Array]
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    updates: tuple[Binding, ...]
    in_place: frozenset[str]
    rows: tuple[Row, ...]
    launches: tuple[int, ...]
    batch: Batch | None
    given: Mapping[str, int]
    checks: tuple[Check, ...]
    status: int | None
    reductions: tuple[RankSum, ...] = ()


class MemoryImage(Record):
    """An object file as it will lie in memory, wherever that may be.

    It has three parts of whole pages, for each is to be protected in its own way::

        | links, code | constants | data, zeros |

    A link belongs to a symbol that other objects define or know: a jump, for a call may not reach
    as far as another library lies, and the address, for code that wants to read it.

    Attributes:
        machine: the number that ELF gives the processor.
        parts: the bytes of each part.
        inner: the places of addresses within the image. The content has there how far they are
            from its beginning.
        outer: the places of the addresses of other libraries' functions, by their names.
        entries: the places of the functions that can be called from outside.
        content: all bytes but for zeros at the end.
    """

    machine: int
    parts: tuple[int, ...]
    inner: tuple[int, ...]
    outer: Mapping[str, int]
    entries: Mapping[str, int]
    content: bytes


class Artifact(Record):
    """Machine code for one processor, with its two entries.

    Attributes:
        code: an object file, or what it is in memory where cauce's own loader takes it.
        digest: of the IR that it was made from.
        target: the processor.
        interface: what goes in and comes out.
    """

    code: bytes | MemoryImage
    digest: str
    target: Target
    interface: Interface
    prepare: Entry
    main: Entry
