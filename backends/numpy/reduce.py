"""Sums and means in the order of memory.

NumPy adds the rows of a reduced array in its inner loop, which is short where only the channels of
a channels-last image are kept. Such images are viewed as a matrix with longer rows first.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ...ir import Array
from ...ir.ops.reduce import Mean, Reduction, Sum, normalize_axes, sum_of
from .kernels import kernel
from .layout import channel_rows, channel_sums
from .memory import Memory

# The most terms that NumPy adds one after the other in f32.
CHAIN = 256


@kernel(Sum)
def sum_(op: Sum, memory: Memory, x: Array) -> Array:
    return _total(op, x)


@kernel(Mean)
def mean(op: Mean, memory: Memory, x: Array) -> Array:
    if x.dtype.itemsize == 2:
        return op.reference(x)
    count = prod(x.shape[axis] for axis in normalize_axes(op.axes, x.ndim, op.name))
    return _total(op, x) / x.dtype.type(count)


def _total(op: Reduction, x: Array) -> Array:
    """The sum; in f64, unless f32 keeps its digits.

    NumPy adds in pairs along axes that lie innermost in memory and in one piece, and in order
    along all others.
    """
    axes = normalize_axes(op.axes, x.ndim, op.name)
    if _keeps_channels(axes, x):
        sums = channel_sums(channel_rows(x), x.shape[1])
        return sums.reshape(1, -1, 1, 1) if op.keepdims else sums
    paired, step = 1, x.itemsize
    for axis in sorted(axes, key=lambda axis: x.strides[axis]):
        if x.strides[axis] == step:
            paired, step = paired * x.shape[axis], step * x.shape[axis]
    chain = prod(x.shape[axis] for axis in axes) // max(paired, 1)
    if x.dtype == np.float32 and chain <= CHAIN:
        return np.asarray(x.sum(axis=op.axes, keepdims=op.keepdims))
    return sum_of(x, op.axes, op.keepdims)


def _keeps_channels(axes: tuple[int, ...], x: Array) -> bool:
    """Whether ``axes`` are all but dimension 1 of a channels-last image."""
    images = x.ndim == 4 and axes == (0, 2, 3) and x.dtype.kind == "f" and x.dtype.itemsize > 2
    return images and x.size > 0 and x.transpose(0, 2, 3, 1).flags.c_contiguous
