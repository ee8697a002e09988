"""Resizing: each place of the result gathers what the tables of its axes say, and so its transpose.

The result is gone through in the order of its memory. Where that ends in an axis that stays as it
is, the channels of an image, what is read and written lies side by side, in vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .....ir import DType, TensorType
from .....ir.dims import product
from .....ir.ops.resize import Resampling, Resize, ResizeBackward
from ...registry import FollowingFacts, Types
from ..builder import V, i64
from ..code import NodeCode, Stage, emits
from ..iteration import unravel
from ..math.elements import scalar_constant
from .elementwise import load, store
from .resize_tables import Reader, ResizedAxis, Table, write_tables
from .windows import Stretch, stretches


class _Resizing(FollowingFacts):
    writes_part = True

    def by_image(
        self, op: Resampling, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return all(of_images) and 0 not in op.axes_of(result.rank)


@emits(Resize, facts=_Resizing())
def resize(code: NodeCode) -> None:
    """Neighbours copied, or summed with their weights."""
    op = code.op(Resize)
    (x,), (y,), step = code.operand_types, code.result_types, code.operand_access(0).strides
    item, axes, repeats = x.dtype.itemsize, {}, {}
    for place, axis in enumerate(op.axes_of(x.rank)):
        length, resized = x.shape[axis], y.shape[axis]
        times = op.repeats(place, length, resized)
        if times is None:
            axes[axis] = ResizedAxis(op, place, length, resized, _weights(x), step[axis] * item)
        else:
            repeats[axis] = times
    _write_gather(code, write_tables(code, axes), repeats, op.extrapolation_value)


@emits(ResizeBackward, facts=_Resizing())
def resize_backward(code: NodeCode) -> None:
    """For each place, the sum over those that read it."""
    op = code.op(ResizeBackward)
    (dy,), (dx,), step = code.operand_types, code.result_types, code.operand_access(0).strides
    item = dy.dtype.itemsize
    axes = {
        axis: ResizedAxis(
            op, place, dx.shape[axis], dy.shape[axis], _weights(dy), step[axis] * item
        )
        for place, axis in enumerate(op.axes_of(dy.rank))
    }
    _write_gather(code, write_tables(code, axes, transposed=True), {}, 0)


def _weights(x: TensorType) -> DType:
    """The dtype of weights: what elements are computed in."""
    return DType.F64 if x.dtype is DType.F64 else DType.F32


@dataclass(frozen=True)
class _Span:
    """What is read along one axis: entries one by one, or a stretch of its table.

    Attributes:
        entries: offsets in bytes, with weights; None where a loop goes over them.
        reader, bounds: the table, and the first entry and the one after the last.
    """

    entries: tuple[tuple[V, V | None], ...] | None
    reader: Reader
    bounds: tuple[V, V]


@dataclass(frozen=True)
class _Place:
    """A place of the result, and what it reads, told for some of the axes.

    Attributes:
        source: the address of the operand, along the axes that stay.
        target: the address of the result.
        spans: what is read along the resized axes.
        inside: whether the place lies inside; None where all do.
    """

    source: V
    target: V
    spans: tuple[_Span, ...] = ()
    inside: V | None = None


@dataclass(frozen=True)
class _Walk:
    """The launch over the result: by axis the steps of both arrays in bytes, the tables, and how
    often each place is repeated."""

    stage: Stage
    dtype: DType
    source: Sequence[V]
    target: Sequence[V]
    readers: Mapping[int, Reader]
    repeats: Mapping[int, int]
    value: float

    def enter(self, here: _Place, axis: int, place: V) -> _Place:
        """``here`` at a place along one more axis."""
        f = self.stage.f
        target = f.at(here.target, f.mul(place, self.target[axis]))
        if axis not in self.readers:
            place = f.op("udiv", place, i64(self.repeats[axis])) if axis in self.repeats else place
            source = f.at(here.source, f.mul(place, self.source[axis]))
            return replace(here, source=source, target=target)
        reader = self.readers[axis]
        table, (first, end) = reader.table, reader.span(place)
        entries = None
        if table.ends is None and isinstance(table.taps, int):
            entries = tuple(reader.entry(f.add(first, tap)) for tap in range(table.taps))
        inside = reader.is_inside(place)
        if here.inside is not None and inside is not None:
            inside = f.op("and", here.inside, inside)
        span = _Span(entries, reader, (first, end))
        return replace(here, target=target, spans=(*here.spans, span), inside=inside or here.inside)

    def write(self, here: _Place, lanes: int, count: int) -> None:
        """Compute ``count`` vectors side by side, and store them."""
        f, size = self.stage.f, lanes * self.dtype.itemsize
        copies = all(span.reader.weights is None and span.entries for span in here.spans)
        if copies:
            source = here.source
            for span in here.spans:
                assert span.entries is not None
                source = f.at(source, span.entries[0][0])
            values = self._read(source, lanes, count)
        else:
            zeros = [scalar_constant(0, self.dtype, lanes)] * count
            values = self._sum(here.source, here.spans, None, zeros, lanes)
        for number, value in enumerate(values):
            if here.inside is not None:
                outside = scalar_constant(self.value, self.dtype, lanes)
                value = f.select(here.inside, value, outside)
            store(self.stage, self.dtype, value, f.at(here.target, number * size), lanes)

    def _read(self, source: V, lanes: int, count: int) -> list[V]:
        size = lanes * self.dtype.itemsize
        places = [self.stage.f.at(source, number * size) for number in range(count)]
        return [load(self.stage, self.dtype, place, lanes) for place in places]

    def _sum(
        self, source: V, spans: Sequence[_Span], weight: V | None, total: list[V], lanes: int
    ) -> list[V]:
        """``total`` and all that is read along ``spans``, each with the product of its weights."""
        f = self.stage.f
        if not spans:
            values = self._read(source, lanes, len(total))
            if weight is not None:
                wide = f.broadcast(weight, lanes)
                values = [f.op("fmul", wide, value) for value in values]
            return [f.op("fadd", old, value) for old, value in zip(total, values)]
        span, *rest = spans

        def add(entry: tuple[V, V | None], so_far: list[V]) -> list[V]:
            offset, own = entry
            both = own if weight is None or own is None else f.op("fmul", weight, own)
            return self._sum(f.at(source, offset), rest, both, so_far, lanes)

        if span.entries is not None:
            for entry in span.entries:
                total = add(entry, total)
            return total
        first, end = span.bounds
        with f.loop(end, first, carry=total) as loop:
            loop.next(*add(span.reader.entry(loop.index), list(loop.carried)))
        return list(loop.results)


def _write_gather(
    code: NodeCode, tables: Mapping[int, Table], repeats: Mapping[int, int], value: float
) -> None:
    """Write the launch over the result; a task is what lies in the last two axes of its memory."""
    (y,) = code.result_types
    arrays = code.operand_access(0), code.result_access()
    order, item = code.result_order(), y.dtype.itemsize
    outer, column, inner = order[:-2], order[-2:-1], order[-1]
    stays = inner not in tables and inner not in repeats
    vectors = stays and all(array.strides[inner] == 1 for array in arrays)
    with code.stage(product(tuple(y.shape[axis] for axis in outer))) as stage:
        f = stage.f
        read, written = ([stage.dim(step * item) for step in array.strides] for array in arrays)
        readers = {axis: table.at(stage) for axis, table in tables.items()}
        walk = _Walk(stage, y.dtype, read, written, readers, repeats, value)
        start = _Place(stage.base(arrays[0]), stage.base(arrays[1]))
        sizes = [stage.dim(size) for size in y.shape]
        runs = stretches(stage, y.shape[inner], code.target.lanes(item) if vectors else 1)
        with stage.tasks() as task:
            here = start
            for axis, place in zip(outer, unravel(stage, task, [sizes[axis] for axis in outer])):
                here = walk.enter(here, axis, place)
            with f.loop(sizes[column[0]] if column else 1) as loop:
                within = walk.enter(here, column[0], loop.index) if column else here
                _write_runs(walk, within, inner, runs)


def _write_runs(walk: _Walk, here: _Place, inner: int, runs: Sequence[Stretch]) -> None:
    f = walk.stage.f
    for run in runs:
        with run.loop(f) as index:
            at = f.add(index, 0)
            walk.write(walk.enter(here, inner, at), run.lanes, run.count)
