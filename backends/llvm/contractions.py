"""Sums of products over any axes: the one emitter behind convolution, its backward ops, matrix
products and linear layers.

``result[p] = sum over r of a[p, r] * b[p, r]``, where every array is addressed by a stride for each
axis. A plan says which axis lies across the lanes of a vector, which axes are unrolled into a tile
of accumulators in registers, and in what order the sum runs. At least ten independent accumulators
keep the multipliers busy; more than the registers hold spill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product as combinations

from ...ir import Dim, DType
from ...ir.dims import product
from .code import COMPUTED, NodeCode, Stage
from .elements import scalar_constant
from .emitter import V, i64
from .maps import load, store
from .spaces import unravel

Strides = Mapping[str, Dim]
Point = dict[str, V]


@dataclass(frozen=True)
class Operand:
    """An array over the axes of a contraction; an axis without a stride does not move it."""

    slot: int
    strides: Strides
    start: Dim = 0


@dataclass(frozen=True)
class Plan:
    """How a contraction runs.

    Attributes:
        vector: the axis across the lanes: stride 1 in the result, 0 or 1 in the operands; None
            for one element at a time.
        tile: axes unrolled into accumulators, with how many; the first is looped over within a
            task, the factors of the others divide their sizes.
        sum: the summed axes, outermost first.
        across: the summed axis that lies across the lanes, where no parallel one does: each lane
            sums a part, and the lanes are added at the end, in order.
    """

    vector: str | None
    tile: tuple[tuple[str, int], ...]
    sum: tuple[str, ...]
    across: str | None = None


@dataclass(frozen=True)
class Contraction:
    """What to compute: sizes of all axes, the parallel ones in order, and the three arrays."""

    dtype: DType
    sizes: Mapping[str, Dim]
    parallel: tuple[str, ...]
    result: Operand
    a: Operand
    b: Operand


def divisor(size: Dim, most: int) -> int:
    """The greatest factor of a known ``size`` that is at most ``most``; 1 for an unknown one."""
    if not isinstance(size, int):
        return 1
    return max(factor for factor in range(1, most + 1) if size % factor == 0)


def write_contraction(code: NodeCode, what: Contraction, plan: Plan) -> None:
    """Write one launch."""
    inner = plan.tile[0][0]
    steps = dict(plan.tile[1:])
    around = [axis for axis in what.parallel if axis not in (plan.vector, inner)]
    counts = [what.sizes[axis] // steps.get(axis, 1) for axis in around]
    with code.stage(product(tuple(counts))) as stage:
        writer = _Writer(code, stage, what, plan)
        with stage.tasks() as task:
            indices = unravel(stage, task, [stage.dim(count) for count in counts])
            point = {
                axis: stage.f.mul(index, steps.get(axis, 1)) for axis, index in zip(around, indices)
            }
            writer.blocks(point)


class _Writer:
    """Writes the loops of one task."""

    def __init__(self, code: NodeCode, stage: Stage, what: Contraction, plan: Plan) -> None:
        self.stage = stage
        self.what = what
        self.plan = plan
        wide = plan.vector or plan.across
        self.lanes = code.target.lanes(what.dtype.itemsize) if wide else 1
        self.item = what.dtype.itemsize
        self.sizes = {axis: stage.dim(size) for axis, size in what.sizes.items()}
        self.arrays = (what.a, what.b, what.result)
        self.piece = (i64(0), i64(0), 1)  # of the axis across the lanes, while it is summed
        self.strides = [
            {axis: stage.dim(step) for axis, step in array.strides.items()} for array in self.arrays
        ]
        self.bases = [
            stage.f.at(stage.pointer(array.slot), stage.dim(array.start), self.item)
            for array in self.arrays
        ]

    def blocks(self, point: Point) -> None:
        """All of the vector axis: whole vectors, then ever narrower ones."""
        axis = self.plan.vector
        if axis is None:
            self.tiles(point, 1)
            return
        for start, end, width in self.pieces(axis):
            with self.stage.f.loop(end, start, width) as loop:
                self.tiles({**point, axis: loop.index}, width)

    def pieces(self, axis: str) -> list[tuple[V, V, int]]:
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

    def tiles(self, point: Point, width: int) -> None:
        """All of the first tiled axis: whole tiles, then what is left."""
        axis, factor = self.plan.tile[0]
        size, f = self.what.sizes[axis], self.stage.f
        rest = [range(count) for _, count in self.plan.tile[1:]]
        if isinstance(size, int):
            even = size // factor * factor
            if even:
                with f.loop(even, step=factor) as loop:
                    self.body({**point, axis: loop.index}, width, [range(factor), *rest])
            if size > even:
                self.body({**point, axis: i64(even)}, width, [range(size - even), *rest])
            return
        with f.loop(self.sizes[axis]) as loop:
            self.body({**point, axis: loop.index}, width, [range(1), *rest])

    def body(self, point: Point, width: int, tile: Sequence[range]) -> None:
        """One tile: its accumulators, the sum, and the stores."""
        f, dtype = self.stage.f, self.what.dtype
        axes = [axis for axis, _ in self.plan.tile]
        places = [dict(zip(axes, place)) for place in combinations(*tile)]
        starts = [
            f.at(base, self._offset(strides, point), self.item)
            for base, strides in zip(self.bases, self.strides)
        ]
        zero = scalar_constant(0, dtype)
        if self.plan.across is None:
            zeros = [f.broadcast(zero, width)] * len(places)
            totals = self._sum(0, starts[0], starts[1], zeros, places, width)
        else:
            totals = [zero] * len(places)
            for start, end, lanes in self.pieces(self.plan.across):
                self.piece = (start, end, lanes)
                zeros = [f.broadcast(zero, lanes)] * len(places)
                parts = self._sum(0, starts[0], starts[1], zeros, places, lanes)
                totals = [self._add_lanes(t, part, lanes) for t, part in zip(totals, parts)]
        for place, total in zip(places, totals):
            at = self._moved(starts[2], 2, place)
            store(self.stage, dtype, total, at, width)

    def _sum(
        self,
        level: int,
        a: V,
        b: V,
        totals: Sequence[V],
        places: Sequence[dict[str, int]],
        width: int,
    ) -> list[V]:
        if level == len(self.plan.sum):
            return self._multiply(a, b, totals, places, width)
        axis, f = self.plan.sum[level], self.stage.f
        if self.what.sizes[axis] == 1:
            return self._sum(level + 1, a, b, totals, places, width)
        whole = (i64(0), self.sizes[axis], 1)
        start, end, step = self.piece if axis == self.plan.across else whole
        with f.loop(end, start, step, carry=totals) as loop:
            at = [
                f.at(pointer, f.mul(loop.index, strides.get(axis, i64(0))), self.item)
                for pointer, strides in zip((a, b), self.strides)
            ]
            loop.next(*self._sum(level + 1, at[0], at[1], loop.carried, places, width))
        return list(loop.results)

    def _multiply(
        self, a: V, b: V, totals: Sequence[V], places: Sequence[dict[str, int]], width: int
    ) -> list[V]:
        loaded: dict[tuple[int, tuple[tuple[str, int], ...]], V] = {}

        def operand(which: int, pointer: V, place: dict[str, int]) -> V:
            strides = self.arrays[which].strides
            key = (which, tuple((x, i) for x, i in place.items() if strides.get(x, 0) != 0))
            if key not in loaded:
                at = self._moved(pointer, which, place)
                loaded[key] = self._load(at, which, width)
            return loaded[key]

        return [
            self.stage.f.fma(operand(0, a, place), operand(1, b, place), total)
            for place, total in zip(places, totals)
        ]

    def _load(self, at: V, which: int, width: int) -> V:
        """``width`` elements along the vector axis."""
        f, dtype = self.stage.f, self.what.dtype
        vector = self.plan.vector or self.plan.across
        step: Dim = self.arrays[which].strides.get(vector, 0) if vector else 0
        if width == 1 or step == 1:
            return load(self.stage, dtype, at, width)
        if step == 0:
            return f.broadcast(load(self.stage, dtype, at, 1), width)
        apart = self.strides[which][vector] if vector else i64(0)
        kind = f"<{width} x {COMPUTED[dtype]}>"
        value = V("poison", kind)
        for lane in range(width):
            one = load(self.stage, dtype, f.at(at, f.mul(apart, lane), self.item), 1)
            value = f.value(f"insertelement {value}, {one}, i64 {lane}", kind)
        return value

    def _add_lanes(self, total: V, part: V, width: int) -> V:
        f, kind = self.stage.f, COMPUTED[self.what.dtype]
        if width == 1:
            return f.op("fadd", total, part)
        # Halves are added to halves: a fixed order, and a short one.
        while width > 1:
            width //= 2
            low, high = (
                f.value(
                    f"shufflevector {part}, {part.type} poison, <{width} x i32> "
                    f"<{', '.join(f'i32 {first + lane}' for lane in range(width))}>",
                    f"<{width} x {kind}>",
                )
                for first in (0, width)
            )
            part = f.op("fadd", low, high)
        return f.op("fadd", total, f.value(f"extractelement {part}, i64 0", kind))

    def _moved(self, pointer: V, which: int, place: Mapping[str, int]) -> V:
        f = self.stage.f
        total = i64(0)
        for axis, index in place.items():
            step = self.strides[which].get(axis)
            if step is not None:
                total = f.add(total, f.mul(step, index))
        return f.at(pointer, total, self.item)

    def _offset(self, strides: Mapping[str, V], point: Point) -> V:
        f = self.stage.f
        total = i64(0)
        for axis, index in point.items():
            if axis in strides:
                total = f.add(total, f.mul(index, strides[axis]))
        return total
