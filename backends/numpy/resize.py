"""Resizing, in the order of the axes in memory, which NumPy's own functions do not keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir import Array
from ...ir.dims import sizes
from ...ir.ops.resize import Resize, ResizeBackward
from .kernels import kernel
from .memory import Memory


def _as_it_lies(x: Array, axes: tuple[int, ...], run: Callable[[Array, list[int]], Array]) -> Array:
    """What ``run`` makes of x with its axes as they lie in memory, and of these axes there."""
    order = sorted(range(x.ndim), key=lambda axis: (-abs(x.strides[axis]), axis))
    y = run(x.transpose(order), [order.index(axis % x.ndim) for axis in axes])
    return y.transpose([order.index(axis) for axis in range(x.ndim)])


@kernel(Resize)
def resize(op: Resize, memory: Memory, x: Array) -> Array:
    return _as_it_lies(x, op.axes, lambda x, axes: op.with_attributes(axes=axes).reference(x))


@kernel(ResizeBackward)
def resize_backward(op: ResizeBackward, memory: Memory, dy: Array) -> Array:
    return _as_it_lies(dy, op.axes, lambda dy, axes: _onto(op, dy, axes))


def _onto(op: ResizeBackward, dy: Array, axes: list[int]) -> Array:
    """Places that read the same one follow one another: their rows are summed in one go."""
    dx = dy.astype(np.result_type(dy.dtype, np.float32), copy=False)
    for place, (axis, size) in enumerate(zip(axes, sizes(op.sizes))):
        taps = op.table(place, size, dy.shape[axis])
        column = (-1, *(1,) * (dx.ndim - 1 - axis))
        total = np.zeros((*dx.shape[:axis], size, *dx.shape[axis + 1 :]), dx.dtype)
        for indices, weights, counts in zip(taps.indices.T, taps.weights.T, taps.counts.T):
            if not counts.any():
                continue
            found, starts = np.unique(indices[counts], return_index=True)
            rows = np.compress(counts, dx, axis) * weights[counts].astype(dx.dtype).reshape(column)
            where: tuple[Any, ...] = (*(slice(None),) * axis, found)
            total[where] += np.add.reduceat(rows, starts, axis=axis)
        dx = total
    return dx.astype(dy.dtype, copy=False)
