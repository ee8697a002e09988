"""Data movement: transposes, slices, borders, concatenation, rows chosen by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .....ir import DType, Op, TensorType
from .....ir.dims import product
from .....ir.layout import CHANNELS_LAST, Order, Strided, Strides, Transformed
from .....ir.ops import shape
from .....ir.ops.constant import Constant, DimSize
from .....ir.ops.reduce import normalize_axes
from .....ir.ops.reorder import Reorder
from ...lowering.access import Access, Shape, row_major
from ...registry import Facts, FollowingFacts, Types, order_of, row_major_order
from ..builder import V, i64
from ..code import NodeCode, Stage, emits
from ..math.elements import convert, scalar_constant
from .elementwise import load, store, write_elementwise
from .transpose import write_copy
from .winograd_transforms import write_filters


def row_operand(code: NodeCode, place: int) -> int:
    """The buffer of an operand in row-major order: its own, or that of a copy written first."""
    type_, own = code.operand_types[place], code.operand_access(place)
    if _in_rows(type_.shape, own.strides) and own.start == 0:
        return own.slot
    slot = code.scratch(type_.nbytes)
    write_copy(code, type_.shape, own, Access(slot, type_.dtype, row_major(type_.shape)))
    return slot


def _in_rows(shape_: Shape, strides: Strides) -> bool:
    """Whether an array lies in row-major order; a dimension of size 1 may have any stride."""
    steps = zip(shape_, strides, row_major(shape_))
    return all(size == 1 or step == row for size, step, row in steps)


def write_fill(
    code: NodeCode, space: Shape, result: Access, value: float, order: Order | None = None
) -> None:
    """Write one launch that fills an array with a number."""
    write_elementwise(
        code,
        space,
        [],
        result,
        lambda stage, lanes, values: scalar_constant(value, result.dtype, lanes),
        order,
    )


def write_halo(code: NodeCode, type_: TensorType, slot: int) -> None:
    """Write one launch that sets the zeros around an image: one task is one row of memory."""
    layout, shape_ = type_.layout, type_.shape
    assert isinstance(layout, Strided) and layout.can_have_halo()
    *outside, (left, right) = layout.halo
    _, channels, *planes, columns = layout.extents(shape_)
    # Rows of memory run over columns, and over channels where those are innermost.
    channels_last = layout.order[-1] == 1
    wide = channels if channels_last else 1
    outer = shape_[0] if channels_last else shape_[0] * shape_[1]
    zero = scalar_constant(0, type_.dtype)
    item, lanes = type_.dtype.itemsize, code.target.lanes(type_.dtype.itemsize)
    rows = outer * product(tuple(planes))
    with code.stage(rows, rows * columns * wide) as stage:
        f = stage.f
        pointer, sizes = stage.pointer(slot), [stage.dim(size) for size in planes]
        length = stage.dim(columns * wide)
        low, high = stage.dim(left * wide), stage.dim((columns - right) * wide)
        lasts = [stage.dim(size - after) for size, (_, after) in zip(planes, outside)]
        with stage.tasks() as task:
            within = []
            rest = task
            for size, (before, _), last in reversed(list(zip(sizes, outside, lasts))):
                place = f.op("urem", rest, size)
                above = f.compare("icmp sge", place, i64(before))
                within.append(f.op("and", above, f.compare("icmp slt", place, last)))
                if size is not sizes[0]:
                    rest = f.op("udiv", rest, size)
            base = f.at(pointer, f.mul(task, length), item)
            first, second = low, high
            # A row above or below is all halo: its left part then reaches to the end.
            for inside in within:
                first, second = (f.select(inside, end, length) for end in (first, second))
            for start, end in ((i64(0), first), (second, length)):
                even = f.op("and", f.op("sub", end, start), V(str(-lanes), "i64"))
                middle = f.add(start, even)
                with f.loop(middle, start, lanes) as loop:
                    f.store(f.broadcast(zero, lanes), f.at(base, loop.index, item), item)
                with f.loop(end, middle) as loop:
                    f.store(zero, f.at(base, loop.index, item), item)


class _Moved(Facts):
    """An op that moves whole images, if anything."""

    def by_image(
        self, op: Op, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return all(of_images)


class _View(_Moved):
    is_view = True

    def view(
        self, op: Op, operand: TensorType, strides: Strides, result: TensorType
    ) -> Strides | None:
        return row_major(result.shape) if _in_rows(operand.shape, strides) else None


@emits(shape.Reshape, shape.Flatten, facts=_View())
def reshape(code: NodeCode) -> None:
    """Nothing to do: the result is the operand's buffer, or a copy where it must be its own."""
    (x,), (y,) = code.operand_types, code.result_types
    result = code.result_access()
    if code.operand_access(0).slot != result.slot:
        run = Access(row_operand(code, 0), x.dtype, (1,))
        write_copy(code, (x.size,), run, Access(result.slot, y.dtype, (1,)))


class _Reorder(_Moved):
    writes_halo = True


@emits(Reorder, facts=_Reorder())
def reorder(code: NodeCode) -> None:
    """The same elements, at other places."""
    (x,) = code.operand_types
    source, result = code.operand_access(0), code.result_access()
    order, layout = code.result_order(), code.result_types[0].layout
    if isinstance(layout, Transformed):
        write_filters(code, x, layout, source, result.slot)
        return
    if not result.block:
        write_copy(code, x.shape, source, result, order)
        return
    # The blocked axis becomes two, the block, in front, and the place within it; the last block
    # may not be full.
    axis = order[-1]
    size = x.shape[axis]
    assert isinstance(size, int)
    full, rest = divmod(size, result.block)
    step = source.strides[axis]
    for count, width, first in ((full, result.block, 0), (1, rest, full)):
        if count and width:
            space = list(x.shape)
            space[axis] = width
            write_copy(
                code,
                (count, *space),
                replace(
                    source,
                    strides=(step * result.block, *source.strides),
                    start=source.start + step * (first * result.block),
                ),
                replace(
                    result,
                    strides=(result.block_stride, *result.strides),
                    start=result.start + result.block_stride * first,
                ),
                (0, *(axis + 1 for axis in order)),
            )


class _Transpose(Facts):
    is_view = True

    def view(
        self, op: shape.Transpose, operand: TensorType, strides: Strides, result: TensorType
    ) -> Strides:
        return tuple(strides[axis] for axis in op.perm)

    def order(self, op: shape.Transpose, operands: Types, result: TensorType) -> Order:
        # The axes lie as they did, under other numbers.
        return tuple(op.perm.index(axis) for axis in order_of(operands[0]))

    def by_image(
        self, op: shape.Transpose, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return op.perm[0] == 0


@emits(shape.Transpose, facts=_Transpose())
def transpose(code: NodeCode) -> None:
    """Nothing to do: the result is the operand's buffer, read with permuted strides, or a copy.

    A copy it is where it must be its own: where ``prepare`` makes it for ``main``.
    """
    op = code.op(shape.Transpose)
    (y,) = code.result_types
    source, result = code.operand_access(0), code.result_access()
    if source.slot != result.slot:
        transposed = replace(source, strides=tuple(source.strides[axis] for axis in op.perm))
        write_copy(code, y.shape, transposed, result, code.result_order())


class _Expand(Facts):
    writes_halo = True

    def order(self, op: shape.Expand, operands: Types, result: TensorType) -> Order:
        return CHANNELS_LAST if result.rank == 4 else row_major_order(result)

    def by_image(
        self, op: shape.Expand, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return operands[0].rank == result.rank or not any(of_images)


@emits(shape.Expand, facts=_Expand())
def expand(code: NodeCode) -> None:
    """Read with strides of zero."""
    (x,), (y,) = code.operand_types, code.result_types
    wide = code.operand_access(0).over(x.shape, y.shape)
    write_copy(code, y.shape, wide, code.result_access(), code.result_order())


def _sliced(op: shape.Slice, whole: Access) -> Access:
    """A slice of an array."""
    steps = list(whole.strides)
    start = whole.start
    for axis, first, _, step in op.bounds(len(steps)):
        start = start + first * steps[axis]
        steps[axis] = steps[axis] * step
    return replace(whole, strides=tuple(steps), start=start)


class _Slice(FollowingFacts):
    def by_image(
        self, op: shape.Slice, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return all(axis != 0 for axis, *_ in op.bounds(result.rank))


@emits(shape.Slice, facts=_Slice())
def slice_(code: NodeCode) -> None:
    """Read from the first element on, with longer strides."""
    op = code.op(shape.Slice)
    part = _sliced(op, code.operand_access(0))
    space = code.result_types[0].shape
    write_copy(code, space, part, code.result_access(), code.result_order())


class _Flip(FollowingFacts):
    def by_image(
        self, op: shape.Flip, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return 0 not in normalize_axes(op.axes, result.rank, op.name)


@emits(shape.Flip, facts=_Flip())
def flip(code: NodeCode) -> None:
    """Read from the last element on, with strides that go back."""
    op = code.op(shape.Flip)
    (x,), whole = code.operand_types, code.operand_access(0)
    start, steps = whole.start, list(whole.strides)
    for axis in normalize_axes(op.axes, x.rank, op.name):
        start = start + (x.shape[axis] - 1) * steps[axis]
        steps[axis] = -1 * steps[axis]
    transposed = replace(whole, strides=tuple(steps), start=start)
    write_copy(code, x.shape, transposed, code.result_access(), code.result_order())


@emits(shape.SliceBackward, facts=FollowingFacts())
def slice_backward(code: NodeCode) -> None:
    """Zeros, then the slice written into them."""
    op = code.op(shape.SliceBackward)
    (dy,), (dx,) = code.operand_types, code.result_types
    write_fill(code, dx.shape, code.result_access(), 0, code.result_order())
    part = _sliced(op.slice(), code.result_access())
    write_copy(code, dy.shape, code.operand_access(0), part, code.result_order())


class _Pad(FollowingFacts):
    def by_image(
        self, op: shape.Pad, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return op.pads[0] == (0, 0)


@emits(shape.Pad, facts=_Pad())
def pad(code: NodeCode) -> None:
    """The border value everywhere, then the operand within."""
    op = code.op(shape.Pad)
    (x,), (y,) = code.operand_types, code.result_types
    whole = code.result_access()
    start = whole.start
    for (before, _), step in zip(op.pads, whole.strides):
        start = start + before * step
    write_fill(code, y.shape, whole, op.value, code.result_order())
    inside = replace(whole, start=start)
    write_copy(code, x.shape, code.operand_access(0), inside, code.result_order())


class _Concat(FollowingFacts):
    writes_part = True

    def by_image(
        self, op: shape.Concat, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return all(of_images) and op.axis % result.rank != 0


@emits(shape.Concat, facts=_Concat())
def concat(code: NodeCode) -> None:
    """Each operand copied to its place, unless it was written there."""
    op = code.op(shape.Concat)
    whole = code.result_access()
    axis = op.axis % len(whole.strides)
    start = whole.start
    for place, x in enumerate(code.operand_types):
        part, own = replace(whole, start=start), code.operand_access(place)
        # What was written there lies there already; a part that is joined twice, or in one whole
        # that lies within another, may have another place in the same buffer.
        if own != part:
            write_copy(code, x.shape, own, part, code.result_order())
        start = start + x.shape[axis] * whole.strides[axis]


@emits(Constant)
def constant(code: NodeCode) -> None:
    """Nothing to do: the array is in its buffer from the start."""


@emits(DimSize)
def dim_size(code: NodeCode) -> None:
    """A dimension as a number."""
    op = code.op(DimSize)
    with code.stage(1) as stage:
        pointer, size = stage.base(code.result_access()), stage.dim(op.size)
        with stage.tasks():
            stage.f.store(size, pointer, 8)


def index_of(stage: Stage, dtype: DType, pointer: V, place: V) -> V:
    """An index of any integer dtype, as i64."""
    at = stage.f.at(pointer, place, dtype.itemsize)
    return convert(stage.f, load(stage, dtype, at, 1), dtype, DType.I64, 1)


def index_below(stage: Stage, size: V, dtype: DType, pointer: V, place: V) -> V:
    """An index as i64, which was checked before (``index_checks.py``).

    A caller may still alter its array meanwhile, from another thread: what is out of range then
    becomes the last index, and no address leaves the array.
    """
    last = stage.f.op("sub", size, i64(1))
    return stage.f.intrinsic("umin", index_of(stage, dtype, pointer, place), last)


@emits(shape.Gather)
def gather(code: NodeCode) -> None:
    """Rows copied one by one."""
    op = code.op(shape.Gather)
    x, indices = code.operand_types
    axis = op.axis % x.rank
    rows, length, count = product(x.shape[:axis]), x.shape[axis], product(x.shape[axis + 1 :])
    slots = row_operand(code, 0), row_operand(code, 1)
    with code.stage(rows * indices.size) as stage:
        f = stage.f
        source, chosen = stage.pointer(slots[0]), stage.pointer(slots[1])
        target = stage.base(code.result_access())
        many, size, width = stage.dim(indices.size), stage.dim(length), stage.dim(count)
        with stage.tasks() as task:
            row, place = f.op("udiv", task, many), f.op("urem", task, many)
            index = index_below(stage, size, indices.dtype, chosen, place)
            start = f.mul(f.add(f.mul(row, size), index), width)
            item = x.dtype.itemsize
            with f.loop(width) as loop:
                value = load(stage, x.dtype, f.at(source, f.add(start, loop.index), item), 1)
                at = f.at(target, f.add(f.mul(task, width), loop.index), item)
                store(stage, x.dtype, value, at, 1)


@emits(shape.GatherBackward)
def gather_backward(code: NodeCode) -> None:
    """Every row added at its index, in order; columns are shared among the tasks."""
    op = code.op(shape.GatherBackward)
    indices = code.operand_types[1]
    (dx,) = code.result_types
    axis = op.axis % dx.rank
    rows, count = product(dx.shape[:axis]), product(dx.shape[axis + 1 :])
    slots = row_operand(code, 0), row_operand(code, 1)
    write_fill(code, dx.shape, code.result_access(), 0)
    with code.stage(rows * count) as stage:
        f = stage.f
        source, chosen = stage.pointer(slots[0]), stage.pointer(slots[1])
        target = stage.base(code.result_access())
        many, size, width = stage.dim(indices.size), stage.dim(op.size), stage.dim(count)
        item = dx.dtype.itemsize
        with stage.tasks() as task:
            row, column = f.op("udiv", task, width), f.op("urem", task, width)
            with f.loop(many) as loop:
                index = index_below(stage, size, indices.dtype, chosen, loop.index)
                there = f.add(f.mul(f.add(f.mul(row, size), index), width), column)
                here = f.add(f.mul(f.add(f.mul(row, many), loop.index), width), column)
                at = f.at(target, there, item)
                old = load(stage, dx.dtype, at, 1)
                new = load(stage, dx.dtype, f.at(source, here, item), 1)
                total = f.op("fadd" if dx.dtype.is_float else "add", old, new)
                store(stage, dx.dtype, total, at, 1)


@emits(shape.OneHot, facts=_Moved())
def one_hot(code: NodeCode) -> None:
    """1 where the index is the place."""
    op = code.op(shape.OneHot)
    (indices,) = code.operand_types
    slot = row_operand(code, 0)
    with code.stage(indices.size) as stage:
        f = stage.f
        chosen, target = stage.pointer(slot), stage.base(code.result_access())
        with stage.tasks() as task:
            index = index_of(stage, indices.dtype, chosen, task)
            with f.loop(op.depth) as loop:
                hit = f.compare("icmp eq", index, loop.index)
                value = f.select(hit, scalar_constant(1, op.dtype), scalar_constant(0, op.dtype))
                at = f.at(target, f.add(f.mul(task, op.depth), loop.index), op.dtype.itemsize)
                store(stage, op.dtype, value, at, 1)
