"""Pooling: reductions over the windows of each channel, and their transposes.

Forward, a task is one row of windows, with the channels across the lanes. Backward, a task is one
channel of one image, so that what windows add to a cell is added in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...ir import DType
from ...ir.ops import adaptive_pool, pool
from .code import COMPUTED, Access, NodeCode, Stage, emits
from .copies import write_fill
from .elements import compare, extremum, scalar_constant
from .emitter import Loop, V, i64
from .maps import load, store
from .spaces import Shape


@dataclass(frozen=True)
class Span:
    """The cells of a window along one axis: first, first, first + step, ... below stop."""

    first: V
    stop: V
    step: int
    divisor: V


def span(stage: Stage, op: pool.Pooling, axis: int, index: V, size: V) -> Span:
    """The span of window ``index`` along an axis of ``size`` cells."""
    f = stage.f
    if isinstance(op, adaptive_pool.AdaptiveWindows):
        count = i64(op.output_size[axis])
        first = f.op("sdiv", f.mul(index, size), count)
        end = f.add(f.mul(f.add(index, 1), size), i64(op.output_size[axis] - 1))
        stop = f.op("sdiv", end, count)
        return Span(first, stop, 1, f.op("sub", stop, first))
    assert isinstance(op, pool.FixedWindows)
    kernel, stride, (before, after), step = op.geometry(axis)
    start = f.add(f.mul(index, stride), -before)
    # The first cell inside: start, or start mod step where that lies before the input.
    inside = f.op("srem", f.add(f.op("srem", start, i64(step)), step), i64(step))
    negative = f.compare("icmp slt", start, i64(0))
    first = f.select(negative, inside, start)
    stop = f.intrinsic("smin", f.add(start, op.extent(axis)), size)
    divisor = f.op("sub", stop, first)
    if isinstance(op, pool.AverageWindows) and op.count_include_pad:
        end = f.intrinsic("smin", f.add(start, kernel), f.add(size, after))
        divisor = f.op("sub", end, start)
    return Span(first, stop, step, divisor)


@dataclass(frozen=True)
class Window:
    """One window of one channel: its spans, and where it lies.

    ``base`` is the image and the first of ``lanes`` channels, ``cell`` the row and column of the
    window; an array is addressed by its strides over both.
    """

    stage: Stage
    rows: Span
    columns: Span
    width: V
    base: tuple[V, V]
    cell: tuple[V, V]
    lanes: int = 1

    def at(self, access: Access, row: V, column: V) -> V:
        """The address of a cell of this channel."""
        f = self.stage.f
        steps = [self.stage.dim(step) for step in access.strides]
        place = i64(0)
        for index, step in zip((*self.base, row, column), steps):
            place = f.add(place, f.mul(index, step))
        return f.at(self.stage.pointer(access.slot), place, access.dtype.itemsize)

    def cells(self, carry: list[V]) -> Iterator[tuple[tuple[V, V], Loop]]:
        """The loop over all cells; gives row and column, and the loop that carries."""
        f = self.stage.f
        with f.loop(self.rows.stop, self.rows.first, self.rows.step, carry) as down:
            with f.loop(
                self.columns.stop, self.columns.first, self.columns.step, down.carried
            ) as across:
                yield (down.index, across.index), across
            down.next(*across.results)
        carry[:] = down.results


def _sizes(stage: Stage, shapes: tuple[Shape, Shape], accesses: Sequence[Access]) -> list[V]:
    """H, W, C of x and H', W' of y. Asked for outside of loops, as are the strides of arrays."""
    for access in accesses:
        stage.pointer(access.slot)
        for step in access.strides:
            stage.dim(step)
    (_, channels, height, width), (_, _, rows, columns) = shapes
    return [stage.dim(dim) for dim in (height, width, channels, rows, columns)]


@contextmanager
def windows_of_channels(
    code: NodeCode, shapes: tuple[Shape, Shape], accesses: Sequence[Access]
) -> Iterator[Window]:
    """Write one launch over all windows of x [N, C, H, W]; one task is one channel."""
    op = code.node.op
    assert isinstance(op, pool.Pooling)
    with code.stage(shapes[0][0] * shapes[0][1]) as stage:
        f = stage.f
        height, width, channels, rows, columns = _sizes(stage, shapes, accesses)
        with stage.tasks() as task:
            base = (f.op("udiv", task, channels), f.op("urem", task, channels))
            with f.loop(rows) as i:
                down = span(stage, op, 0, i.index, height)
                with f.loop(columns) as j:
                    across = span(stage, op, 1, j.index, width)
                    yield Window(stage, down, across, width, base, (i.index, j.index))


def write_rows_of_windows(
    code: NodeCode,
    shapes: tuple[Shape, Shape],
    accesses: Sequence[Access],
    body: Callable[[Window], None],
) -> None:
    """Write one launch over all windows of x; one task is one row of them.

    ``body`` writes one window, for every width of vector that the channels take.
    """
    op = code.node.op
    assert isinstance(op, pool.Pooling)
    wide = all(access.strides[1] == 1 for access in accesses)
    most = code.target.lanes(accesses[0].dtype.itemsize) if wide else 1
    with code.stage(shapes[0][0] * shapes[1][2]) as stage:
        f = stage.f
        height, width, channels, rows, columns = _sizes(stage, shapes, accesses)
        even = f.op("and", channels, V(str(-most), "i64")) if most > 1 else i64(0)
        with stage.tasks() as task:
            image, row = f.op("udiv", task, rows), f.op("urem", task, rows)
            down = span(stage, op, 0, row, height)
            with f.loop(columns) as j:
                across = span(stage, op, 1, j.index, width)
                for start, end, lanes in ((i64(0), even, most), (even, channels, 1)):
                    with f.loop(end, start, lanes) as c:
                        base, cell = (image, c.index), (row, j.index)
                        body(Window(stage, down, across, width, base, cell, lanes))


def _read(window: Window, access: Access, row: V, column: V) -> V:
    return load(window.stage, access.dtype, window.at(access, row, column), window.lanes)


def _write(window: Window, access: Access, row: V, column: V, value: V) -> None:
    store(window.stage, access.dtype, value, window.at(access, row, column), window.lanes)


def _first_maximum(window: Window, x: Access) -> tuple[V, V, V]:
    """Row and column of the first maximum, NaN above all, and whether there is a cell at all."""
    f, dtype = window.stage.f, x.dtype
    carry = [scalar_constant(float("-inf"), dtype), i64(-1)]
    for (row, column), loop in window.cells(carry):
        best, place = loop.carried
        value = _read(window, x, row, column)
        nan = f.op("and", f.compare("fcmp uno", value, value), f.compare("fcmp ord", best, best))
        better = f.op("or", nan, compare(f, "gt", value, best, dtype))
        better = f.op("or", better, f.compare("icmp slt", place, i64(0)))
        index = f.add(f.mul(row, window.width), column)
        loop.next(f.select(better, value, best), f.select(better, index, place))
    known = f.intrinsic("smax", carry[1], i64(0))
    row, column = f.op("udiv", known, window.width), f.op("urem", known, window.width)
    return row, column, f.compare("icmp sge", carry[1], i64(0))


@emits(pool.MaxPool2d, adaptive_pool.AdaptiveMaxPool2d)
def maximum(code: NodeCode) -> None:
    """The greatest cell of each window."""
    x, y = code.operand_access(0), code.result_access()
    shapes = code.operand_types[0].shape, code.result_types[0].shape

    def body(window: Window) -> None:
        carry = [scalar_constant(float("-inf"), x.dtype, window.lanes)]
        for cell, loop in window.cells(carry):
            value = _read(window, x, *cell)
            loop.next(extremum(window.stage.f, "max", loop.carried[0], value, x.dtype))
        _write(window, y, *window.cell, carry[0])

    write_rows_of_windows(code, shapes, (x, y), body)


@emits(pool.MaxPool2dSelect, adaptive_pool.AdaptiveMaxPool2dSelect)
def maximum_select(code: NodeCode) -> None:
    """The cell of g where the first maximum of the window of x stands."""
    x, g, y = code.operand_access(0), code.operand_access(1), code.result_access()
    shapes = code.operand_types[0].shape, code.result_types[0].shape
    with windows_of_channels(code, shapes, (x, g, y)) as window:
        row, column, found = _first_maximum(window, x)
        value = _read(window, g, row, column)
        value = window.stage.f.select(found, value, scalar_constant(0, g.dtype))
        _write(window, y, *window.cell, value)


@emits(pool.MaxPool2dBackward, adaptive_pool.AdaptiveMaxPool2dBackward)
def maximum_backward(code: NodeCode) -> None:
    """dy added where the first maximum of each window stands."""
    x, dy, dx = code.operand_access(0), code.operand_access(1), code.result_access()
    shapes = code.operand_types[0].shape, code.operand_types[1].shape
    write_fill(code, dx.dtype, dx.slot, code.result_types[0].size, 0)
    with windows_of_channels(code, shapes, (x, dy, dx)) as window:
        f = window.stage.f
        row, column, found = _first_maximum(window, x)
        share = f.select(found, _read(window, dy, *window.cell), scalar_constant(0, dy.dtype))
        total = f.op("fadd", _read(window, dx, row, column), share)
        _write(window, dx, row, column, total)


@emits(pool.AvgPool2d, adaptive_pool.AdaptiveAvgPool2d)
def average(code: NodeCode) -> None:
    """The sum of each window over the number of cells that count."""
    x, y = code.operand_access(0), code.result_access()
    shapes = code.operand_types[0].shape, code.result_types[0].shape

    def body(window: Window) -> None:
        f = window.stage.f
        carry = [scalar_constant(0, x.dtype, window.lanes)]
        for cell, loop in window.cells(carry):
            loop.next(f.op("fadd", loop.carried[0], _read(window, x, *cell)))
        area = f.broadcast(_area(window, x.dtype), window.lanes)
        _write(window, y, *window.cell, f.op("fdiv", carry[0], area))

    write_rows_of_windows(code, shapes, (x, y), body)


def _area(window: Window, dtype: DType) -> V:
    f = window.stage.f
    area = f.mul(window.rows.divisor, window.columns.divisor)
    return f.cast("sitofp", area, COMPUTED[dtype])


@emits(pool.AvgPool2dBackward, adaptive_pool.AdaptiveAvgPool2dBackward)
def average_backward(code: NodeCode) -> None:
    """The share of each window added to its cells."""
    dy, dx = code.operand_access(0), code.result_access()
    shapes = code.result_types[0].shape, code.operand_types[0].shape
    write_fill(code, dx.dtype, dx.slot, code.result_types[0].size, 0)
    with windows_of_channels(code, shapes, (dy, dx)) as window:
        f = window.stage.f
        value = _read(window, dy, *window.cell)
        share = f.op("fdiv", value, _area(window, dy.dtype))
        for cell, _ in window.cells([]):
            _write(window, dx, *cell, f.op("fadd", _read(window, dx, *cell), share))
