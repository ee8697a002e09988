"""Elements taken and put by their indices, and the greatest ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .....ir import DType, TensorType
from .....ir.dims import product
from .....ir.ops.indexing import GatherElements, ScatterElements, TopK
from .....ir.ops.reduce import normalize_axis
from ...lowering.access import Access, row_major
from ...registry import Facts, Types
from ..builder import Function, V, i64
from ..code import NodeCode, Stage, emits
from ..iteration import Placed, unravel
from ..math.elements import extremum, is_unsigned
from .copies import index_below, row_operand
from .elementwise import load, store
from .transpose import write_copy

_LEAST, _MOST = i64(-(2**63)), i64(2**63 - 1)


class _Along(Facts):
    """An op that works along one axis: images meet only where that is theirs."""

    def by_image(
        self, op: Any, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return all(of_images) and normalize_axis(op.axis, operands[0].rank, op.name) != 0


@emits(GatherElements, facts=_Along())
def gather_elements(code: NodeCode) -> None:
    """A task is a line of indices along the axis."""
    (x, _), dtype = code.operand_types, code.operand_types[0].dtype
    rows = Access(row_operand(code, 0), dtype, row_major(x.shape))
    with _chosen(code, [rows, code.result_access()]) as (stage, (source, target), here, there):
        value = load(stage, dtype, source.at(*there), 1)
        store(stage, dtype, value, target.at(*here), 1)


@emits(ScatterElements, facts=_Along())
def scatter_elements(code: NodeCode) -> None:
    """A copy of x; then a task is a line of updates along the axis, done in order.

    What two lines write lies in different lines of the result.
    """
    op = code.op(ScatterElements)
    x, _, updates = code.operand_types
    dtype, result = x.dtype, code.result_access()
    write_copy(code, x.shape, code.operand_access(0), result, code.result_order())
    rows = Access(row_operand(code, 2), dtype, row_major(updates.shape))
    with _chosen(code, [rows, result]) as (stage, (source, target), here, there):
        value = load(stage, dtype, source.at(*here), 1)
        place = target.at(*there)
        if op.reduction != "none":
            old = load(stage, dtype, place, 1)
            value = _combined(stage.f, op.reduction, old, value, dtype)
        store(stage, dtype, value, place, 1)


def _combined(f: Function, reduction: str, old: V, new: V, dtype: DType) -> V:
    if reduction in ("add", "mul"):
        return f.op(f"f{reduction}" if dtype.is_float else reduction, old, new)
    return extremum(f, reduction, old, new, dtype)


@contextmanager
def _chosen(
    code: NodeCode, arrays: Sequence[Access]
) -> Iterator[tuple[Stage, list[Placed], list[V], list[V]]]:
    """Write one launch over all indices: gives the arrays within it, the place of an index, and
    the place that it chooses."""
    x, indices = code.operand_types[:2]
    axis = normalize_axis(code.node.op.axis, x.rank, code.node.op.name)  # type: ignore[attr-defined]
    chosen = Access(row_operand(code, 1), indices.dtype, row_major(indices.shape))
    others = (*indices.shape[:axis], *indices.shape[axis + 1 :])
    with code.stage(product(others)) as stage:
        which, *placed = [Placed.of(stage, access) for access in (chosen, *arrays)]
        sizes = [stage.dim(size) for size in others]
        length, count = stage.dim(x.shape[axis]), stage.dim(indices.shape[axis])
        with stage.tasks() as task:
            line = unravel(stage, task, sizes)
            with stage.f.loop(count) as loop:
                here = [*line[:axis], loop.index, *line[axis:]]
                at = which.at(*here)
                index = index_below(stage, length, indices.dtype, at, i64(0))
                yield stage, placed, here, [*line[:axis], index, *line[axis:]]


# ---- the greatest ------------------------------------------------------------------------------

# What is compared: a number that is greater where an element comes first, and its index.
HeapEntry = tuple[V, V]


@emits(TopK, facts=_Along())
def topk(code: NodeCode) -> None:
    """A task is a line, of which a heap holds the k first elements so far, the last of them on top.

    An element that comes before the top takes its place. At the end what is on top goes to the
    last place of the result that is free.
    """
    op = code.op(TopK)
    (x,), size = code.operand_types, code.operand_types[0].dtype.itemsize
    axis = normalize_axis(op.axis, x.rank, op.name)
    before, after = product(x.shape[:axis]), product(x.shape[axis + 1 :])
    slot = row_operand(code, 0)
    scratch = code.thread_scratch(op.k * 16 + 16)
    with code.stage(before * after) as stage:
        f = stage.f
        heap = _Heap.of(f, stage.own_pointer(scratch), stage.dim(op.k))
        source = stage.pointer(slot)
        values, places = (stage.base(code.result_access(place)) for place in (0, 1))
        count, step = stage.dim(x.shape[axis]), stage.dim(after)
        with stage.tasks() as task:
            row, column = f.op("udiv", task, step), f.op("urem", task, step)
            line = f.at(source, f.add(f.mul(row, f.mul(count, step)), column), size)
            with f.loop(heap.size) as loop:
                heap.put(loop.index, (_LEAST, _MOST))
            with f.loop(count) as loop:
                value = load(stage, x.dtype, f.at(line, f.mul(loop.index, step), size), 1)
                entry = (_key(f, value, x.dtype, op.largest), loop.index)
                fits = heap.comes_before(entry, heap.get(i64(0)))
                with f.loop(f.select(fits, i64(1), i64(0))):
                    heap.replace_top(entry)
            start = f.add(f.mul(row, f.mul(heap.size, step)), column)
            with f.loop(heap.size) as loop:
                _, index = heap.get(i64(0))
                heap.replace_top((_MOST, i64(-1)))
                last = f.op("sub", f.op("sub", heap.size, i64(1)), loop.index)
                place = f.add(start, f.mul(last, step))
                value = load(stage, x.dtype, f.at(line, f.mul(index, step), size), 1)
                store(stage, x.dtype, value, f.at(values, place, size), 1)
                f.store(index, f.at(places, place, 8), 8)


def _key(f: Function, value: V, dtype: DType, largest: bool) -> V:
    """A signed integer in the order of the elements, NaN the greatest; backwards for the least."""
    if dtype.is_float:
        bits = 8 * dtype.itemsize
        kind, most = f"i{bits}", 2 ** (bits - 1) - 1
        nan = f.compare("fcmp uno", value, value)
        # Adding 0 makes 0 of -0. The bits of negative numbers rise as these fall.
        number = f.cast("bitcast", f.op("fadd", value, V("0.0", value.type)), kind)
        sign = f.op("ashr", number, V(str(bits - 1), kind))
        value = f.op("xor", number, f.op("and", sign, V(str(most), kind)))
        value = f.select(nan, V(str(most), kind), value)
    elif dtype is DType.U64:
        value = f.op("xor", value, _LEAST)
    if value.type != "i64":
        value = f.cast("zext" if is_unsigned(dtype) else "sext", value, "i64")
    return value if largest else f.op("xor", value, i64(-1))


@dataclass(frozen=True)
class _Heap:
    """Entries in memory, first their numbers, then their indices: each comes behind its two
    children, those of place p at 2 p + 1 and 2 p + 2.

    Attributes:
        depth: how many levels there are below the top.
    """

    f: Function
    numbers: V
    indices: V
    size: V
    depth: V

    @staticmethod
    def of(f: Function, pointer: V, size: V) -> _Heap:
        """A heap of ``size`` entries; ask outside of loops."""
        f.declarations.add("declare i64 @llvm.ctlz.i64(i64, i1)")
        zeros = f.value(f"call i64 @llvm.ctlz.i64({size}, i1 false)", "i64")
        return _Heap(f, pointer, f.at(pointer, size, 8), size, f.op("sub", i64(63), zeros))

    def get(self, place: V) -> HeapEntry:
        """The entry at a place."""
        number, index = (self.f.at(base, place, 8) for base in (self.numbers, self.indices))
        return self.f.load(number, "i64", 8), self.f.load(index, "i64", 8)

    def put(self, place: V, entry: HeapEntry) -> None:
        """Write the entry at a place."""
        for base, part in zip((self.numbers, self.indices), entry):
            self.f.store(part, self.f.at(base, place, 8), 8)

    def comes_before(self, a: HeapEntry, b: HeapEntry) -> V:
        """Whether a comes first: it is greater, or equal and of a lower index."""
        f = self.f
        lower = f.op("and", f.compare("icmp eq", a[0], b[0]), f.compare("icmp slt", a[1], b[1]))
        return f.op("or", f.compare("icmp sgt", a[0], b[0]), lower)

    def replace_top(self, entry: HeapEntry) -> None:
        """Take the top away, and let an entry sink to where no child comes behind it.

        It goes on down to the last level; where it stays, nothing is moved.
        """
        f = self.f
        with f.loop(self.depth, carry=[i64(0)]) as loop:
            (hole,) = loop.carried
            left = f.add(f.mul(hole, 2), 1)
            right = f.add(left, 1)
            last = f.op("sub", self.size, i64(1))
            held = [f.intrinsic("umin", child, last) for child in (left, right)]
            one, other = (self.get(child) for child in held)
            both = f.compare("icmp slt", right, self.size)
            turned = f.op("and", both, self.comes_before(one, other))
            child = f.select(turned, held[1], held[0])
            below = (f.select(turned, other[0], one[0]), f.select(turned, other[1], one[1]))
            inside = f.compare("icmp slt", left, self.size)
            moves = f.op("and", inside, self.comes_before(entry, below))
            up = [f.select(moves, part, own) for part, own in zip(below, entry)]
            self.put(hole, (up[0], up[1]))
            loop.next(f.select(moves, child, hole))
        self.put(loop.results[0], entry)
