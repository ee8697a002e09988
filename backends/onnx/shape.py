"""Export of the ops that move data."""

from __future__ import annotations

import numpy as np

from ...ir import Dim, DType, Node
from ...ir.ops import shape as ops
from ...ir.ops.reduce import normalize_axes, normalize_axis
from .indexing import as_indices
from .rules import HALVES_IN_F32, SHORTS_IN_I32, exports
from .writer import Writer


@exports(ops.Reshape, carriers={})
def _reshape(w: Writer, op: ops.Reshape, node: Node, x: str) -> str:
    return w.reshape(x, node.operands[0].type.shape, op.shape)


@exports(ops.Transpose, carriers={})
def _transpose(w: Writer, op: ops.Transpose, node: Node, x: str) -> str:
    return w("Transpose", x, perm=op.perm) if op.perm else w("Identity", x)


@exports(ops.Concat, carriers={})
def _concat(w: Writer, op: ops.Concat, node: Node, *xs: str) -> str:
    return w("Concat", *xs, axis=op.axis)


@exports(ops.Slice, carriers={})
def _slice(w: Writer, op: ops.Slice, node: Node, x: str) -> str:
    bounds = op.bounds(node.operands[0].type.rank)
    if not bounds:
        return w("Identity", x)
    axes, starts, stops, steps = zip(*bounds)
    return w("Slice", x, *map(w.ints, (starts, stops, axes, steps)))


@exports(ops.Flip, carriers={})
def _flip(w: Writer, op: ops.Flip, node: Node, x: str) -> str:
    """From the last element on, backwards, to the one before the first: beyond any size."""
    axes = normalize_axes(op.axes, node.operands[0].type.rank, op.name)
    if not axes:
        return w("Identity", x)
    bounds = ([-1] * len(axes), [-(2**63) + 1] * len(axes), axes, [-1] * len(axes))
    return w("Slice", x, *map(w.ints, bounds))


@exports(ops.SliceBackward, carriers=SHORTS_IN_I32)
def _slice_backward(w: Writer, op: ops.SliceBackward, node: Node, dy: str) -> str:
    """Steps are undone by scattering along one axis after another, the rest is padding."""
    dtype, shape = node.operands[0].type.dtype, list(node.operands[0].type.shape)
    before: list[Dim] = [0] * len(shape)
    after: list[Dim] = [0] * len(shape)
    for axis, start, stop, step in op.slice().bounds(len(shape)):
        if step == 1:
            before[axis], after[axis] = start, op.shape[axis] - stop
            continue
        offset, stride = w.size(start), w.ints([step])
        rows = w("Add", offset, w("Mul", w.range(shape[axis]), stride))
        shape[axis] = op.shape[axis]
        dy = _scatter(w, dy, rows, axis, tuple(shape), dtype, "none")
    if all(size == 0 for size in before + after):
        return w("Identity", dy)
    return w("Pad", dy, w.ints(before + after), w.constant(0, dtype))


@exports(ops.Pad, carriers=SHORTS_IN_I32)
def _pad(w: Writer, op: ops.Pad, node: Node, x: str) -> str:
    dtype = node.operands[0].type.dtype
    if not op.pads:
        return w("Identity", x)
    borders = [before for before, _ in op.pads] + [after for _, after in op.pads]
    value = np.asarray(op.value).astype(dtype.numpy)
    return w("Pad", x, w.ints(borders), w.constant(value, dtype), mode="constant")


@exports(ops.Gather, carriers={})
def _gather(w: Writer, op: ops.Gather, node: Node, x: str, indices: str) -> str:
    return w("Gather", x, as_indices(w, node, indices), axis=op.axis)


@exports(ops.GatherBackward, carriers=HALVES_IN_F32)
def _gather_backward(w: Writer, op: ops.GatherBackward, node: Node, dy: str, indices: str) -> str:
    """With the indices in one dimension, rows of dy are added along the axis."""
    rank, shape = node.operands[1].type.rank, node.operands[0].type.shape
    axis = normalize_axis(op.axis, node.result.type.rank, op.name)
    picked = node.operands[1].type.size
    flat = (*shape[:axis], picked, *shape[axis + rank :])
    rows = w.reshape(as_indices(w, node, indices), node.operands[1].type.shape, (picked,))
    updates = w.reshape(dy, shape, flat)
    dx = node.result.type
    return _scatter(w, updates, rows, axis, dx.shape, dx.dtype, "add")


@exports(ops.Expand)
def _expand(w: Writer, op: ops.Expand, node: Node, x: str) -> str:
    return w("Expand", x, w.ints(op.shape))


@exports(ops.OneHot, carriers={})
def _one_hot(w: Writer, op: ops.OneHot, node: Node, indices: str) -> str:
    column = w("Unsqueeze", w.cast(indices, DType.I64), w.ints([-1]))
    return w.cast(w("Equal", column, w.range(op.depth)), op.dtype)


def _scatter(
    w: Writer,
    updates: str,
    rows: str,
    axis: int,
    shape: tuple[Dim, ...],
    dtype: DType,
    reduction: str,
) -> str:
    """Zeros of ``shape`` with the slices of ``updates`` along ``axis`` put at ``rows`` [K]."""
    column = w("Unsqueeze", rows, w.ints([i for i in range(len(shape)) if i != axis]))
    indices = w("Expand", column, w("Shape", updates))
    zeros = w("Expand", w.constant(0, dtype), w.ints(shape))
    return w("ScatterElements", zeros, indices, updates, axis=axis, reduction=reduction)
