"""Pooling: reductions over the windows of each channel, and their transposes.

One task is one channel of one image, so that what windows add to a cell is added in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...ir import Dim, DType
from ...ir.ops import adaptive_pool, pool
from .code import NodeCode, Stage, emits
from .copies import write_fill
from .elements import compare, extremum, scalar_constant
from .emitter import Loop, V, i64
from .maps import load, store


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
    """One window of one channel: its spans, and where its channel and its result lie."""

    stage: Stage
    rows: Span
    columns: Span
    width: V
    channel: V
    place: V

    def cells(self, carry: list[V]) -> Iterator[tuple[V, Loop]]:
        """The loop over all cells; gives the index in the channel, and the loop that carries."""
        f = self.stage.f
        with f.loop(self.rows.stop, self.rows.first, self.rows.step, carry) as down:
            with f.loop(
                self.columns.stop, self.columns.first, self.columns.step, down.carried
            ) as across:
                yield f.add(f.mul(down.index, self.width), across.index), across
            down.next(*across.results)
        carry[:] = down.results


@contextmanager
def windows(code: NodeCode, shape: tuple[Dim, ...], result: tuple[Dim, ...]) -> Iterator[Window]:
    """Write one launch over all windows of x [N, C, H, W]."""
    op = code.node.op
    assert isinstance(op, pool.Pooling)
    with code.stage(shape[0] * shape[1]) as stage:
        f = stage.f
        height, width = stage.dim(shape[2]), stage.dim(shape[3])
        rows, columns = stage.dim(result[2]), stage.dim(result[3])
        for slot in (*range(len(code.node.operands)), None):
            stage.pointer(code.result() if slot is None else code.operand(slot))
        with stage.tasks() as task:
            channel = f.mul(task, f.mul(height, width))
            base = f.mul(task, f.mul(rows, columns))
            with f.loop(rows) as i:
                down = span(stage, op, 0, i.index, height)
                with f.loop(columns) as j:
                    across = span(stage, op, 1, j.index, width)
                    place = f.add(base, f.add(f.mul(i.index, columns), j.index))
                    yield Window(stage, down, across, width, channel, place)


def _read(window: Window, dtype: DType, slot: int, index: V) -> V:
    f = window.stage.f
    return load(window.stage, dtype, f.at(window.stage.pointer(slot), index, dtype.itemsize), 1)


def _write(window: Window, dtype: DType, slot: int, index: V, value: V) -> None:
    f = window.stage.f
    at = f.at(window.stage.pointer(slot), index, dtype.itemsize)
    store(window.stage, dtype, value, at, 1)


def _first_maximum(window: Window, dtype: DType, slot: int) -> V:
    """The index in the channel of the first maximum; NaN is above all; -1 without cells."""
    f = window.stage.f
    carry = [scalar_constant(float("-inf"), dtype), i64(-1)]
    for index, loop in window.cells(carry):
        best, place = loop.carried
        value = _read(window, dtype, slot, f.add(window.channel, index))
        nan = f.op("and", f.compare("fcmp uno", value, value), f.compare("fcmp ord", best, best))
        better = f.op("or", nan, compare(f, "gt", value, best, dtype))
        better = f.op("or", better, f.compare("icmp slt", place, i64(0)))
        loop.next(f.select(better, value, best), f.select(better, index, place))
    return carry[1]


@emits(pool.MaxPool2d, adaptive_pool.AdaptiveMaxPool2d)
def maximum(code: NodeCode) -> None:
    """The greatest cell of each window."""
    (x,), (y,) = code.operand_types, code.result_types
    with windows(code, x.shape, y.shape) as window:
        carry = [scalar_constant(float("-inf"), x.dtype)]
        for index, loop in window.cells(carry):
            place = window.stage.f.add(window.channel, index)
            value = _read(window, x.dtype, code.operand(0), place)
            loop.next(extremum(window.stage.f, "max", loop.carried[0], value, x.dtype))
        _write(window, y.dtype, code.result(), window.place, carry[0])


@emits(pool.MaxPool2dSelect, adaptive_pool.AdaptiveMaxPool2dSelect)
def maximum_select(code: NodeCode) -> None:
    """The cell of g where the first maximum of the window of x stands."""
    x, g = code.operand_types
    (y,) = code.result_types
    with windows(code, x.shape, y.shape) as window:
        f = window.stage.f
        place = _first_maximum(window, x.dtype, code.operand(0))
        known = f.intrinsic("smax", place, i64(0))
        value = _read(window, g.dtype, code.operand(1), f.add(window.channel, known))
        none = f.compare("icmp slt", place, i64(0))
        zero = scalar_constant(0, g.dtype)
        _write(window, y.dtype, code.result(), window.place, f.select(none, zero, value))


@emits(pool.MaxPool2dBackward, adaptive_pool.AdaptiveMaxPool2dBackward)
def maximum_backward(code: NodeCode) -> None:
    """dy added where the first maximum of each window stands."""
    x, dy = code.operand_types
    (dx,) = code.result_types
    write_fill(code, dx.dtype, code.result(), dx.size, 0)
    with windows(code, x.shape, dy.shape) as window:
        f = window.stage.f
        place = _first_maximum(window, x.dtype, code.operand(0))
        known = f.add(window.channel, f.intrinsic("smax", place, i64(0)))
        share = _read(window, dy.dtype, code.operand(1), window.place)
        none = f.compare("icmp slt", place, i64(0))
        share = f.select(none, scalar_constant(0, dy.dtype), share)
        total = f.op("fadd", _read(window, dx.dtype, code.result(), known), share)
        _write(window, dx.dtype, code.result(), known, total)


@emits(pool.AvgPool2d, adaptive_pool.AdaptiveAvgPool2d)
def average(code: NodeCode) -> None:
    """The sum of each window over the number of cells that count."""
    (x,), (y,) = code.operand_types, code.result_types
    with windows(code, x.shape, y.shape) as window:
        f = window.stage.f
        carry = [scalar_constant(0, x.dtype)]
        for index, loop in window.cells(carry):
            value = _read(window, x.dtype, code.operand(0), f.add(window.channel, index))
            loop.next(f.op("fadd", loop.carried[0], value))
        mean = f.op("fdiv", carry[0], _area(window, carry[0].type))
        _write(window, y.dtype, code.result(), window.place, mean)


def _area(window: Window, kind: str) -> V:
    f = window.stage.f
    area = f.mul(window.rows.divisor, window.columns.divisor)
    return f.cast("sitofp", area, kind)


@emits(pool.AvgPool2dBackward, adaptive_pool.AdaptiveAvgPool2dBackward)
def average_backward(code: NodeCode) -> None:
    """The share of each window added to its cells."""
    (dy,), (dx,) = code.operand_types, code.result_types
    write_fill(code, dx.dtype, code.result(), dx.size, 0)
    with windows(code, dx.shape, dy.shape) as window:
        f = window.stage.f
        value = _read(window, dy.dtype, code.operand(0), window.place)
        share = f.op("fdiv", value, _area(window, value.type))
        for index, _ in window.cells([]):
            place = f.add(window.channel, index)
            total = f.op("fadd", _read(window, dx.dtype, code.result(), place), share)
            _write(window, dx.dtype, code.result(), place, total)
