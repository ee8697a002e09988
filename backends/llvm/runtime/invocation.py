"""Calls one function of the native code: which memory it gets, and what each call leaves."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....ir import Array
from ....ir.communicator import Communicator
from ....ir.errors import CauceError
from ...contract import Dims, NodeTime, Request
from ...recent import Recent
from ..abi import JOB_BYTES, Binding, Check, Entry, Job, RankSum, Share
from .layout import CallLayout, MicroBatches, Part, lay_out, shares, size_of
from .library import Code
from .memory import Arena, aligned, aligned_copy, aligned_together
from .threads import ThreadPool

_SIGNATURE = [ctypes.c_void_p] * 4  # the pointers, the sizes, the pool, the clock
_MICRO_BATCHES = [ctypes.c_void_p] * 2  # the pool, the job


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


class Workspace:
    """The memory of one call and its tables, which a later one of the same sizes takes over."""

    def __init__(self, layout: CallLayout, entry: Entry, constants: Fixed) -> None:
        self.layout = layout
        self.arena = Arena(layout.slices, layout.nbytes)
        self.addresses = self.arena.table(entry.count)
        constants.enter(self.addresses)
        self.status = np.empty(1, np.int64)
        if entry.status is not None:
            self.addresses[entry.status] = self.status.ctypes.data
        self.pointers = np.empty(len(entry.table), np.int64)
        self.pointers_address = self.pointers.ctypes.data
        self.tables = {
            part.name: _Tables(part, part.micro_batches, self.arena, len(entry.table))
            for part in layout.parts
            if part.micro_batches is not None
        }


class _Tables:
    """What native code is told of a batch in micro-batches.

    Attributes:
        job: its words.
        starts: for each stream, the addresses for the first micro-batch.
    """

    def __init__(self, part: Part, micro_batches: MicroBatches, arena: Arena, entries: int) -> None:
        self.starts = np.empty((micro_batches.streams, entries), np.int64)
        self._own, self._addresses = micro_batches.own, arena.addresses[micro_batches.slices]
        self._tables = aligned(micro_batches.streams * entries * 8, None).view(np.int64)
        self.job = aligned(JOB_BYTES, None).view(np.int64)
        self.job[:] = 0
        self.address = self.job.ctypes.data
        self.set(Job.STREAMS, micro_batches.streams)
        self.set(Job.MICRO_BATCHES, micro_batches.total)
        self.set(Job.ENTRIES, entries)
        self.set(Job.STARTS, self.starts.ctypes.data)
        self.set(Job.STEPS, micro_batches.steps.ctypes.data)
        self.set(Job.TABLES, self._tables.ctypes.data)
        self.set(Job.SIZES, ctypes.addressof(part.sizes.array))
        self.set(Job.LAST, ctypes.addressof(micro_batches.last.array))

    def set(self, word: Job, value: int) -> None:
        """Write a word of the job."""
        self.job[word // 8] = value

    def begin(self, pointers: Array) -> None:
        """All micro-batches are to be done, with these addresses for the first one."""
        self.starts[:] = pointers
        if self._own.size:
            self.starts[:, self._own] = self._addresses
        self.set(Job.NEXT, 0)
        self.set(Job.FAILED, 0)


class Caller:
    """Calls one entry of the code with tables of addresses.

    Args:
        request: what was compiled, whose source knows the lines of the layers.
    """

    def __init__(self, entry: Entry, code: Code, pool: ThreadPool, request: Request) -> None:
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

    def shares(self, dims: Dims) -> list[Share]:
        """How each stage of a batch is shared out; nothing where all run for all images."""
        return shares(self.entry, dims, self._pool.threads)

    def layout(self, dims: Dims) -> CallLayout:
        """The layout of a call with these sizes, kept for the sizes seen last."""
        key = tuple([dims[name] for name in self._free])
        return self._layouts.get(
            key, lambda: lay_out(self.entry, self.sizes(dims), self._pool.threads)
        )

    def new_workspace(self, layout: CallLayout) -> Workspace:
        """The memory of one call at a time."""
        return Workspace(layout, self.entry, self._constants)

    def constants(self, bindings: Sequence[Binding]) -> dict[int, Array]:
        """Those that are constants, which no launch writes, by buffer."""
        known = self._constants.arrays
        return {own.slot: known[own.slot] for own in bindings if own.slot in known}

    def run(
        self,
        arrays: Mapping[int, Array],
        workspace: Workspace,
        packed: Fixed | None = None,
        profile: list[NodeTime] | None = None,
        communicator: Communicator | None = None,
    ) -> None:
        """Run all launches with these arrays, by buffer, of inputs and outputs.

        Raises:
            ShapeError: an index out of range. The launches after its check have not run then, and
                the workspace must not be used again.
        """
        addresses = workspace.addresses
        if packed is not None:
            packed.enter(addresses)
        for slot, array in arrays.items():
            addresses[slot] = array.ctypes.data
        workspace.status[0] = -1
        self._pool.lend(
            self._code, lambda pool: self._launch(workspace, pool, profile, communicator)
        )

    def _launch(
        self,
        workspace: Workspace,
        pool: int | None,
        profile: list[NodeTime] | None,
        communicator: Communicator | None,
    ) -> None:
        """Call the parts one by one; what ends a part is summed over all ranks."""
        workspace.pointers[:] = workspace.addresses[self._table]
        for part in workspace.layout.parts:
            count = 1 if part.micro_batches is None else part.micro_batches.total
            times = None
            if profile is not None:
                times = np.zeros((count, len(self.entry.launches) + 1, 2), np.int64)
            if part.micro_batches is None:
                self._call(part, workspace, pool, times)
            else:
                self._call_for_micro_batches(part, part.micro_batches, workspace, pool, times)
            if profile is not None and times is not None:
                profile += self._rows(times, part)
            if communicator is not None and part.last in self._reductions:
                start, reduction = time.perf_counter(), self._reductions[part.last]
                communicator.all_reduce(_array_of(reduction, workspace, part.sizes.dims))
                if profile is not None:  # the last row is that of the op
                    waited = time.perf_counter() - start
                    profile[-1] = replace(profile[-1], seconds=profile[-1].seconds + waited)

    def _call(
        self, part: Part, workspace: Workspace, pool: int | None, times: Array | None
    ) -> None:
        """Run some launches for the whole batch."""
        function = self._code.function(part.name, *_SIGNATURE, result=ctypes.c_int64)
        clock = None if times is None else times.ctypes.data
        failed = function(workspace.pointers_address, part.sizes.array, pool, clock)
        if failed:
            check = self.entry.checks[failed - 1]
            raise self._wrong_index(
                check, workspace, int(workspace.addresses[check.slot]), part.sizes.dims
            )

    def _call_for_micro_batches(
        self,
        part: Part,
        micro_batches: MicroBatches,
        workspace: Workspace,
        pool: int | None,
        times: Array | None,
    ) -> None:
        """Run some launches for all micro-batches of the batch."""
        tables = workspace.tables[part.name]
        tables.begin(workspace.pointers)
        tables.set(Job.FUNCTION, self._code.address(part.name))
        tables.set(Job.POOL, (pool or 0) if micro_batches.streams == 1 else 0)
        tables.set(Job.TIMES, 0 if times is None else times.ctypes.data)
        tables.set(Job.CLOCK, 0 if times is None else times.strides[0])
        failed = self._code.function("micro_batches", *_MICRO_BATCHES, result=ctypes.c_int64)(
            pool, tables.address
        )
        if failed:
            check, micro_batch = self.entry.checks[failed - 1], int(tables.job[Job.WHERE // 8])
            step = int(micro_batches.steps[self.entry.table.index(check.slot)])
            address = int(workspace.addresses[check.slot]) + step * micro_batch
            raise self._wrong_index(
                check, workspace, address, micro_batches.sized(micro_batch, part.sizes).dims
            )

    def _wrong_index(
        self, check: Check, workspace: Workspace, address: int, dims: Dims
    ) -> CauceError:
        """What a check found, of which the status and the indices, at an address, are as it left
        them."""
        item = check.dtype.itemsize
        place = address + int(workspace.status[0]) * item
        (index,) = np.frombuffer(ctypes.string_at(place, item), check.dtype.numpy)
        from ....ir.ops.shape import index_error

        error = index_error(index, size_of(check.size, dims))
        nodes = enumerate(self._request.source.nodes)
        lines = (node.loc for number, node in nodes if number == check.origin)
        return error.at(check.path, next(lines, None))

    def _rows(self, times: Array, part: Part) -> Iterator[NodeTime]:
        """The time of each node, from the clock before the first launch and after each. Of streams
        that run side by side each counts for its share."""
        launches, micro_batches = self.entry.launches[part.first : part.last], part.micro_batches
        streams = 1 if micro_batches is None else micro_batches.streams
        for micro_batch, table in enumerate(times):
            clock = table[part.first : part.last + 1]
            seconds: dict[int, float] = {}
            for number, each in zip(launches, np.diff(clock[:, 0] + clock[:, 1] * 1e-9)):
                seconds[number] = seconds.get(number, 0.0) + float(each) / streams
            sizes = (
                part.sizes
                if micro_batches is None
                else micro_batches.sized(micro_batch, part.sizes)
            )
            for number, taken in seconds.items():
                row, dims = self.entry.rows[number], sizes.dims
                work = size_of(row.flops, dims), size_of(row.bytes, dims)
                yield NodeTime(row.path, row.op, taken, *work)


def _array_of(reduction: RankSum, workspace: Workspace, dims: Dims) -> Array:
    """The elements of a buffer that is summed, in its memory."""
    dtype, count = reduction.dtype.numpy, size_of(reduction.size, dims)
    address = int(workspace.addresses[reduction.slot])
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.ndarray((count,), dtype, memoryview(memory))
