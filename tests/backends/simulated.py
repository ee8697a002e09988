"""Native code simulated in a memory where every element has a name: whose element it is.

A plan is run as the program would run it, by micro-batches where a batch is cut, with the addresses
that the program hands to the code. But a launch only checks, for every element of its operands,
that the memory it would read holds that element, and names what it would write. So what is
overwritten too early, what lies where something else lies, what is read before it is written and
what lies outside of its buffer comes out, whatever the reasons were to put it there.

What is believed is the layout on each type, and which launches belong to a node.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import numpy as np

from cauce.backends.contract import Optimized, Request
from cauce.backends.llvm.abi import ALIGN, Job, part_name
from cauce.backends.llvm.codegen.code import Launch
from cauce.backends.llvm.codegen.plan import Plan
from cauce.backends.llvm.lowering.indices import index_operands
from cauce.backends.llvm.runtime.invocation import Caller
from cauce.backends.llvm.runtime.threads import ThreadPool
from cauce.backends.llvm.schedule.schedule import Schedule
from cauce.backends.llvm.schedule.winograd import WinogradWeight
from cauce.ir import Array, Dim, Node, Value
from cauce.ir.dims import substitute, symbol
from cauce.ir.layout import NO_HALO, Blocked, Halo, Strided, Transformed
from cauce.ir.ops import conv, shape
from cauce.ir.ops.constant import Constant
from cauce.ir.ops.fused import Kernel
from cauce.ir.winograd import transformed

# Names of what is no element: never written, scratch, the zeros around an image.
NOTHING, SCRATCH, ZERO = 0, -1, -2
KNOWN = {NOTHING: "nothing", SCRATCH: "scratch", ZERO: "zeros"}

# Ops that give the elements of their operands, at other places.
MOVES = (shape.Transpose, shape.Reshape, shape.Flatten, shape.Concat)

Sizes = dict[str, int]
Range = tuple[int, int]


def simulate(plan: Plan, sizes: Sizes, schedules: Mapping[str, Schedule] | None = None) -> None:
    """Assert that every launch of a plan finds what it reads; with the schedules of its kernels
    that gradients of weights, too, find the zeros that whole tiles read."""
    known = {**sizes, **plan.given}
    _Machine(plan, {name: known[name] for name in plan.symbols}, schedules or {}).run()


class _Machine:
    """The memory of one call.

    Attributes:
        ranges: where each buffer begins, and its bytes.
        addresses: what the code is told of them: images further on, in a later micro-batch.
        images: those that run now.
        names: of what each place holds.
    """

    def __init__(self, plan: Plan, sizes: Sizes, schedules: Mapping[str, Schedule]) -> None:
        self.plan, self.sizes, self.entry = plan, sizes, plan.describe()
        self.schedules = schedules
        self.caller = Caller(
            self.entry, self, ThreadPool(1), Request(plan.graph, Optimized(plan.graph))
        )
        self.frames = dict(_frames(plan))
        self.unit = math.gcd(*(a.dtype.itemsize for a in plan.assignment.accesses.values())) or 1
        self.count = 0  # of names given
        self.named: dict[Value, Array] = {}
        self.top = 0
        self.ranges: dict[int, Range] = {}
        self.addresses: dict[int, int] = {}
        self.done: dict[str, int] = {}  # images, by the function that has run for them
        self.images = slice(None)

    # ---- the run -------------------------------------------------------------------------------

    def run(self) -> None:
        """Run all launches, and look at what they leave."""
        entry, plan, sizes = self.entry, self.plan, self.sizes
        leaving = (*entry.inputs, *entry.outputs, *entry.updates)
        external = {place.slot: self._at(place.nbytes, sizes) for place in leaving}
        external |= {slot: array.nbytes for slot, array in entry.constants.items()}
        self.ranges = {slot: (self._reserve(nbytes), nbytes) for slot, nbytes in external.items()}
        layout = self.caller.layout(sizes)
        start = self._reserve(layout.nbytes)
        self.ranges |= {own.slot: (start + own.offset, own.nbytes) for own in layout.slices}
        self.names = np.full(self.top // self.unit, NOTHING, np.int32)
        given = [*plan.graph.inputs]
        given += [n.result for n in plan.graph.nodes if isinstance(n.op, Constant)]
        self._whole()
        for value in given:
            self._write(value, sizes)
        workspace = self.caller.new_workspace(layout)
        for slot, (address, _) in self.ranges.items():
            workspace.addresses[slot] = address
        arrays: Any = {slot: _array_at(self.ranges[slot][0]) for slot in external}
        self.caller.run(arrays, workspace)
        if entry.batch is not None:
            assert len(self.done) == len(plan.spans)
            assert set(self.done.values()) == {sizes[entry.batch.symbol]}
        self._whole()
        for value in given:
            if value not in plan.assignment.in_place:
                self._read(value, sizes, "after the run")
        for value in (*plan.graph.outputs.values(), *plan.graph.updates.values()):
            self._read(value, sizes, "as a result")

    def _reserve(self, nbytes: int) -> int:
        """The address of further memory; something lies between it and the rest."""
        start = self.top
        self.top += -(-nbytes // ALIGN) * ALIGN + ALIGN
        return start

    def _whole(self) -> None:
        """Look at the whole batch."""
        self.images = slice(None)
        self.addresses = {slot: address for slot, (address, _) in self.ranges.items()}

    def function(self, name: str, *arguments: object, result: object) -> Callable[..., int]:
        """What the program calls in place of native code."""
        if name == "micro_batches":
            return self._micro_batches

        def call(table: int, dims: ctypes.Array[ctypes.c_int64], pool: None, times: None) -> int:
            entry = self.entry
            self.addresses |= zip(entry.table, _numbers(table, len(entry.table)))
            sizes = dict(zip(entry.symbols, dims))
            self.images = slice(None)
            if entry.batch is not None:
                done = self.done.get(name, 0)
                self.done[name] = done + sizes[entry.batch.symbol]
                self.images = slice(done, self.done[name])
            spans = {part_name(entry.name, n): span for n, span in enumerate(self.plan.spans)}
            launches = self.plan.launches[slice(*spans[name])]
            for (node, check), own in groupby(launches, key=lambda own: (own[1], own[0].check)):
                if check:
                    for value in index_operands(node):
                        self._read(value, sizes, f"by the check of {node.path}")
                else:
                    self._node(node, [launch for launch, _ in own], sizes)
            return 0

        return call

    def address(self, name: str) -> int:
        """A number that stands for a function."""
        return [part_name(self.entry.name, n) for n in range(len(self.plan.spans))].index(name)

    def _micro_batches(self, pool: None, job: int) -> int:
        """Run one function for all micro-batches of a batch, in one stream."""
        words = dict(zip(Job, (_numbers(job + word, 1)[0] for word in Job)))
        assert words[Job.STREAMS] == 1
        function = self.function(part_name(self.entry.name, words[Job.FUNCTION]), result=None)
        count = words[Job.ENTRIES]
        starts, steps = (np.array(_numbers(words[w], count)) for w in (Job.STARTS, Job.STEPS))
        for micro_batch in range(words[Job.MICRO_BATCHES]):
            table = starts + micro_batch * steps
            last = micro_batch == words[Job.MICRO_BATCHES] - 1
            sizes = _numbers(words[Job.LAST if last else Job.SIZES], len(self.entry.symbols))
            function(table.ctypes.data, sizes, None, None)
        return 0

    def _node(self, node: Node, launches: Sequence[Launch], sizes: Sizes) -> None:
        """One node: what it writes must lie where it reads nothing that it still needs."""
        slot = self.plan.slot
        slots = {place for launch in launches for place in launch.slots}
        # A launch may have the work of another node beside its own, and so that one's arrays.
        scratches = slots - set(map(slot, self.plan.graph.values))
        read = list(node.operands)
        copied: list[tuple[Value, Array, Array]] = []
        if isinstance(node.op, shape.Concat):
            # The parts that are copied, by a launch or more each; the others were written there.
            copied = list(self._copied_parts(node, sizes))
            read = [value for value, _, _ in copied]
            parts = [part for launch in launches for part in launch.parts or (launch,)]
            count = len(parts) - len(self.frames.get(node, ()))
            fine = count >= len(copied) and slots.issuperset(map(slot, read))
            assert fine, f"{node.path} does not copy all that lies elsewhere"
        for root in self.frames.get(node, ()):
            for ring in self._rings(root, sizes, *_halo(root)):
                self.names[ring] = ZERO
        self._scribble(scratches)
        for value in read:
            self._read(value, sizes, f"by {node.path}")
        for image, rows, columns in self._images(node, sizes):
            for ring in self._rings(image, sizes, rows, columns):
                zero = (self.names[ring] == ZERO).all()
                assert zero, f"{node.path} reads no zeros around {image.name}"
        if isinstance(node.op, shape.Concat):
            for _, cells, tags in copied:
                self.names[cells] = tags
        else:
            for value in node.results:
                self._write(value, sizes)
        for value in read:
            cells = self._cells(value, sizes)
            if (self.names[cells] != self._tags(value, sizes)).any():
                same = any(np.array_equal(self._cells(v, sizes), cells) for v in node.results)
                fine = same and _only_at_its_place(node, value)
                assert fine, f"{node.path} overwrites {value.name}"
        self._scribble(scratches)
        for value in node.results:
            self._read(value, sizes, f"behind {node.path}")

    # ---- names ---------------------------------------------------------------------------------

    def _tags(self, value: Value, sizes: Sizes) -> Array:
        """The names of the elements of a value, of those images that run now."""
        tags, batch = self._all_tags(value), self.entry.batch
        if batch is not None and value.type.shape[:1] == (symbol(batch.symbol),):
            tags = tags[self.images]
        assert tags.shape == tuple(self._at(dim, sizes) for dim in value.type.shape), value.name
        return tags[..., None]

    def _all_tags(self, value: Value) -> Array:
        if value not in self.named:
            extents = tuple(self._at(dim, self.sizes) for dim in value.type.shape)
            node = value.node
            op = node.op if node is not None else None
            parts = []
            if node is not None and isinstance(op, MOVES):
                parts = [self._all_tags(operand) for operand in node.operands]
            if isinstance(op, shape.Transpose):
                tags = parts[0].transpose(op.perm)
            elif isinstance(op, shape.Concat):
                tags = np.concatenate(parts, op.axis)
            elif parts:
                tags = parts[0].reshape(extents)
            else:
                first, self.count = self.count + 1, self.count + math.prod(extents)
                tags = np.arange(first, self.count + 1, dtype=np.int32).reshape(extents)
            self.named[value] = tags
        return self.named[value]

    def _whose(self, name: int) -> str:
        if name in KNOWN:
            return KNOWN[name]
        return next(value.name for value, tags in self.named.items() if (tags == name).any())

    # ---- places --------------------------------------------------------------------------------

    def _cells(
        self, value: Value, sizes: Sizes, around: tuple[Range, Range] = ((0, 0), (0, 0))
    ) -> Array:
        """Where in ``names`` each element lies, one cell for each unit of it.

        ``around`` is how far beyond the image, before and after, along axes 2 and 3.
        """
        access, layout = self.plan.assignment.accesses[value], value.type.layout
        assert layout is not None
        if isinstance(layout, Transformed):
            places = _among_points(layout, tuple(self._at(dim, sizes) for dim in value.type.shape))
            return self._units(value, places)
        places: Array = np.array(self._at(access.start, sizes))
        rank = value.type.rank
        for axis, (dim, step) in enumerate(zip(value.type.shape, access.strides)):
            before, after = around[axis - 2] if axis in (2, 3) else (0, 0)
            index = np.arange(-before, self._at(dim, sizes) + after)
            along = index * self._at(step, sizes)
            if isinstance(layout, Blocked) and axis == layout.order[-1]:
                block, within = np.divmod(index, access.block)
                apart = self._at(access.block_stride, sizes)
                along = block * apart + within * self._at(step, sizes)
            places = places + along.reshape([-1 if own == axis else 1 for own in range(rank)])
        return self._units(value, places)

    def _units(self, value: Value, places: Array) -> Array:
        """The cells of elements of a value that lie at these places of its buffer."""
        access = self.plan.assignment.accesses[value]
        item = access.dtype.itemsize
        places = places * item + self.addresses[access.slot]
        start, nbytes = self.ranges[access.slot]
        if places.size:
            inside = start <= places.min() and places.max() + item <= start + nbytes
            assert inside, f"{value.name} lies outside of its buffer"
        return places[..., None] // self.unit + np.arange(item // self.unit)

    def _rings(self, image: Value, sizes: Sizes, rows: Range, columns: Range) -> Iterator[Array]:
        """What surrounds an image, so many rows and columns wide."""
        wide = self._cells(image, sizes, (rows, columns))
        height, width = wide.shape[2:4]
        yield wide[:, :, : rows[0]]
        yield wide[:, :, height - rows[1] :]
        yield wide[:, :, :, : columns[0]]
        yield wide[:, :, :, width - columns[1] :]

    def _images(self, node: Node, sizes: Sizes) -> Iterator[tuple[Value, Range, Range]]:
        """The image that a convolution reads beyond its borders, and how far: rows, columns."""
        inner, operands = node, dict(zip(node.operands, node.operands))
        if isinstance(node.op, Kernel):
            (stage,) = node.op.stages
            inner = stage.anchor
            operands = dict(zip(node.op.body.inputs, node.operands))
        op = inner.op
        if isinstance(op, (conv.Conv2d, conv.Conv2dBackwardWeight)):
            yield operands[inner.operands[0]], *self._in_tiles(node, inner, op.padding, sizes)
        elif isinstance(op, conv.Conv2dBackwardData):
            (dy, weight), dx = inner.operands, inner.result
            reach = []
            for axis in range(2):
                size, length = (self._at(v.type.shape[2 + axis], sizes) for v in (dy, dx))
                reach.append(_reach(op, axis, conv.kernel_of(weight)[axis], length, size))
            yield operands[dy], *self._in_tiles(node, inner, reach, sizes)

    def _in_tiles(
        self, node: Node, inner: Node, reach: Sequence[Range], sizes: Sizes
    ) -> Iterator[Range]:
        """How far the whole tiles of a convolution read, if its filters are transformed."""
        schedule, outputs = self.schedules.get(node.results[0].name), inner.result
        formats = [value.type.layout for value in node.operands]
        tile, stride = next(
            ((own.tile, own.stride) for own in formats if isinstance(own, Transformed)), ((1, 1), 1)
        )
        if isinstance(schedule, WinogradWeight):
            tile, outputs = schedule.tile, inner.operands[1]
        for dim, (before, after), size in zip(outputs.type.shape[2:], reach, tile):
            # With a stride an image may end in front of the last zeros.
            yield before, after + -self._at(dim, sizes) % size * stride - (stride - 1)

    def _at(self, dim: Dim, sizes: Sizes) -> int:
        size = substitute(dim, sizes)
        assert isinstance(size, int)
        return size

    # ---- reading and writing -------------------------------------------------------------------

    def _read(self, value: Value, sizes: Sizes, who: str) -> None:
        found = self.names[self._cells(value, sizes)]
        wrong = found != self._tags(value, sizes)
        if wrong.any():
            other = self._whose(int(found[wrong][0]))
            raise AssertionError(f"{value.name}, read {who}, is not there, but {other}")

    def _write(self, value: Value, sizes: Sizes) -> None:
        self.names[self._cells(value, sizes)] = self._tags(value, sizes)

    def _copied_parts(self, node: Node, sizes: Sizes) -> Iterator[tuple[Value, Array, Array]]:
        """What a concatenation copies: operands that lie elsewhere, and their places and names."""
        assert isinstance(node.op, shape.Concat)
        axis, start = node.op.axis % node.result.type.rank, 0
        cells, tags = self._cells(node.result, sizes), self._tags(node.result, sizes)
        for value in node.operands:
            stop = start + self._at(value.type.shape[axis], sizes)
            part = (*[slice(None)] * axis, slice(start, stop))
            if not np.array_equal(self._cells(value, sizes), cells[part]):
                yield value, cells[part], tags[part]
            start = stop

    def _scribble(self, scratches: set[int]) -> None:
        for slot in scratches:
            start, nbytes = self.ranges[slot]
            self.names[start // self.unit : (start + nbytes) // self.unit] = SCRATCH


def _among_points(layout: Transformed, shape: tuple[int, ...]) -> Array:
    """A place of its own for each tap of transformed filters: among the points of its filter and
    channel, of which there are more than taps. Those at the end stand for the others, so that all
    of the buffer must be there."""
    rows, columns, channels, filters = (shape[axis] for axis in layout.order)
    points, apart = transformed(layout.tile), layout.block_stride(shape)
    row, column, channel, filter_ = np.ogrid[:rows, :columns, :channels, :filters]
    tap = row * columns + column
    point = np.where(tap < rows * columns // 2, tap, points - rows * columns + tap)
    block, within = np.divmod(filter_, layout.block)
    places = block * apart + (point * channels + channel) * layout.block + within
    return places.transpose(np.argsort(layout.order))


def _array_at(address: int) -> SimpleNamespace:
    return SimpleNamespace(ctypes=SimpleNamespace(data=address))


def _numbers(address: int, count: int) -> list[int]:
    return list((ctypes.c_int64 * count).from_address(address)) if count else []


def _halo(value: Value) -> Halo:
    layout = value.type.layout
    return layout.halo if isinstance(layout, Strided) else NO_HALO


def _frames(plan: Plan) -> Iterator[tuple[Node, list[Value]]]:
    """The images around which each node writes zeros, before all else: the first to touch them."""
    assignment, touched = plan.assignment, set[int]()
    launches = [pair for pair in plan.launches if not pair[0].check]
    for node, own in groupby(launches, key=lambda pair: pair[1]):
        roots = {plan.slot(v): assignment.roots[v] for v in (*node.operands, *node.results)}
        framed: list[Value] = []
        for part in [part for launch, _ in own for part in launch.parts or (launch,)]:
            fresh = roots.get(part.slots[0]) if part.slots[0] not in touched else None
            if len(part.slots) > 1 or fresh is None or _halo(fresh) == NO_HALO:
                break
            framed.append(fresh)
            touched.add(part.slots[0])
        touched.update(roots)
        yield node, framed


def _reach(op: conv.ConvBase, axis: int, kernel: int, length: int, size: int) -> Range:
    """How far beyond dy, of ``size``, a transposed convolution reads for dx, of ``length``."""
    # dx at place i takes dy at (i + padding - dilation * tap) / stride.
    stride, before = op.stride[axis], op.padding[axis][0]
    places = [i + before - op.dilation[axis] * tap for i in range(length) for tap in range(kernel)]
    taken = [place // stride for place in places if place % stride == 0]
    return max(0, -min(taken, default=0)), max(0, max(taken, default=0) - size + 1)


def _only_at_its_place(node: Node, value: Value) -> bool:
    """Whether a node reads an operand for the result at the same place alone."""
    if node.op.elementwise:
        return True
    if not isinstance(node.op, Kernel):
        return False
    body = node.op.body
    reached = {own for own, operand in zip(body.inputs, node.operands) if operand is value}
    for inner in body.nodes:
        if reached.intersection(inner.operands):
            if not inner.op.elementwise:
                return False
            reached.update(inner.results)
    return True
