"""Pooling over windows of a fixed size: one pass for each place of the window, over all windows.

Adaptive windows differ in size; there are few of them, and the plain references take each over
all images and channels at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...ir import Array, DType, TensorType
from ...ir.dims import sizes
from ...ir.ops import pool as ops
from ...ir.ops.pool_indices import MaxPool2dIndices
from .elementwise import choose
from .kernels import kernel
from .memory import Memory

Cells = tuple[slice, slice]


def _places(op: ops.FixedWindows, x_size: tuple[int, int]) -> Iterator[tuple[Cells, Cells]]:
    """For each place of a window, in row-major order: the windows that have it inside of x, and the
    pixels of x that stand there."""
    rows, columns = (list(_along(op, axis, size)) for axis, size in enumerate(x_size))
    for windows_down, down in rows:
        for windows_across, across in columns:
            yield (windows_down, windows_across), (down, across)


def _along(op: ops.FixedWindows, axis: int, size: int) -> Iterator[tuple[slice, slice]]:
    kernel_size, stride, (before, _), dilation = op.geometry(axis)
    (count,) = sizes((op.count(axis, size),))
    # A window may be far larger than x, with padding on both sides: only the cells that some
    # window has inside of x are gone through.
    first_cell = max(-(((count - 1) * stride - before) // dilation), 0)
    last_cell = min((before + size - 1) // dilation, kernel_size - 1)
    for cell in range(first_cell, last_cell + 1):
        place = cell * dilation - before  # of window 0
        first = max(-(place // stride), 0)
        last = min((size - 1 - place) // stride, count - 1)
        if first <= last:
            at = first * stride + place
            yield slice(first, last + 1), slice(at, last * stride + place + 1, stride)


def _pooled(op: ops.FixedWindows, x: Array) -> tuple[int, ...]:
    return sizes(op.pooled(TensorType.of(x)).shape)


@kernel(ops.MaxPool2d)
def max_pool2d(op: ops.MaxWindows, memory: Memory, x: Array) -> Array:
    y = memory.empty_like(x, _pooled(op, x))
    y[...] = ops.lowest(DType.of(x.dtype))
    for windows, pixels in _places(op, x.shape[2:]):
        part = y[..., *windows]
        np.maximum(part, x[..., *pixels], out=part)
    return y


def _maxima(op: ops.MaxWindows, memory: Memory, x: Array) -> Iterator[tuple[Cells, Cells, Array]]:
    """The places, each with where the first maximum of a window stands there."""
    y = max_pool2d(op, memory, x)
    has_nan = np.isnan(y).any()
    free, hit = (memory.empty_like(y, dtype=np.dtype(np.bool_)) for _ in range(2))
    free[...] = True
    for windows, pixels in _places(op, x.shape[2:]):
        found, open_ = hit[..., *windows], free[..., *windows]
        np.equal(x[..., *pixels], y[..., *windows], out=found)
        if has_nan:
            found |= np.isnan(x[..., *pixels])
        found &= open_
        open_ ^= found
        yield windows, pixels, found


@kernel(ops.MaxPool2dBackward)
def max_pool2d_backward(op: ops.MaxPool2dBackward, memory: Memory, x: Array, dy: Array) -> Array:
    dx, zero = memory.empty_like(x), np.zeros((), x.dtype)
    dx[...] = 0
    for windows, pixels, found in _maxima(op, memory, x):
        dx[..., *pixels] += choose(memory, found, dy[..., *windows], zero)
    return dx


@kernel(ops.MaxPool2dSelect)
def max_pool2d_select(op: ops.MaxPool2dSelect, memory: Memory, x: Array, g: Array) -> Array:
    y, zero = memory.empty_like(x, _pooled(op, x)), np.zeros((), x.dtype)
    y[...] = 0
    for windows, pixels, found in _maxima(op, memory, x):
        y[..., *windows] += choose(memory, found, g[..., *pixels], zero)
    return y


@kernel(ops.AvgPool2d)
def avg_pool2d(op: ops.AvgPool2d, memory: Memory, x: Array) -> Array:
    y = memory.empty_like(x, _pooled(op, x))
    y[...] = 0
    for windows, pixels in _places(op, x.shape[2:]):
        y[..., *windows] += x[..., *pixels]
    y /= op.areas(x)
    return y


@kernel(ops.AvgPool2dBackward)
def avg_pool2d_backward(op: ops.AvgPool2dBackward, memory: Memory, dy: Array) -> Array:
    dx = memory.empty_like(dy, (*dy.shape[:2], *sizes(op.size)))
    dx[...] = 0
    share = np.divide(dy, op.areas(dx), out=memory.result(dy))
    for windows, pixels in _places(op, dx.shape[2:]):
        dx[..., *pixels] += share[..., *windows]
    return dx


@kernel(MaxPool2dIndices)
def max_pool2d_indices(op: MaxPool2dIndices, memory: Memory, x: Array) -> Array:
    y = memory.empty_like(x, _pooled(op, x), np.dtype(np.int64))
    y[...] = 0
    cells = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:])
    for windows, pixels, found in _maxima(op, memory, x):
        np.copyto(y[..., *windows], cells[pixels], where=found)
    return y
