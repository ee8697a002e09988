"""Softmax and its logarithm: the greatest element, the sum of the powers, and the quotients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .....ir import DType, Op, TensorType
from .....ir.dims import ceil_div, product
from .....ir.ops import activation, elementwise
from .....ir.ops.reduce import normalize_axis
from ...registry import Facts, Types
from ...schedule.tasks import SOFTMAX_BLOCK, SOFTMAX_COLUMNS
from ..builder import V, i64
from ..code import COMPUTED, NodeCode, Stage, emits
from ..math.elements import element, extremum, scalar_constant
from .copies import row_operand
from .elementwise import load, store


class _Softmax(Facts):
    def by_image(
        self, op: Op, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        assert isinstance(op, (activation.Softmax, activation.LogSoftmax))
        return normalize_axis(op.axis, result.rank, op.name) != 0


@dataclass(frozen=True)
class _Run:
    """Elements of one row, or of ``lanes`` rows side by side, ``step`` bytes apart."""

    stage: Stage
    type: TensorType
    source: V
    target: V
    step: V

    @property
    def dtype(self) -> DType:
        """Of the elements."""
        return self.type.dtype

    def read(self, array: V, index: V, lanes: int) -> V:
        """Elements of the operand, or of the result, at a place of the axis."""
        return load(self.stage, self.dtype, self._at(array, index), lanes)

    def write(self, index: V, value: V, lanes: int) -> None:
        """Elements of the result."""
        store(self.stage, self.dtype, value, self._at(self.target, index), lanes)

    def _at(self, array: V, index: V) -> V:
        return self.stage.f.at(array, self.stage.f.mul(index, self.step))

    def apply(self, op: Op, lanes: int, *values: V) -> V:
        """An elementwise op on vectors."""
        types = [self.type] * len(values)
        return element(self.stage.f, op, values, types, lanes)

    def greatest(self, a: V, b: V) -> V:
        """The greater of each two, NaN where one is."""
        return extremum(self.stage.f, "max", a, b, self.dtype)


@emits(activation.Softmax, activation.LogSoftmax, facts=_Softmax())
def softmax(code: NodeCode) -> None:
    """Vectors lie along the axis where it is the last, else across it."""
    op = code.node.op
    assert isinstance(op, (activation.Softmax, activation.LogSoftmax))
    (x,) = code.operand_types
    axis = normalize_axis(op.axis, x.rank, op.name)
    rows, length, columns = product(x.shape[:axis]), x.shape[axis], product(x.shape[axis + 1 :])
    slot, lanes = row_operand(code, 0), code.target.lanes(x.dtype.itemsize)
    logarithm, item = isinstance(op, activation.LogSoftmax), x.dtype.itemsize
    if columns == 1:
        with code.stage(rows) as stage:
            source, target = stage.pointer(slot), stage.base(code.result_access())
            size = stage.dim(length)
            with stage.tasks() as task:
                start = stage.f.mul(task, size)
                x0, y0 = (stage.f.at(array, start, item) for array in (source, target))
                _along(_Run(stage, x, x0, y0, i64(item)), size, lanes, logarithm)
        return
    chunks = ceil_div(columns, SOFTMAX_COLUMNS)
    with code.stage(rows * chunks) as stage:
        f = stage.f
        source, target = stage.pointer(slot), stage.base(code.result_access())
        size, width, parts = stage.dim(length), stage.dim(columns), stage.dim(chunks)
        step = f.mul(width, item)
        with stage.tasks() as task:
            row, part = f.op("udiv", task, parts), f.op("urem", task, parts)
            first = f.mul(f.mul(row, size), width)
            begin = f.mul(part, SOFTMAX_COLUMNS)
            end = f.intrinsic("smin", f.add(begin, SOFTMAX_COLUMNS), width)
            even = f.add(begin, f.op("and", f.op("sub", end, begin), V(str(-lanes), "i64")))
            for low, high, many in ((begin, even, lanes), (even, end, 1)):
                with f.loop(high, low, many) as column:
                    start = f.add(first, column.index)
                    x0, y0 = (f.at(array, start, item) for array in (source, target))
                    _across(_Run(stage, x, x0, y0, step), size, many, logarithm)


def _across(run: _Run, size: V, lanes: int, logarithm: bool) -> None:
    """Each lane is a row of its own."""
    f = run.stage.f
    lowest = scalar_constant(float("-inf"), run.dtype, lanes)
    with f.loop(size, carry=[lowest]) as loop:
        loop.next(run.greatest(loop.carried[0], run.read(run.source, loop.index, lanes)))
    (most,) = loop.results

    def power(index: V) -> V:
        shifted = run.apply(elementwise.Sub(), lanes, run.read(run.source, index, lanes), most)
        value = run.apply(elementwise.Exp(), lanes, shifted)
        run.write(index, shifted if logarithm else value, lanes)
        return value

    total = _total(run, size, lanes, 1, power)
    last = _last(run, total, lanes, logarithm)
    with f.loop(size) as loop:
        run.write(loop.index, last(run.read(run.target, loop.index, lanes), lanes), lanes)


def _along(run: _Run, size: V, lanes: int, logarithm: bool) -> None:
    """A row in whole vectors, and what is left of it one by one."""
    f = run.stage.f
    even = f.op("and", size, V(str(-lanes), "i64"))
    lowest = scalar_constant(float("-inf"), run.dtype, lanes)
    with f.loop(even, step=lanes, carry=[lowest]) as loop:
        loop.next(run.greatest(loop.carried[0], run.read(run.source, loop.index, lanes)))
    (most,) = loop.results
    single = _folded(run, most, lanes, run.greatest)
    with f.loop(size, even, carry=[single]) as loop:
        loop.next(run.greatest(loop.carried[0], run.read(run.source, loop.index, 1)))
    (greatest,) = loop.results

    def power(index: V, width: int) -> V:
        most = f.broadcast(greatest, width)
        shifted = run.apply(elementwise.Sub(), width, run.read(run.source, index, width), most)
        value = run.apply(elementwise.Exp(), width, shifted)
        run.write(index, shifted if logarithm else value, width)
        return value

    def add(a: V, b: V) -> V:
        return f.op("fadd", a, b)

    wide = _total(run, even, lanes, lanes, lambda index: power(index, lanes))
    with f.loop(size, even, carry=[_folded(run, wide, lanes, add)]) as loop:
        loop.next(add(loop.carried[0], power(loop.index, 1)))
    last = _last(run, loop.results[0], 1, logarithm)
    for low, high, width in ((i64(0), even, lanes), (even, size, 1)):
        with f.loop(high, low, width) as loop:
            run.write(loop.index, last(run.read(run.target, loop.index, width), width), width)


def _total(run: _Run, stop: V, lanes: int, step: int, power: Callable[[V], V]) -> V:
    """The sum of vectors of powers, block by block."""
    f = run.stage.f
    zero = scalar_constant(0, run.dtype, lanes)
    block = SOFTMAX_BLOCK * step
    with f.loop(stop, step=block, carry=[zero]) as outer:
        end = f.intrinsic("smin", f.add(outer.index, block), stop)
        with f.loop(end, outer.index, step, carry=[zero]) as inner:
            inner.next(f.op("fadd", inner.carried[0], power(inner.index)))
        outer.next(f.op("fadd", outer.carried[0], inner.results[0]))
    return outer.results[0]


def _last(run: _Run, total: V, width: int, logarithm: bool) -> Callable[[V, int], V]:
    """What makes results of what was written so far: quotients, or differences."""
    if logarithm:
        known = run.apply(elementwise.Log(), width, total)
        op: Op = elementwise.Sub()
    else:
        known = run.apply(elementwise.Div(), width, scalar_constant(1, run.dtype, width), total)
        op = elementwise.Mul()

    def finish(value: V, lanes: int) -> V:
        own = known if lanes == width else run.stage.f.broadcast(known, lanes)
        return run.apply(op, lanes, value, own)

    return finish


def _folded(run: _Run, value: V, lanes: int, combine: Callable[[V, V], V]) -> V:
    """The lanes of a vector together, halves first."""
    f = run.stage.f
    while lanes > 1:
        lanes //= 2
        halves = (
            f.shuffle(value, V("poison", value.type), range(first, first + lanes))
            if lanes > 1
            else f.value(f"extractelement {value}, i64 {first}", COMPUTED[run.dtype])
            for first in (0, lanes)
        )
        value = combine(*halves)
    return value
