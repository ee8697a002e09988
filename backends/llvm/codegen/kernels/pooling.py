"""Pooling: maxima and averages of windows, and their transposes.

A transpose takes two launches. The first, over the windows, notes in memory of the node's own what
each window gives, and to which cell; the second, over the cells, adds what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .....ir import DType, TensorType
from .....ir.ops import adaptive_pool, pool, pool_indices
from ...lowering.access import Access
from ...registry import ImageFacts, Types
from ..builder import Function, V, vector
from ..code import COMPUTED, NodeCode, emits
from ..math.elements import compare, extremum, scalar_constant
from .windows import Pixel, Run, each_cell, each_window


def _greater(f: Function, value: V, best: V, dtype: DType) -> V:
    """The greater, NaN being above all. Of what depends on ``best`` there is one instruction."""
    if not dtype.is_float:
        return extremum(f, "max", value, best, dtype)
    greater = f.select(f.compare("fcmp ogt", value, best), value, best)
    return f.select(f.compare("fcmp uno", value, value), value, greater)


def _better(f: Function, value: V, best: V, dtype: DType) -> V:
    """Whether ``value`` takes the place of the best before it: it is greater, or the first NaN."""
    if not dtype.is_float:
        return compare(f, "gt", value, best, dtype)
    return f.op("and", f.compare("fcmp ugt", value, best), f.compare("fcmp ord", best, best))


class _Pooling(ImageFacts):
    """A pooling, or its gradient: all operands are images."""

    def images(self, op: pool.Pooling, operands: Types) -> tuple[int, ...]:
        return tuple(range(len(operands)))


class _Forward(_Pooling):
    def by_image(
        self, op: pool.Pooling, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return all(of_images)


@emits(pool.MaxPool2d, adaptive_pool.AdaptiveMaxPool2d, facts=_Forward())
def maximum(code: NodeCode) -> None:
    """The greatest cell of each window."""
    x, y = code.operand_access(0), code.result_access()
    with each_window(code, code.operand_types[0], code.result_types[0], (x, y)) as window:
        f = window.stage.f
        for run in window.runs():
            best = run.full(pool.lowest(x.dtype), x.dtype)
            for row, column, loop in run.gather(best):
                pairs = zip(run.read(0, row, column), loop.carried)
                loop.next(*(_greater(f, new, old, x.dtype) for new, old in pairs))
            run.write(best)


def _first_maximum(run: Run, dtype: DType) -> list[V]:
    """The cell of x, the array at 0, where the first maximum stands, NaN being above all; -1 for
    a window without cells."""
    window = run.pixel
    f, rows, columns = window.stage.f, window.rows, window.columns
    empty = f.op(
        "or",
        f.compare("icmp sge", rows.first, rows.stop),
        f.compare("icmp sge", columns.first, columns.stop),
    )
    # Where all is -inf nothing is greater, and the first cell has it.
    first = f.select(empty, V("-1", "i32"), window.cell(rows.first, columns.first))
    carry = [*run.full(pool.lowest(dtype), dtype), *[run.every(first)] * run.count]
    for row, column, loop in run.gather(carry):
        best, place = loop.carried[: run.count], loop.carried[run.count :]
        here = run.every(window.cell(row, column))
        values = run.read(0, row, column)
        better = [_better(f, new, old, dtype) for new, old in zip(values, best)]
        loop.next(
            *(f.select(*choice) for choice in zip(better, values, best)),
            *(f.select(yes, here, old) for yes, old in zip(better, place)),
        )
    return carry[run.count :]


@emits(pool_indices.MaxPool2dIndices, facts=_Forward())
def maximum_indices(code: NodeCode) -> None:
    """Where the first maximum of each window stands."""
    x, y = code.operand_access(0), code.result_access()
    with each_window(code, code.operand_types[0], code.result_types[0], (x, y)) as window:
        f = window.stage.f
        for run in window.runs():
            none = scalar_constant(0, DType.I32, run.lanes)
            places = [f.intrinsic("smax", place, none) for place in _first_maximum(run, x.dtype)]
            run.write([f.cast("sext", place, vector("i64", run.lanes)) for place in places])


@emits(pool.MaxPool2dSelect, adaptive_pool.AdaptiveMaxPool2dSelect, facts=_Pooling())
def maximum_select(code: NodeCode) -> None:
    """The cell of g where the first maximum of the window of x stands."""
    x, g, y = code.operand_access(0), code.operand_access(1), code.result_access()
    types = code.operand_types[0], code.result_types[0]
    with each_window(code, *types, (x, g, y)) as window:
        f = window.stage.f
        for run in window.runs():
            places = _first_maximum(run, x.dtype)
            chosen = run.full(0, g.dtype)
            for row, column, loop in run.gather(chosen):
                here = run.every(window.cell(row, column))
                mine = [f.compare("icmp eq", place, here) for place in places]
                values = run.read(1, row, column)
                loop.next(*(f.select(*choice) for choice in zip(mine, values, loop.carried)))
            run.write(chosen)


@emits(pool.MaxPool2dBackward, adaptive_pool.AdaptiveMaxPool2dBackward, facts=_Pooling())
def maximum_backward(code: NodeCode) -> None:
    """dy added where the first maximum of each window stands."""
    x, dy, dx = code.operand_access(0), code.operand_access(1), code.result_access()
    types = code.operand_types[0], code.operand_types[1]
    places = _saved_indices(code, DType.I32, types[1])
    with each_window(code, *types, (x, places)) as window:
        for run in window.runs():
            run.write(_first_maximum(run, x.dtype))
    with each_cell(code, *types, (places, dy, dx)) as cell:
        f = cell.stage.f
        own = cell.cell(cell.row, cell.column)
        for run in cell.runs():
            total, here = run.full(0, dx.dtype), run.every(own)
            for row, column, loop in run.gather(total):
                mine = [f.compare("icmp eq", place, here) for place in run.read(0, row, column)]
                pairs = zip(loop.carried, run.read(1, row, column))
                more = [f.op("fadd", old, new) for old, new in pairs]
                loop.next(*(f.select(*choice) for choice in zip(mine, more, loop.carried)))
            run.write(total)


@emits(pool.AvgPool2d, adaptive_pool.AdaptiveAvgPool2d, facts=_Forward())
def average(code: NodeCode) -> None:
    """The sum of each window over the number of cells that count."""
    x, y = code.operand_access(0), code.result_access()
    with each_window(code, code.operand_types[0], code.result_types[0], (x, y)) as window:
        area = _area(window, x.dtype)
        for run in window.runs():
            total = _sum(run, x.dtype)
            run.write([window.stage.f.op("fdiv", value, run.every(area)) for value in total])


@emits(pool.AvgPool2dBackward, adaptive_pool.AdaptiveAvgPool2dBackward, facts=_Pooling())
def average_backward(code: NodeCode) -> None:
    """The share of each window added to its cells."""
    dy, dx = code.operand_access(0), code.result_access()
    types = code.result_types[0], code.operand_types[0]
    shares = _saved_indices(code, dy.dtype, types[1])
    with each_window(code, *types, (dy, shares)) as window:
        area = _area(window, dy.dtype)
        for run in window.runs():
            values = run.read(0, window.row, window.column)
            run.write([window.stage.f.op("fdiv", value, run.every(area)) for value in values])
    with each_cell(code, *types, (shares, dx)) as cell:
        for run in cell.runs():
            run.write(_sum(run, dx.dtype, cell.held))


def _sum(
    run: Run, dtype: DType, counts: Callable[[V, V], V | None] = lambda row, column: None
) -> list[V]:
    """The sum of all that the pixel gathers of the array at 0, and that counts."""
    f, total = run.pixel.stage.f, run.full(0, dtype)
    for row, column, loop in run.gather(total):
        counted = counts(row, column)
        pairs = zip(loop.carried, run.read(0, row, column))
        more = [f.op("fadd", old, new) for old, new in pairs]
        if counted is not None:
            more = [f.select(counted, new, old) for new, old in zip(more, loop.carried)]
        loop.next(*more)
    return total


def _area(window: Pixel, dtype: DType) -> V:
    return window.stage.f.cast("sitofp", window.area(), COMPUTED[dtype])


def _saved_indices(code: NodeCode, dtype: DType, y: TensorType) -> Access:
    """Memory of the node's own, channels-last, for one element of every window and channel."""
    _, channels, rows, columns = y.shape
    slot = code.scratch(y.size * dtype.itemsize)
    row = columns * channels
    return Access(slot, dtype, (rows * row, 1, row, channels))
