"""Kernels that move data: they keep the order of axes in memory, where NumPy's own often do not."""

from __future__ import annotations

import numpy as np

from ...ir import Array
from ...ir.dims import sizes
from ...ir.ops.shape import Expand, GatherBackward, Pad, Reshape, SliceBackward, check_indices
from .kernels import kernel
from .layout import laid_channels_last
from .memory import Memory


@kernel(Reshape)
def reshape(op: Reshape, memory: Memory, x: Array) -> Array:
    """A view where there can be one; images made of other ranks are laid channels-last."""
    y = x.reshape(sizes(op.shape))
    return laid_channels_last(memory, y) if y.ndim == 4 != x.ndim else y


@kernel(Pad)
def pad(op: Pad, memory: Memory, x: Array) -> Array:
    shape = [before + size + after for size, (before, after) in zip(x.shape, op.pads)]
    y = memory.empty_like(x, shape)
    y[...] = x.dtype.type(op.value)
    y[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, op.pads))] = x
    return y


@kernel(SliceBackward)
def slice_backward(op: SliceBackward, memory: Memory, dy: Array) -> Array:
    dx = memory.empty_like(dy, sizes(op.shape))
    dx[...] = 0
    op.slice().reference(dx)[...] = dy
    return dx


@kernel(Expand)
def expand(op: Expand, memory: Memory, x: Array) -> Array:
    """A view that repeats x: kernels never write to their operands."""
    return np.broadcast_to(x, sizes(op.shape))


@kernel(GatherBackward)
def gather_backward(op: GatherBackward, memory: Memory, dy: Array, indices: Array) -> Array:
    """Rows sorted by their index, then one sum for each run of equal indices."""
    (size,) = sizes((op.size,))
    check_indices(indices, size)
    axis = op.axis % (dy.ndim - indices.ndim + 1)
    lead = tuple(range(axis, axis + indices.ndim))
    front = np.moveaxis(dy, lead, range(indices.ndim))
    rest = front.shape[indices.ndim :]
    dx = np.zeros((size, *rest), dy.dtype)
    if indices.size:
        order = np.argsort(indices, axis=None, kind="stable")
        found, starts = np.unique(indices.ravel()[order], return_index=True)
        rows = front.reshape(indices.size, *rest)[order]
        dx[found] = np.add.reduceat(rows, starts, axis=0)
    return np.moveaxis(dx, 0, axis)
