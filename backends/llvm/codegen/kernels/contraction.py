"""Sums of products over any axes: the one emitter behind convolution, its backward ops, matrix
products and linear layers.

``result[p] = sum over r of a[p, r] * b[p, r]``, where every array is addressed by a stride for each
axis. The loops of a schedule say which axis lies across the lanes of a vector, which axes are
unrolled into a tile of accumulators in registers, and in what order the sum runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product as combinations

from .....ir import Dim, DType
from .....ir.dims import product
from ...lowering.access import Access
from ...schedule.tiles import PREFETCH_BYTES, Loops
from ..builder import Index, V, i64
from ..code import Finish, NodeCode, Stage
from ..iteration import unravel
from ..math.elements import scalar_constant
from .elementwise import load, load_strided, store

AxisStrides = Mapping[str, Dim]
Indices = dict[str, V]
# What has been loaded for a tile: by array, and by the places that tell its elements apart.
Loaded = dict[tuple[int, tuple[tuple[str, int], ...]], V]


@dataclass(frozen=True)
class Operand:
    """An array over the axes of a contraction; an axis without a stride does not move it.

    Where ``block`` is not 0, the axis across the lanes lies in blocks, ``block_stride`` from one
    another.
    """

    slot: int
    dtype: DType
    strides: AxisStrides
    start: Dim = 0
    block: int = 0
    block_stride: Dim = 0

    @staticmethod
    def of(access: Access, strides: AxisStrides, start: Dim | None = None) -> Operand:
        """An array with strides for the axes, from its own first element on where None."""
        start = access.start if start is None else start
        return Operand(access.slot, access.dtype, strides, start, access.block, access.block_stride)

    def split(self, axis: str, lanes: int, vectors: int) -> Operand:
        """With an axis in two more: t counts vectors within a group of them, u the groups."""
        step = self.strides.get(axis, 0)
        assert self.block in (0, lanes * vectors)
        apart = self.block_stride if self.block else step * (lanes * vectors)
        return replace(self, strides={**self.strides, "t": step * lanes, "u": apart})

    def after(self, axis: str, count: int) -> Operand:
        """The array behind the first ``count``, whole blocks of them."""
        step = self.strides.get(axis, 0) * count
        if self.block:
            step = count // self.block * self.block_stride
        return replace(self, start=self.start + step)


@dataclass(frozen=True)
class _Next:
    """What is fetched of the next group: from ``offset`` bytes behind ``start`` on, 1 / 2**shift of
    the bytes that have been read of this one from ``start`` on."""

    start: V
    offset: V
    shift: int


@dataclass(frozen=True)
class Contraction:
    """What to compute: the sizes of all axes, and the arrays.

    ``finish`` makes of each sum, and of the elements of ``others`` at its place, what is stored.
    ``part`` cuts a summed axis: (parallel axis, summed axis, size) says that part p sums over the
    places from p * (the summed axis's size in ``sizes``) on that are below ``size``.
    """

    dtype: DType
    sizes: Mapping[str, Dim]
    result: Operand
    a: Operand
    b: Operand
    others: tuple[Operand, ...] = ()
    finish: Finish | None = None
    part: tuple[str, str, Dim] | None = None


def write_contraction(code: NodeCode, what: Contraction, loops: Loops) -> None:
    """Write one launch."""
    counts = tuple(what.sizes[axis] for axis in loops.around)
    with code.stage(product(counts)) as stage:
        writer = _ContractionWriter(code, stage, what, loops)
        with stage.tasks() as task:
            indices = unravel(stage, task, [stage.dim(count) for count in counts])
            point = dict(zip(loops.around, indices))
            writer.begin(point)
            writer.k_blocks(point, loops.blocks)


class _ContractionWriter:
    """Writes the loops of one task."""

    def __init__(self, code: NodeCode, stage: Stage, what: Contraction, loops: Loops) -> None:
        self.stage = stage
        self.what = what
        self.loops = loops
        self.lanes = code.target.lanes(what.dtype.itemsize)
        self.line = code.target.caches.line
        self.sizes = {axis: stage.dim(size) for axis, size in what.sizes.items()}
        self.whole = stage.dim(what.part[2]) if what.part else None
        self.stops: dict[str, V] = {}  # of summed axes that end early in this task
        self.next: _Next | None = None
        self.arrays = (what.a, what.b, what.result, *what.others)
        self.strides = [
            {axis: stage.dim(step) for axis, step in array.strides.items()} for array in self.arrays
        ]
        self.bases = [
            stage.f.at(stage.pointer(array.slot), stage.dim(array.start), array.dtype.itemsize)
            for array in self.arrays
        ]

    def begin(self, point: Indices) -> None:
        """Where the sum of this task ends, if it is a part of one."""
        if self.what.part is None:
            return
        f, (part, axis, _) = self.stage.f, self.what.part
        assert self.whole is not None
        left = f.op("sub", self.whole, f.mul(point[part], self.sizes[axis]))
        self.stops = {axis: f.intrinsic("smin", self.sizes[axis], left)}

    def k_blocks(self, point: Indices, axes: Sequence[tuple[str, int]]) -> None:
        """The summed axes that are gone along in steps, outermost first."""
        if not axes:
            self.within(point, self.loops.within)
            return
        f, ((axis, step), *inner) = self.stage.f, axes
        size, end = self.what.sizes[axis], self.stops.get(axis)
        even = end is None and isinstance(size, int) and size % step == 0
        end = self.sizes[axis] if end is None else end
        with f.loop(end, step=step) as loop:
            left = f.op("sub", end, loop.index)
            self.stops[axis] = i64(step) if even else f.intrinsic("smin", left, i64(step))
            self.k_blocks({**point, axis: loop.index}, inner)

    def within(self, point: Indices, axes: Sequence[str]) -> None:
        """The parallel axes that a task goes along, outermost first."""
        if not axes:
            self.vectors(point)
            return
        axis, *inner = axes
        with self.stage.f.loop(self.sizes[axis]) as loop:
            self.within({**point, axis: loop.index}, inner)

    def vectors(self, point: Indices) -> None:
        """All of the vector axis: whole vectors, then ever narrower ones."""
        axis = self.loops.vector
        for start, end, width in self.vector_runs(axis):
            with self.stage.f.loop(end, start, width) as loop:
                self.tiles({**point, axis: loop.index}, width)

    def vector_runs(self, axis: str) -> list[tuple[V, V, int]]:
        """(start, end, width): whole vectors along an axis, then ever narrower ones."""
        size, f = self.what.sizes[axis], self.stage.f
        if not isinstance(size, int):
            even = f.op("and", self.sizes[axis], V(str(-self.lanes), "i64"))
            return [(i64(0), even, self.lanes), (even, self.sizes[axis], 1)]
        result = []
        start, width = 0, self.lanes
        while start < size:
            while width > size - start:
                width //= 2
            end = start + (size - start) // width * width
            result.append((i64(start), i64(end), width))
            start = end
        return result

    def tiles(self, point: Indices, width: int) -> None:
        """All of the first tiled axis: whole tiles, then what is left."""
        axis, factor = self.loops.tile[0]
        size, f = self.what.sizes[axis], self.stage.f
        rest = [range(count) for _, count in self.loops.tile[1:]]
        if isinstance(size, int):
            even = size // factor * factor
            if even:
                with f.loop(even, step=factor) as loop:
                    self.body({**point, axis: loop.index}, width, [range(factor), *rest])
            if size > even:
                self.body({**point, axis: i64(even)}, width, [range(size - even), *rest])
            return
        # How many are left is known at run time alone: ever smaller tiles.
        start = i64(0)
        while factor:
            tiles = f.op("udiv", f.op("sub", self.sizes[axis], start), i64(factor))
            end = f.add(start, f.mul(tiles, factor))
            with f.loop(end, start, factor) as loop:
                self.body({**point, axis: loop.index}, width, [range(factor), *rest])
            start, factor = end, factor // 2

    def body(self, point: Indices, width: int, tile: Sequence[range]) -> None:
        """One tile: its accumulators, the sum, and the stores."""
        f, dtype = self.stage.f, self.what.dtype
        axes = [axis for axis, _ in self.loops.tile]
        places = [dict(zip(axes, place)) for place in combinations(*tile)]
        starts = [
            f.anchored(self._moved(base, which, point)) for which, base in enumerate(self.bases)
        ]
        self.next = self._next(starts[1], point)
        zeros = [f.broadcast(scalar_constant(0, dtype), width)] * len(places)
        totals = self._sum(0, starts[0], starts[1], zeros, places, width)
        others = range(3, len(self.arrays))
        loaded: Loaded = {}
        for place, total in zip(places, totals):
            values = [self._operand(which, starts[which], place, width, loaded) for which in others]
            if self.what.finish is not None:
                total = self.what.finish(self.stage, width, total, values)
            at = self._moved(starts[2], 2, place)
            if self.loops.blocks:
                total = f.op("fadd", load(self.stage, self.what.result.dtype, at, width), total)
            store(self.stage, self.what.result.dtype, total, at, width)

    def _sum(
        self,
        level: int,
        a: V,
        b: V,
        totals: Sequence[V],
        places: Sequence[dict[str, int]],
        width: int,
    ) -> list[V]:
        if level == len(self.loops.sum):
            return self._multiply(a, b, totals, places, width)
        axis, f = self.loops.sum[level], self.stage.f
        if self.what.sizes[axis] == 1 and axis not in self.stops:
            return self._sum(level + 1, a, b, totals, places, width)

        def run(start: Index, stop: Index, totals: Sequence[V]) -> list[V]:
            with f.loop(stop, start, carry=totals) as loop:
                here = {axis: loop.index}
                below = self._moved(a, 0, here), self._moved(b, 1, here)
                loop.next(*self._sum(level + 1, *below, loop.carried, places, width))
            return list(loop.results)

        stop = self.stops.get(axis, self.sizes[axis])
        block = self.loops.chain(self.what.sizes, level)
        if block is None:
            return run(0, stop, totals)
        zeros = [V("zeroinitializer", total.type) for total in totals]
        with f.loop(stop, step=block, carry=totals) as loop:
            end = f.intrinsic("smin", f.add(loop.index, block), stop)
            parts = run(loop.index, end, zeros)
            loop.next(*(f.op("fadd", *pair) for pair in zip(loop.carried, parts)))
        return list(loop.results)

    def _multiply(
        self, a: V, b: V, totals: Sequence[V], places: Sequence[dict[str, int]], width: int
    ) -> list[V]:
        loaded: Loaded = {}
        if self.what.b.block and width == self.lanes:
            self._fetch(b)
        a, b = self.stage.f.anchored(a), self.stage.f.anchored(b)
        return [
            self.stage.f.fma(
                self._operand(0, a, place, width, loaded),
                self._operand(1, b, place, width, loaded),
                total,
            )
            for place, total in zip(places, totals)
        ]

    def _fetch(self, b: V) -> None:
        """Bring nearer what comes after the block at ``b``."""
        f = self.stage.f
        for line in range(0, self.what.b.block * self.what.b.dtype.itemsize, self.line):
            f.prefetch(b, PREFETCH_BYTES + line)
        if self.next is not None:
            start = self.next.start
            ends = [f.cast("ptrtoint", pointer, "i64") for pointer in (b, start)]
            done = f.op("lshr", f.op("sub", *ends), i64(self.next.shift))
            f.prefetch(start, f.add(self.next.offset, done), level=2)

    def _next(self, b: V, point: Indices) -> _Next | None:
        """What to fetch of the next group while this one is read from ``b`` on."""
        if self.loops.rounds is None or not self.what.b.block:
            return None
        f, (axis, count) = self.stage.f, self.loops.rounds
        shift = count.bit_length() - 1
        tiled, factor = self.loops.tile[0]
        number = f.op("udiv", point[axis], i64(factor)) if axis == tiled else point[axis]
        number = f.op("and", number, i64((1 << shift) - 1))  # in further rounds all is there
        group = f.mul(self.strides[1]["u"], self.what.b.dtype.itemsize)
        part = f.mul(number, f.op("lshr", group, i64(shift)))
        return _Next(b, f.add(group, part), shift)

    def _operand(
        self, which: int, pointer: V, place: Mapping[str, int], width: int, loaded: Loaded
    ) -> V:
        """The elements at a place of the tile, loaded once for all places that share them."""
        array = self.arrays[which]
        key = (which, tuple([(x, i) for x, i in place.items() if array.strides.get(x, 0) != 0]))
        if key not in loaded:
            at = self._moved(pointer, which, place)
            step = self.strides[which].get(self.loops.vector, i64(0))
            loaded[key] = load_strided(self.stage, array.dtype, at, width, step)
        return loaded[key]

    def _moved(self, pointer: V, which: int, place: Mapping[str, Index]) -> V:
        """The address that lies so far from a pointer, along each axis."""
        f, strides = self.stage.f, self.strides[which]
        total = i64(0)
        for axis, index in place.items():
            if axis in strides:
                total = f.add(total, f.mul(index, strides[axis]))
        return f.at(pointer, total, self.arrays[which].dtype.itemsize)
