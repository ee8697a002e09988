"""The loops of a reduction: several accumulators in registers, merged in a fixed order.

An addition waits for the one before it, so that a single accumulator leaves the adders idle; and a
sum of partial sums is more exact than one from left to right (Higham 1993, "The accuracy of
floating point summation"). Which element goes to which accumulator depends on shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from .....ir import DType
from .....ir.dims import ceil_div, product
from .....ir.ops import reduce
from ...schedule.reduction import BLOCK_TERMS, COLUMNS, FEW_TERMS
from ..builder import Function, Index, V, i64
from ..code import COMPUTED, NodeCode, Stage
from ..iteration import Placed, unravel
from ..math.elements import extremum, scalar_constant
from .elementwise import load_strided, store_strided
from .jobs import ReductionJob, VectorRun, vector_runs

# Elements that are loaded once, before the loops that do not move them: by source, place across
# and width.
Fixed = dict[tuple[int, int, int], V]


def identity(op: reduce.Reduction, dtype: DType) -> V:
    """What an empty reduction gives."""
    if isinstance(op, reduce.Sum):
        return scalar_constant(0, dtype)
    if isinstance(op, reduce.Prod):
        return scalar_constant(1, dtype)
    least = isinstance(op, reduce.Max)
    if dtype.is_float:
        return scalar_constant(float("-inf" if least else "inf"), dtype)
    bounds = np.iinfo(dtype.numpy)
    return scalar_constant(int(bounds.min if least else bounds.max), dtype)


def combined(f: Function, op: reduce.Reduction, a: V, b: V, dtype: DType) -> V:
    """Two partial results together."""
    if isinstance(op, reduce.Sum):
        return f.op("fadd" if dtype.is_float else "add", a, b)
    if isinstance(op, reduce.Prod):
        return f.op("fmul" if dtype.is_float else "mul", a, b)
    return extremum(f, "max" if isinstance(op, reduce.Max) else "min", a, b, dtype)


def write_job(code: NodeCode, job: ReductionJob) -> None:
    """Write one launch: a task is one result, or some columns of results."""
    lanes = job.lanes(code)
    if not job.across:
        with code.stage(product(job.kept)) as stage:
            writer = _ReductionWriter(stage, job, lanes)
            sizes = [stage.dim(size) for size in job.kept]
            with stage.tasks() as task:
                writer.open(unravel(stage, task, sizes))
                writer.along()
        return
    columns = job.kept[-1]
    main, rest = job.panels(lanes)
    step = sum(width for _, width in main or rest)
    chunk = max(1, COLUMNS // step) * step
    single = isinstance(columns, int) and columns <= chunk
    chunks = () if single else (ceil_div(columns, chunk),)
    with code.stage(product((*job.kept[:-1], *chunks))) as stage:
        f, writer = stage.f, _ReductionWriter(stage, job, lanes)
        sizes = [stage.dim(size) for size in (*job.kept[:-1], *chunks)]
        begin, end = i64(0), stage.dim(columns)
        whole = even = stage.dim(columns // step * step) if main else i64(0)
        with stage.tasks() as task:
            indices = unravel(stage, task, sizes)
            if chunks:
                begin = f.mul(indices.pop(), chunk)
                end = f.intrinsic("smin", f.add(begin, chunk), end)
                even = f.intrinsic("smin", end, whole)
            writer.open(indices)
            if main:
                with f.loop(even, begin, step) as loop:
                    writer.panel(loop.index, main)
            if rest:
                # What is left behind whole panels belongs to the last chunk.
                count = sum(width for _, width in rest)
                with f.loop(end, whole, count) as loop:
                    writer.panel(loop.index, rest)


@dataclass(frozen=True)
class _Cell:
    """A vector of elements: how far along the last summed axis it lies, and along the last kept
    one; the accumulator it goes to; how many elements it holds."""

    down: int
    over: int
    total: int
    width: int


@dataclass(frozen=True)
class _Sweep:
    """Part of the last summed axis, in steps, and what is added in each."""

    start: Index
    stop: Index
    step: int
    cells: Sequence[_Cell]


class _ReductionWriter:
    """Writes the loops of one task."""

    def __init__(self, stage: Stage, job: ReductionJob, lanes: int) -> None:
        self.stage, self.job, self.lanes = stage, job, lanes
        self.sides = (*job.sources, job.result, *job.others)
        self.bases = [stage.base(side.access) for side in self.sides]
        self.kept = [[stage.dim(step) for step in side.kept] for side in self.sides]
        self.summed = [[stage.dim(step) for step in side.summed] for side in job.sources]
        self.lengths = [stage.dim(size) for size in job.summed]
        self.end = stage.dim(job.end)
        self.at = self.bases
        self.stops = self.lengths

    def open(self, indices: Sequence[V]) -> None:
        """Go to a place on the kept axes, the first ones where there are fewer indices."""
        f, job = self.stage.f, self.job
        self.at = [
            Placed(f, side.access.dtype, base, steps).at(*indices)
            for base, steps, side in zip(self.bases, self.kept, self.sides)
        ]
        if job.part is not None:
            left = f.op("sub", self.end, f.mul(indices[job.part], self.lengths[0]))
            self.stops = [f.intrinsic("smin", self.lengths[0], left), *self.lengths[1:]]

    def panel(self, column: V, pieces: Sequence[VectorRun]) -> None:
        """Reduce columns that lie side by side, each vector of them to one of results."""
        f, length, count = self.stage.f, self._length(), len(pieces)
        rows = self.job.rows(count)
        rows = rows if length is None else max(1, min(rows, length))

        def cells(rows: int) -> list[_Cell]:
            return [
                _Cell(row, over, row * count + place, width)
                for row in range(rows)
                for place, (over, width) in enumerate(pieces)
            ]

        whole = self._whole(rows)
        sweeps = [_Sweep(0, whole, rows, cells(rows))]
        if length is None:
            sweeps.append(_Sweep(whole, self.stops[-1], 1, cells(1)))
        elif left := length % rows:
            sweeps.append(_Sweep(whole, length, left, cells(left)))
        at = [
            f.at(pointer, f.mul(column, steps[-1]), side.access.dtype.itemsize)
            for pointer, steps, side in zip(self.at, self.kept, self.sides)
        ]
        totals = self._reduce(at, [width for _, width in pieces] * rows, sweeps)
        for place, (over, width) in enumerate(pieces):
            self._finish(self._merge(totals[place::count]), at, over, width)

    def along(self) -> None:
        """Reduce to one result, in vectors that are merged at the end."""
        lanes, length = self.lanes, self._length()
        rows = self.job.accumulators
        rows = rows if length is None else min(rows, length // lanes)
        main = [_Cell(row * lanes, 0, row, lanes) for row in range(rows)]
        sweeps = []
        if length is None:
            whole, even = self._whole(rows * lanes), self._whole(lanes)
            sweeps.append(_Sweep(0, whole, rows * lanes, main))
            sweeps.append(_Sweep(whole, even, lanes, main[:1]))
            narrow = [1]
            sweeps.append(_Sweep(even, self.stops[-1], 1, [_Cell(0, 0, rows, 1)]))
        else:
            left = length % (rows * lanes) if rows else length
            whole = length - left
            if rows:
                sweeps.append(_Sweep(0, whole, rows * lanes, main))
            pieces = list(vector_runs(left, lanes))
            narrow = [width for _, width in pieces if width < lanes] or [1] * (not rows)
            full = len(pieces) - len(narrow)
            cells = [
                _Cell(first, 0, place if width == lanes else rows + place - full, width)
                for place, (first, width) in enumerate(pieces)
            ]
            if left:
                sweeps.append(_Sweep(whole, length, left, cells))
        totals = self._reduce(self.at, [*[lanes] * rows, *narrow], sweeps)
        found = dict(zip(narrow, totals[rows:]))
        self._finish(self._across_lanes(self._merge(totals[:rows]), found), self.at, 0, 1)

    # ---- loops ---------------------------------------------------------------------------------

    def _length(self) -> int | None:
        """The size of the last summed axis, where it is known and the same for all tasks."""
        size = self.job.summed[-1]
        cut = self.job.part is not None and len(self.job.summed) == 1
        return size if isinstance(size, int) and not cut else None

    def _whole(self, step: int) -> Index:
        """The last summed axis as far as whole steps go."""
        length = self._length()
        if length is not None:
            return length - length % step
        return self.stage.f.op("and", self.stops[-1], V(str(-step), "i64"))

    def _reduce(self, at: Sequence[V], widths: Sequence[int], sweeps: Sequence[_Sweep]) -> list[V]:
        """All summed axes: the last values of accumulators of these widths."""
        start = identity(self.job.op, self.job.dtype)
        totals = [self.stage.f.broadcast(start, width) for width in widths]
        return self._level(0, at[: len(self.summed)], {}, totals, sweeps)

    def _level(
        self,
        axis: int,
        at: Sequence[V],
        fixed: Fixed,
        totals: Sequence[V],
        sweeps: Sequence[_Sweep],
    ) -> list[V]:
        f = self.stage.f
        fixed = {**fixed, **self._fixed(axis, at, fixed, sweeps)}
        if axis == len(self.stops) - 1:
            for sweep in sweeps:
                totals = self._sweep(sweep, at, fixed, totals)
            return list(totals)
        inside = product(self.job.summed[axis + 1 :])
        few = isinstance(inside, int) and inside < FEW_TERMS * sweeps[0].step
        with f.loop(self.stops[axis], carry=totals) as loop:
            below = self._below(axis, at, loop.index)

            def add(totals: Sequence[V]) -> list[V]:
                return self._level(axis + 1, below, fixed, totals, sweeps)

            loop.next(*(add(loop.carried) if few else self._apart(loop.carried, add)))
        return list(loop.results)

    def _apart(self, totals: Sequence[V], add: Callable[[Sequence[V]], list[V]]) -> list[V]:
        """Add in accumulators of their own first: rounding grows with the terms of each."""
        if not (isinstance(self.job.op, reduce.Sum) and self.job.dtype.is_float):
            return add(totals)
        own = add([V("zeroinitializer", total.type) for total in totals])
        return [self._combine(total, more) for total, more in zip(totals, own)]

    def _below(self, axis: int, at: Sequence[V], index: Index) -> list[V]:
        """Where the sources lie at an index of a summed axis."""
        f = self.stage.f
        return [
            f.at(pointer, f.mul(index, steps[axis]), side.access.dtype.itemsize)
            for pointer, steps, side in zip(at, self.summed, self.job.sources)
        ]

    def _sweep(self, sweep: _Sweep, at: Sequence[V], fixed: Fixed, totals: Sequence[V]) -> list[V]:
        f, axis = self.stage.f, len(self.stops) - 1
        if isinstance(sweep.start, int) and sweep.stop == sweep.start + sweep.step:
            below = self._below(axis, at, sweep.start)
            return self._add(sweep.cells, below, fixed, totals)

        def add(start: Index, stop: Index, totals: Sequence[V]) -> list[V]:
            with f.loop(stop, start, sweep.step, totals) as loop:
                below = self._below(axis, at, loop.index)
                loop.next(*self._add(sweep.cells, below, fixed, loop.carried))
            return list(loop.results)

        block = BLOCK_TERMS * sweep.step
        if sweep.start != 0 or (isinstance(sweep.stop, int) and sweep.stop <= block):
            return add(sweep.start, sweep.stop, totals)
        stop = i64(sweep.stop) if isinstance(sweep.stop, int) else sweep.stop
        with f.loop(stop, 0, block, totals) as loop:
            end = f.intrinsic("smin", f.add(loop.index, block), stop)
            loop.next(*self._apart(loop.carried, partial(add, loop.index, end)))
        return list(loop.results)

    def _add(
        self, cells: Sequence[_Cell], at: Sequence[V], fixed: Fixed, totals: Sequence[V]
    ) -> list[V]:
        """Add each vector of elements to its accumulator."""
        totals = list(totals)
        for cell in cells:
            values = []
            for which, pointer in enumerate(at):
                known = fixed.get((which, cell.over, cell.width))
                values.append(self._load(which, pointer, cell) if known is None else known)
            value = self.job.compute(self.stage, cell.width, values)
            totals[cell.total] = self._combine(totals[cell.total], value)
        return totals

    def _fixed(self, axis: int, at: Sequence[V], known: Fixed, sweeps: Sequence[_Sweep]) -> Fixed:
        """What the summed axes from here on do not move."""
        found: Fixed = {}
        for which, (steps, pointer) in enumerate(zip(self.summed, at)):
            if any(step.text != "0" for step in steps[axis:]):
                continue
            for cell in (cell for sweep in sweeps for cell in sweep.cells):
                key = (which, cell.over, cell.width)
                if key not in known and key not in found:
                    found[key] = self._load(which, pointer, cell)
        return found

    def _load(self, which: int, pointer: V, cell: _Cell) -> V:
        f, dtype = self.stage.f, self.job.sources[which].access.dtype
        down, over = self.summed[which][-1], self.kept[which][-1] if self.job.across else i64(0)
        moved = f.add(f.mul(down, cell.down), f.mul(over, cell.over))
        step = over if self.job.across else down
        return load_strided(
            self.stage, dtype, f.at(pointer, moved, dtype.itemsize), cell.width, step
        )

    # ---- results -------------------------------------------------------------------------------

    def _combine(self, a: V, b: V) -> V:
        """Two partial results together."""
        return combined(self.stage.f, self.job.op, a, b, self.job.dtype)

    def _merge(self, totals: Sequence[V]) -> V | None:
        """Accumulators of one width together, neighbours first; None for none."""
        while len(totals) > 1:
            pairs = [self._combine(a, b) for a, b in zip(totals[::2], totals[1::2])]
            totals = [*pairs, *totals[2 * len(pairs) :]]
        return totals[0] if totals else None

    def _across_lanes(self, total: V | None, narrow: Mapping[int, V]) -> V:
        """The lanes of a vector together, halves first, with narrower vectors on the way."""
        width = self.lanes
        while True:
            if width in narrow:
                total = narrow[width] if total is None else self._combine(total, narrow[width])
            if width == 1:
                assert total is not None
                return total
            width //= 2
            if total is not None:
                total = self._combine(self._half(total, 0, width), self._half(total, width, width))

    def _half(self, value: V, first: int, width: int) -> V:
        f = self.stage.f
        if width == 1:
            return f.value(f"extractelement {value}, i64 {first}", COMPUTED[self.job.dtype])
        return f.shuffle(value, V("poison", value.type), range(first, first + width))

    def _finish(self, total: V | None, at: Sequence[V], over: int, width: int) -> None:
        """Store one vector of results."""
        stage, f, job = self.stage, self.stage.f, self.job
        assert total is not None
        places = []
        for steps, pointer, side in list(zip(self.kept, at, self.sides))[len(job.sources) :]:
            step = steps[-1] if job.across else i64(0)
            where = f.at(pointer, f.mul(step, over), side.access.dtype.itemsize)
            places.append((side.access.dtype, where, step))
        (dtype, target, apart), *others = places
        if job.finish is not None:
            values = [load_strided(stage, d, where, width, step) for d, where, step in others]
            total = job.finish(stage, width, total, values)
        store_strided(stage, dtype, total, target, width, apart)
