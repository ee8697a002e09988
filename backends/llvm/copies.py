"""Data movement: transposes, slices, borders, concatenation, rows chosen by index."""

from __future__ import annotations

from dataclasses import replace

from ...ir import Dim, DType
from ...ir.dims import product
from ...ir.ops import shape
from ...ir.ops.constant import Constant, DimSize
from .code import Access, NodeCode, Stage, emits
from .elements import scalar_constant
from .emitter import V
from .layouts import Order, Reorder, blocked_strides, row_order, same_place
from .maps import load, store, write_map
from .spaces import Shape, broadcast_strides, row_major


def write_copy(
    code: NodeCode, space: Shape, source: Access, result: Access, order: Order | None = None
) -> None:
    """Write one launch that copies over a space, in the given order of its axes."""
    write_map(code, space, [source], result, lambda stage, lanes, values: values[0], order)


def row_operand(code: NodeCode, place: int) -> int:
    """The buffer of an operand in row order: its own, or that of a copy written first."""
    value = code.node.operands[place]
    shape_, order = value.type.shape, code.orders[value.name]
    rows = row_order(len(shape_))
    if same_place(shape_, order, rows):
        return code.slots[value]
    slot = code.scratch(value.type.nbytes)
    target = Access(slot, value.type.dtype, row_major(shape_))
    write_copy(code, shape_, code.operand_access(place), target)
    return slot


def write_fill(code: NodeCode, dtype: DType, slot: int, size: Dim, value: float) -> None:
    """Write one launch that fills a buffer with a number."""
    write_map(
        code,
        (size,),
        [],
        Access(slot, dtype, (1,)),
        lambda stage, lanes, values: scalar_constant(value, dtype, lanes),
    )


@emits(shape.Reshape, shape.Flatten)
def reshape(code: NodeCode) -> None:
    """Nothing to do: the result is the operand's buffer, or a copy where it must be its own."""
    (x,), (y,) = code.operand_types, code.result_types
    if code.operand(0) != code.result():
        source = row_operand(code, 0)
        run = Access(source, x.dtype, (1,))
        write_copy(code, (x.size,), run, Access(code.result(), y.dtype, (1,)))


@emits(Reorder)
def reorder(code: NodeCode) -> None:
    """The same elements, at other places."""
    op = code.node.op
    assert isinstance(op, Reorder)
    (x,) = code.operand_types
    source = code.operand_access(0)
    if not op.block:
        write_copy(code, x.shape, source, code.result_access(), op.order)
        return
    # The blocked axis becomes two: the block, in front, and the place within it.
    axis = op.order[-1]
    steps, apart = blocked_strides(x.shape, op.order, op.block)
    space = list(x.shape)
    space[axis] = op.block
    write_copy(
        code,
        (x.shape[axis] // op.block, *space),
        replace(source, strides=(source.strides[axis] * op.block, *source.strides)),
        Access(code.result(), x.dtype, (apart, *steps)),
        (0, *(axis + 1 for axis in op.order)),
    )


@emits(shape.Transpose)
def transpose(code: NodeCode) -> None:
    """Read with permuted strides."""
    op = code.node.op
    assert isinstance(op, shape.Transpose)
    (y,) = code.result_types
    source = code.operand_access(0)
    permuted = replace(source, strides=tuple(source.strides[axis] for axis in op.perm))
    write_copy(code, y.shape, permuted, code.result_access(), code.result_order())


@emits(shape.Expand)
def expand(code: NodeCode) -> None:
    """Read with strides of zero."""
    (x,), (y,) = code.operand_types, code.result_types
    source = code.operand_access(0)
    steps = broadcast_strides(x.shape, y.shape, source.strides)
    wide = replace(source, strides=steps)
    write_copy(code, y.shape, wide, code.result_access(), code.result_order())


def _sliced(op: shape.Slice, whole: Access) -> Access:
    """A slice of an array."""
    steps = list(whole.strides)
    start = whole.start
    for axis, first, _, step in op.bounds(len(steps)):
        start = start + first * steps[axis]
        steps[axis] = steps[axis] * step
    return replace(whole, strides=tuple(steps), start=start)


@emits(shape.Slice)
def slice_(code: NodeCode) -> None:
    """Read from the first element on, with longer strides."""
    op = code.node.op
    assert isinstance(op, shape.Slice)
    part = _sliced(op, code.operand_access(0))
    space = code.result_types[0].shape
    write_copy(code, space, part, code.result_access(), code.result_order())


@emits(shape.SliceBackward)
def slice_backward(code: NodeCode) -> None:
    """Zeros, then the slice written into them."""
    op = code.node.op
    assert isinstance(op, shape.SliceBackward)
    (dy,), (dx,) = code.operand_types, code.result_types
    write_fill(code, dx.dtype, code.result(), dx.size, 0)
    part = _sliced(op.slice(), code.result_access())
    write_copy(code, dy.shape, code.operand_access(0), part, code.result_order())


@emits(shape.Pad)
def pad(code: NodeCode) -> None:
    """The border value everywhere, then the operand within."""
    op = code.node.op
    assert isinstance(op, shape.Pad)
    (x,), (y,) = code.operand_types, code.result_types
    whole = code.result_access()
    start: Dim = 0
    for (before, _), step in zip(op.pads, whole.strides):
        start = start + before * step
    write_fill(code, y.dtype, code.result(), y.size, op.value)
    inside = replace(whole, start=start)
    write_copy(code, x.shape, code.operand_access(0), inside, code.result_order())


@emits(shape.Concat)
def concat(code: NodeCode) -> None:
    """Each operand copied to its place."""
    op = code.node.op
    assert isinstance(op, shape.Concat)
    whole = code.result_access()
    axis = op.axis % len(whole.strides)
    start: Dim = 0
    for place, x in enumerate(code.operand_types):
        part = replace(whole, start=start)
        write_copy(code, x.shape, code.operand_access(place), part, code.result_order())
        start = start + x.shape[axis] * whole.strides[axis]


@emits(Constant)
def constant(code: NodeCode) -> None:
    """Nothing to do: the array is in its buffer from the start."""


@emits(DimSize)
def dim_size(code: NodeCode) -> None:
    """A dimension as a number."""
    op = code.node.op
    assert isinstance(op, DimSize)
    with code.stage(1) as stage:
        pointer, size = stage.pointer(code.result()), stage.dim(op.size)
        with stage.tasks():
            stage.f.store(size, pointer, 8)


def index_of(stage: Stage, dtype: DType, pointer: V, place: V) -> V:
    """An index of any integer dtype, as i64."""
    from .elements import convert

    at = stage.f.at(pointer, place, dtype.itemsize)
    return convert(stage.f, load(stage, dtype, at, 1), dtype, DType.I64, 1)


def _rows(x_shape: Shape, indices: Shape, axis: int) -> tuple[Shape, Shape]:
    return x_shape[:axis], x_shape[axis + 1 :]


@emits(shape.Gather)
def gather(code: NodeCode) -> None:
    """Rows copied one by one."""
    op = code.node.op
    assert isinstance(op, shape.Gather)
    x, indices = code.operand_types
    axis = op.axis % x.rank
    before, after = _rows(x.shape, indices.shape, axis)
    rows, length, count = product(before), x.shape[axis], product(after)
    slots = row_operand(code, 0), row_operand(code, 1)
    with code.stage(rows * indices.size) as stage:
        f = stage.f
        source, chosen = stage.pointer(slots[0]), stage.pointer(slots[1])
        target = stage.pointer(code.result())
        many, size, width = stage.dim(indices.size), stage.dim(length), stage.dim(count)
        with stage.tasks() as task:
            row, place = f.op("udiv", task, many), f.op("urem", task, many)
            index = index_of(stage, indices.dtype, chosen, place)
            start = f.mul(f.add(f.mul(row, size), index), width)
            item = x.dtype.itemsize
            with f.loop(width) as loop:
                value = load(stage, x.dtype, f.at(source, f.add(start, loop.index), item), 1)
                at = f.at(target, f.add(f.mul(task, width), loop.index), item)
                store(stage, x.dtype, value, at, 1)


@emits(shape.GatherBackward)
def gather_backward(code: NodeCode) -> None:
    """Every row added at its index, in order; columns are shared among the tasks."""
    op = code.node.op
    assert isinstance(op, shape.GatherBackward)
    indices = code.operand_types[1]
    (dx,) = code.result_types
    axis = op.axis % dx.rank
    rows, count = product(dx.shape[:axis]), product(dx.shape[axis + 1 :])
    slots = row_operand(code, 0), row_operand(code, 1)
    write_fill(code, dx.dtype, code.result(), dx.size, 0)
    with code.stage(rows * count) as stage:
        f = stage.f
        source, chosen = stage.pointer(slots[0]), stage.pointer(slots[1])
        target = stage.pointer(code.result())
        many, size, width = stage.dim(indices.size), stage.dim(op.size), stage.dim(count)
        item = dx.dtype.itemsize
        with stage.tasks() as task:
            row, column = f.op("udiv", task, width), f.op("urem", task, width)
            with f.loop(many) as loop:
                index = index_of(stage, indices.dtype, chosen, loop.index)
                there = f.add(f.mul(f.add(f.mul(row, size), index), width), column)
                here = f.add(f.mul(f.add(f.mul(row, many), loop.index), width), column)
                at = f.at(target, there, item)
                old = load(stage, dx.dtype, at, 1)
                new = load(stage, dx.dtype, f.at(source, here, item), 1)
                total = f.op("fadd" if dx.dtype.is_float else "add", old, new)
                store(stage, dx.dtype, total, at, 1)


@emits(shape.OneHot)
def one_hot(code: NodeCode) -> None:
    """1 where the index is the place."""
    op = code.node.op
    assert isinstance(op, shape.OneHot)
    (indices,) = code.operand_types
    slot = row_operand(code, 0)
    with code.stage(indices.size) as stage:
        f = stage.f
        chosen, target = stage.pointer(slot), stage.pointer(code.result())
        with stage.tasks() as task:
            index = index_of(stage, indices.dtype, chosen, task)
            with f.loop(op.depth) as loop:
                hit = f.compare("icmp eq", index, loop.index)
                value = f.select(hit, scalar_constant(1, op.dtype), scalar_constant(0, op.dtype))
                at = f.at(target, f.add(f.mul(task, op.depth), loop.index), op.dtype.itemsize)
                store(stage, op.dtype, value, at, 1)
