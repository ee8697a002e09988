"""The loops of pooling: rows of pixels, runs of channels, spans of cells and of windows.

Both directions gather. A launch goes over the pixels of one array, whose rows threads share, and
visits for each pixel a span of rows times a span of columns: forward the cells of a window,
backward the windows that hold a cell. So each element is written once, and what is added to it is
added in row-major order. Channels, side by side in memory, fill the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial, reduce

from .....ir import Dim, DType, TensorType
from .....ir.ops import adaptive_pool, pool
from ...lowering.access import Access
from ...schedule.tasks import PIXEL_VECTORS
from ..builder import Function, Index, Loop, V, i64
from ..code import NodeCode, Stage
from ..iteration import Placed
from ..math.elements import scalar_constant
from .elementwise import load, store


@dataclass(frozen=True)
class Span:
    """Indices along one axis: first, first + step, ... below stop."""

    first: V
    stop: V
    step: int = 1


@dataclass(frozen=True)
class Axis:
    """The rows (0) or the columns (1) of a pooling: ``size`` cells, ``count`` windows."""

    f: Function
    op: pool.Pooling
    axis: int
    size: V
    count: V

    def cells(self, window: V) -> Span:
        """The cells of a window, as ``spans`` of the op has them."""
        f, op = self.f, self.op
        if isinstance(op, adaptive_pool.AdaptiveWindows):
            return _share(f, window, self.size, self.count)
        assert isinstance(op, pool.FixedWindows)
        start, (_, _, _, step) = self._start(op, window), op.geometry(self.axis)
        # The first cell inside: start, or start mod step where that lies before the input.
        inside = f.op("srem", f.add(f.op("srem", start, i64(step)), step), i64(step))
        first = f.select(f.compare("icmp slt", start, i64(0)), inside, start)
        return Span(first, f.intrinsic("smin", f.add(start, op.extent(self.axis)), self.size), step)

    def windows(self, cell: V) -> Span:
        """The windows that reach over a cell; where dilated, some of them do not hold it.

        Window i, of extent E, does where i * stride <= cell + padding < i * stride + E.
        """
        f, op = self.f, self.op
        if isinstance(op, adaptive_pool.AdaptiveWindows):
            return _share(f, cell, self.count, self.size)
        assert isinstance(op, pool.FixedWindows)
        _, stride, (before, _), _ = op.geometry(self.axis)
        padded = f.add(cell, before)
        behind = f.intrinsic("smax", f.add(padded, stride - op.extent(self.axis)), i64(0))
        stop = f.add(f.op("sdiv", padded, i64(stride)), 1)
        first = f.op("sdiv", behind, i64(stride))
        return Span(first, f.intrinsic("smin", stop, self.count))

    def divisor(self, window: V, cells: Span) -> V:
        """How many cells of a window an average counts, as ``divisors`` of the op has them."""
        f, op = self.f, self.op
        if isinstance(op, pool.AverageWindows) and op.count_include_pad:
            _, _, (_, after), step = op.geometry(self.axis)
            start = self._start(op, window)
            end = f.add(start, op.extent(self.axis))
            stop = f.intrinsic("smin", end, f.add(self.size, after))
            return self._every(f.op("sub", stop, start), step)
        count = self._every(f.op("sub", cells.stop, cells.first), cells.step)
        # A dilated window may step over the whole input.
        return count if cells.step == 1 else f.intrinsic("smax", count, i64(1))

    def _every(self, length: V, step: int) -> V:
        """How many of so many places are every ``step``-th, the first among them."""
        return length if step == 1 else self.f.op("sdiv", self.f.add(length, step - 1), i64(step))

    def holds(self, window: V, cell: V) -> V | None:
        """Whether a window that reaches over a cell holds it; None where all do."""
        f, op = self.f, self.op
        if not isinstance(op, pool.FixedWindows) or op.dilations()[self.axis] == 1:
            return None
        step = i64(op.dilations()[self.axis])
        apart = f.op("sub", cell, self._start(op, window))
        return f.compare("icmp eq", f.op("srem", apart, step), i64(0))

    def _start(self, op: pool.FixedWindows, window: V) -> V:
        """Where a window starts: before the input where negative."""
        _, stride, (before, _), _ = op.geometry(self.axis)
        return self.f.add(self.f.mul(window, stride), -before)


def _share(f: Function, part: V, size: V, count: V) -> Span:
    """The places of a line of ``size`` that part i of ``count`` touches: floor(i * size / count)
    to ceil((i + 1) * size / count) - 1. With both changed round: the parts that touch a place."""
    first = f.op("sdiv", f.mul(part, size), count)
    end = f.add(f.mul(f.add(part, 1), size), f.add(count, -1))
    return Span(first, f.op("sdiv", end, count))


@dataclass(frozen=True)
class Run:
    """Channels of a pixel that are computed together: ``count`` vectors of ``lanes`` each.

    ``arrays`` are those of the launch over rows and columns, seen from the first of these channels.
    """

    pixel: Pixel
    arrays: list[Placed]
    lanes: int
    count: int

    def gather(self, carry: list[V]) -> Iterator[tuple[V, V, Loop]]:
        """The loop over the rows and columns of the pixel's spans; it carries the values in
        ``carry``, where their last ones stand after it."""
        f, rows, columns = self.pixel.stage.f, self.pixel.rows, self.pixel.columns
        with f.loop(rows.stop, rows.first, rows.step, carry) as down:
            with f.loop(columns.stop, columns.first, columns.step, down.carried) as across:
                yield down.index, across.index, across
            down.next(*across.results)
        carry[:] = down.results

    def read(self, place: int, row: V, column: V) -> list[V]:
        """A pixel of the array at ``place``."""
        array = self.arrays[place]
        pointers = self._pointers(array, row, column)
        return [load(self.pixel.stage, array.dtype, at, self.lanes) for at in pointers]

    def write(self, values: Sequence[V]) -> None:
        """Write the pixel itself, in the array that stands last."""
        array = self.arrays[-1]
        pointers = self._pointers(array, self.pixel.row, self.pixel.column)
        for at, value in zip(pointers, values, strict=True):
            store(self.pixel.stage, array.dtype, value, at, self.lanes)

    def every(self, scalar: V) -> V:
        """A scalar in every lane."""
        return self.pixel.stage.f.broadcast(scalar, self.lanes)

    def full(self, value: float, dtype: DType) -> list[V]:
        """A number in every lane of every vector."""
        return [scalar_constant(value, dtype, self.lanes)] * self.count

    def _pointers(self, array: Placed, row: V, column: V) -> list[V]:
        f, size = self.pixel.stage.f, self.lanes * array.dtype.itemsize
        first = array.at(row, column)
        return [f.at(first, number * size) for number in range(self.count)]


@dataclass(frozen=True)
class Stretch:
    """Places ``first`` to ``stop - 1``, in runs of ``count`` vectors of ``lanes`` each."""

    first: Index
    stop: Index
    lanes: int
    count: int

    @contextmanager
    def loop(self, f: Function) -> Iterator[Index]:
        """The loop over runs; gives the first place of each. A single run needs none."""
        step = self.lanes * self.count
        if isinstance(self.first, int) and self.first + step == self.stop:
            yield self.first
            return
        with f.loop(self.stop, self.first, step) as loop:
            yield loop.index


@dataclass(frozen=True)
class Pixel:
    """A pixel of the array that a launch goes over, and the spans that it gathers from.

    ``images`` are the arrays of the launch [C, H, W], the one written last.
    """

    stage: Stage
    axes: tuple[Axis, Axis]
    images: list[Placed]
    stretches: list[Stretch]
    row: V
    column: V
    rows: Span
    columns: Span

    def runs(self) -> Iterator[Run]:
        """Each length of runs once, within its loop over channels."""
        for part in self.stretches:
            with part.loop(self.stage.f) as channel:
                arrays = [image.within(channel) for image in self.images]
                yield Run(self, arrays, part.lanes, part.count)

    def cell(self, row: V, column: V) -> V:
        """The number of a cell of x in row-major order. An image has less than 2**31 of them."""
        f = self.stage.f
        return f.cast("trunc", f.add(f.mul(row, self.axes[1].size), column), "i32")

    def held(self, row: V, column: V) -> V | None:
        """Whether the window at a row and a column of those gathered holds this cell; None where
        all do."""
        places = zip(self.axes, (row, column), (self.row, self.column))
        found = [axis.holds(window, cell) for axis, window, cell in places]
        some = [one for one in found if one is not None]
        return reduce(partial(self.stage.f.op, "and"), some) if some else None

    def area(self) -> V:
        """How many cells the average of this window counts."""
        down, across = self.axes
        return self.stage.f.mul(
            down.divisor(self.row, self.rows), across.divisor(self.column, self.columns)
        )


def each_window(
    code: NodeCode, x: TensorType, y: TensorType, accesses: Sequence[Access]
) -> AbstractContextManager[Pixel]:
    """Write one launch over the windows: a pixel of y, which gathers from the cells of x.

    ``x`` and ``y`` are the types before and after pooling; the array written stands last in
    ``accesses``.
    """
    return _each_pixel(code, y, (x, y), accesses, Axis.cells)


def each_cell(
    code: NodeCode, x: TensorType, y: TensorType, accesses: Sequence[Access]
) -> AbstractContextManager[Pixel]:
    """Write one launch over the cells: a pixel of x, which gathers from the windows of y."""
    return _each_pixel(code, x, (x, y), accesses, Axis.windows)


@contextmanager
def _each_pixel(
    code: NodeCode,
    pixels: TensorType,
    pooling: tuple[TensorType, TensorType],
    accesses: Sequence[Access],
    spans: Callable[[Axis, V], Span],
) -> Iterator[Pixel]:
    """Write one launch over ``pixels``; a task is a row of them."""
    op = code.op(pool.Pooling)
    count, channels, height, width = pixels.shape
    with code.stage(count * height) as stage:
        f = stage.f
        sizes = [[stage.dim(size) for size in type_.shape[2:]] for type_ in pooling]
        down, across = (Axis(f, op, axis, *pair) for axis, pair in enumerate(zip(*sizes)))
        arrays = [Placed.of(stage, access) for access in accesses]
        # Channels that do not lie side by side in every array are gone through one by one.
        even = all(access.strides[1] == 1 for access in accesses)
        widest = max(access.dtype.itemsize for access in accesses)
        runs = stretches(stage, channels, stage.target.lanes(widest) if even else 1)
        rows, columns = stage.dim(height), stage.dim(width)
        with stage.tasks() as task:
            image, row = f.op("udiv", task, rows), f.op("urem", task, rows)
            own = [array.within(image) for array in arrays]
            near = spans(down, row)
            with f.loop(columns) as loop:
                column, beside = loop.index, spans(across, loop.index)
                yield Pixel(stage, (down, across), own, runs, row, column, near, beside)


def stretches(stage: Stage, size: Dim, lanes: int) -> list[Stretch]:
    """``size`` places side by side: as many long runs as there are, then shorter and shorter ones.

    With one lane a run is one place.
    """
    lengths = [(1, 1)]
    if lanes > 1:
        lengths = [(lanes, PIXEL_VECTORS >> n) for n in range(PIXEL_VECTORS.bit_length())]
        lengths += [(lanes >> n, 1) for n in range(1, lanes.bit_length())]
    first: Index = 0
    stop: Index
    found = []
    for width, count in lengths:
        # Lengths are powers of two: a mask gives the places in runs so long or longer.
        mask = -width * count
        if isinstance(size, int):
            stop = size & mask
        else:
            stop = stage.f.op("and", stage.dim(size), i64(mask))
        if stop != first:
            found.append(Stretch(first, stop, width, count))
        first = stop
    return found
