"""Tables for resizing: along one axis, which places are read from each place, with what weights.

They are computed anew in each call, by one thread, since sizes may be known only then. Coordinates
are float32 and weights float64 before they are rounded, operation by operation as
``ir/ops/resize.py`` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from .....ir import Dim, DType
from .....ir.ops.resize import HALF, REACH, Resampling
from ..builder import Index, V, floating, i64
from ..code import NodeCode, Stage
from ..math.formulas import Num

_WORD = 8


@dataclass(frozen=True)
class Table:
    """Where each place along an axis reads, in memory of the node's own.

    Attributes:
        places: how many places have entries.
        taps: how many entries each has, one behind the other.
        reads: the buffer of the bytes from the first place that is read to each.
        weights: the buffer of their weights; None where each counts once.
        dtype: of the weights.
        ends: the buffer of where the entries of each place end; they begin where those before it
            end, or with ``taps`` at a fixed distance. None where all entries count.
        packed: whether entries lie without gaps, place after place.
        inside: the buffer that says, by 1 and 0, which places lie inside; None where all do.
    """

    places: Dim
    taps: Dim
    reads: int
    weights: int | None
    dtype: DType
    ends: int | None
    packed: bool = False
    inside: int | None = None

    def at(self, stage: Stage) -> Reader:
        """The table within a launch; ask for it outside of loops."""
        slots = (self.reads, self.weights, self.ends, self.inside)
        return Reader(
            stage,
            self,
            stage.dim(self.taps),
            *(None if slot is None else stage.pointer(slot) for slot in slots),
        )


@dataclass(frozen=True)
class Reader:
    """A table in a launch: its number of taps, and the pointers to its buffers."""

    stage: Stage
    table: Table
    taps: V
    reads: V | None
    weights: V | None
    ends: V | None
    inside: V | None

    def span(self, place: V) -> tuple[V, V]:
        """The entries of a place: the first, and the one after the last."""
        f = self.stage.f
        first = f.mul(place, self.taps)
        if self.ends is None:
            return first, f.add(first, self.taps)
        end = f.load(f.at(self.ends, f.add(place, int(self.table.packed)), _WORD), "i64", _WORD)
        if self.table.packed:
            first = f.load(f.at(self.ends, place, _WORD), "i64", _WORD)
        return first, end

    def entry(self, number: V) -> tuple[V, V | None]:
        """The bytes to what an entry reads, and its weight."""
        f = self.stage.f
        assert self.reads is not None
        read = f.load(f.at(self.reads, number, _WORD), "i64", _WORD)
        if self.weights is None:
            return read, None
        size = self.table.dtype.itemsize
        return read, f.load(f.at(self.weights, number, size), _kind(self.table.dtype), size)

    def is_inside(self, place: V) -> V | None:
        """Whether a place lies inside; None where all do."""
        if self.inside is None:
            return None
        f = self.stage.f
        return f.compare("icmp ne", f.load(f.at(self.inside, place, _WORD), "i64", _WORD), i64(0))


def _kind(dtype: DType) -> str:
    return "double" if dtype is DType.F64 else "float"


@dataclass(frozen=True)
class ResizedAxis:
    """An axis that is resized from ``length`` to ``resized`` places.

    Attributes:
        op: the op, which has the axis at ``place``.
        dtype: of the weights.
        step: the bytes from one place to the next, in the array that is read.
    """

    op: Resampling
    place: int
    length: Dim
    resized: Dim
    dtype: DType
    step: Dim

    @property
    def crops(self) -> bool:
        """Whether some places may lie outside."""
        return self.op.coordinate_transformation_mode == "tf_crop_and_resize"

    def table(self, code: NodeCode, transposed: bool = False) -> Table:
        """Memory for what each place of the result reads; ``transposed`` says that the table is but
        a step to one transposed, which wants numbers of places and the ends of their entries."""
        taps = self.op.taps(self.place, self.length, self.resized)
        entries = self.resized * taps
        weighted, ends = self.op.mode != "nearest", transposed or self.op.antialias
        return Table(
            self.resized,
            taps,
            code.scratch(entries * _WORD),
            code.scratch(entries * self.dtype.itemsize) if weighted else None,
            self.dtype,
            code.scratch(self.resized * _WORD) if ends else None,
            inside=code.scratch(self.resized * _WORD) if self.crops and not transposed else None,
        )

    def transposed(self, code: NodeCode, forward: Table) -> Table:
        """Memory for which places of the result read each place."""
        entries = self.resized * forward.taps
        return Table(
            self.length,
            0,
            code.scratch(entries * _WORD),
            None if forward.weights is None else code.scratch(entries * self.dtype.itemsize),
            self.dtype,
            code.scratch((self.length + 1) * _WORD),
            packed=True,
        )


def write_tables(
    code: NodeCode, axes: Mapping[int, ResizedAxis], transposed: bool = False
) -> dict[int, Table]:
    """Write one launch, of one task, that fills a table for each axis: of what each place of the
    result reads, or transposed of which places of the result read each place."""
    if not axes:
        return {}
    forward = {number: axis.table(code, transposed) for number, axis in axes.items()}
    reverse = {n: axis.transposed(code, forward[n]) for n, axis in axes.items() if transposed}
    entries = sum((table.places * table.taps for table in forward.values()), start=0)
    with code.stage(1, entries) as stage:
        work: list[Callable[[], None]] = []
        for number, axis in axes.items():
            step = i64(1) if transposed else stage.dim(axis.step)
            work.append(partial(_Line(stage, axis).write, forward[number].at(stage), step))
            if transposed:
                tables = forward[number].at(stage), reverse[number].at(stage)
                sizes = (stage.dim(size) for size in (axis.length, axis.resized, axis.step))
                work.append(partial(_transpose, *tables, *sizes))
        with stage.tasks():
            for write in work:
                write()
    return reverse if transposed else forward


class _Line:
    """The axis in the launch that writes its table."""

    def __init__(self, stage: Stage, axis: ResizedAxis) -> None:
        f, self.f, self.op, self.axis = stage.f, stage.f, axis.op, axis
        self.stage, self.reach = stage, float(REACH[axis.op.mode])
        self.length, self.resized = stage.dim(axis.length), stage.dim(axis.resized)
        before, after = self._float(self.length), self._float(self.resized)
        self.before, self.after = before, after
        self.many = f.compare("icmp sgt", self.resized, i64(1))
        if axis.op.scales is None:
            self.scale = after / before
        else:
            self.scale = self._constant(axis.op.scales[axis.place])
        one = Num(f, floating(1, "double"))
        wide = self.scale.cast("fpext", "double")
        self.shrink = (wide < 1).select(wide, one) if axis.op.antialias else one

    def _float(self, value: V) -> Num:
        return Num(self.f, self.f.cast("sitofp", value, "float"))

    def _double(self, value: V) -> Num:
        return Num(self.f, self.f.cast("sitofp", value, "double"))

    def _constant(self, value: float) -> Num:
        return Num(self.f, floating(value, "float"))

    # ---- as ir/ops/resize.py has it ------------------------------------------------------------

    def coordinate(self, place: V) -> Num:
        """x(o)."""
        at, mode = self._float(place), self.op.coordinate_transformation_mode
        last, end = self.before - 1, self.after - 1
        if mode == "align_corners":
            return self._where_many(at * last / end, 0)
        if mode == "asymmetric":
            return at / self.scale
        if mode == "tf_crop_and_resize":
            start, stop = self.op.crop(self.axis.place)
            size = float(stop - start)
            middle = self._constant(float((start + stop) * start.dtype.type(0.5)))
            steps = self._constant(float(start)) * last + at * size * last / end
            return self._where_many(steps, middle * last)
        x = (at + 0.5) / self.scale
        if mode == "half_pixel_symmetric":
            adjustment = self.after / (self.scale * self.before)
            x = self.before / 2 * (self._constant(1) - adjustment) + x
        x = x - 0.5
        return self._where_many(x, 0) if mode == "pytorch_half_pixel" else x

    def _where_many(self, x: Num, otherwise: Num | float) -> Num:
        """x where there are several places, else another number."""
        other = otherwise if isinstance(otherwise, Num) else x.full(otherwise)
        return Num(self.f, self.f.select(self.many, x.v, other.v))

    def below(self, x: Num) -> V:
        """The greatest whole number that is no greater."""
        f = self.f
        whole = f.saturate("fptosi", x.v, "i64")
        above = Num(f, f.cast("sitofp", whole, x.kind)) > x
        return f.select(above.v, f.add(whole, -1), whole)

    def nearest(self, x: Num) -> V:
        """The nearest whole number, by ``nearest_mode``."""
        f, below = self.f, self.below(x)
        over, mode = x - self._float(below), self.op.nearest_mode
        if mode == "floor":
            return below
        if mode == "ceil":
            up = over > 0
        else:
            up = over > 0.5 + HALF if mode == "round_prefer_floor" else over >= 0.5 - HALF
        return f.select(up.v, f.add(below, 1), below)

    def kernel(self, distance: Num) -> Num:
        """The weight at a distance."""
        d, a = distance.abs(), self.op.cubic_coeff_a
        zero = d.full(0)
        if self.op.mode == "linear":
            left = d.full(1) - d
            return (left > 0).select(left, zero)
        near = ((d * (a + 2)) - (a + 3)) * d * d + 1
        far = ((d * a - 5 * a) * d + 8 * a) * d - 4 * a
        return (d > 1).select((d < 2).select(far, zero), near)

    # ---- the table -----------------------------------------------------------------------------

    def write(self, reader: Reader, step: V) -> None:
        """Fill a table."""
        f = self.f
        with f.loop(self.resized) as loop:
            place, x = loop.index, self.coordinate(loop.index)
            first, inside = f.mul(place, reader.taps), None
            if self.axis.crops:
                inside = f.op("and", (x >= 0).v, f.compare("fcmp ole", x.v, (self.before - 1).v))
            if reader.weights is None:
                self._store(reader, first, self.nearest(x), step, None)
                last = f.add(first, 1)
            else:
                last = self._weigh(reader, first, x.cast("fpext", "double"), step)
            if reader.ends is not None:
                end = last if inside is None else f.select(inside, last, first)
                f.store(end, f.at(reader.ends, place, _WORD), _WORD)
            if reader.inside is not None and inside is not None:
                known = f.cast("zext", inside, "i64")
                f.store(known, f.at(reader.inside, place, _WORD), _WORD)

    def _weigh(self, reader: Reader, first: V, x: Num, step: V) -> V:
        """Write the entries of a place, from ``first`` on; gives where those that count end."""
        f = self.f
        start = f.add(self.below(x - x.full(self.reach) / self.shrink), 1)
        with f.loop(reader.taps, carry=[x.full(0).v, first]) as loop:
            position = f.add(start, loop.index)
            distance, weight = self._weight(position, x)
            counts, end = distance.abs() < self.reach, f.add(f.add(first, loop.index), 1)
            total = Num(f, loop.carried[0]) + weight
            loop.next(total.v, f.select(counts.v, end, loop.carried[1]))
        total, last = Num(f, loop.results[0]), loop.results[1]
        with f.loop(reader.taps) as loop:
            position = f.add(start, loop.index)
            _, weight = self._weight(position, x)
            self._store(reader, f.add(first, loop.index), position, step, weight / total)
        return last if self.op.antialias else f.add(first, reader.taps)

    def _weight(self, position: V, x: Num) -> tuple[Num, Num]:
        """How far a position lies from x, in units of the kernel, and its weight before scaling."""
        f = self.f
        distance = (self._double(position) - x) * self.shrink
        weight = self.kernel(distance)
        if self.op.exclude_outside:
            inside = f.op(
                "and",
                f.compare("icmp sge", position, i64(0)),
                f.compare("icmp slt", position, self.length),
            )
            weight = Num(f, inside).select(weight, weight.full(0))
        return distance, weight

    def _store(self, reader: Reader, entry: V, position: V, step: V, weight: Num | None) -> None:
        f = self.f
        held = f.intrinsic("smax", position, i64(0))
        held = f.intrinsic("smin", held, f.add(self.length, -1))
        assert reader.reads is not None
        f.store(f.mul(held, step), f.at(reader.reads, entry, _WORD), _WORD)
        if weight is not None and reader.weights is not None:
            kind, size = _kind(reader.table.dtype), reader.table.dtype.itemsize
            rounded = weight if kind == "double" else weight.cast("fptrunc", kind)
            f.store(rounded.v, f.at(reader.weights, entry, size), size)


def _transpose(old: Reader, new: Reader, length: V, resized: V, step: V) -> None:
    """Sort the entries of a table, each with the place that has it, by the place that it reads.

    ``ends`` has one number more than there are places. Each counts the entries of the place
    before it, then says where they begin, and at last where they end.
    """
    f = old.stage.f
    assert new.reads is not None and new.ends is not None
    ends = new.ends

    def behind(place: Index) -> V:
        return f.at(ends, f.add(place, 1), _WORD)

    with f.loop(f.add(length, 1)) as loop:
        f.store(i64(0), f.at(ends, loop.index, _WORD), _WORD)
    with f.loop(resized) as loop, f.loop(*old.span(loop.index)[::-1]) as entry:
        at = behind(old.entry(entry.index)[0])
        f.store(f.add(f.load(at, "i64", _WORD), 1), at, _WORD)
    with f.loop(length, carry=[i64(0)]) as loop:
        at = behind(loop.index)
        count = f.load(at, "i64", _WORD)
        f.store(loop.carried[0], at, _WORD)
        loop.next(f.add(loop.carried[0], count))
    with f.loop(resized) as loop:
        read = f.mul(loop.index, step)
        with f.loop(*old.span(loop.index)[::-1]) as entry:
            place, weight = old.entry(entry.index)
            at = behind(place)
            free = f.load(at, "i64", _WORD)
            f.store(read, f.at(new.reads, free, _WORD), _WORD)
            if weight is not None and new.weights is not None:
                size = new.table.dtype.itemsize
                f.store(weight, f.at(new.weights, free, size), size)
            f.store(f.add(free, 1), at, _WORD)
