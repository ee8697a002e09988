"""Sums and means in the order of memory.

NumPy adds the rows of a reduced array in its inner loop, which is short where only the channels of
a channels-last image are kept. Such images are viewed as a matrix with longer rows first.
"""

from __future__ import annotations

from math import prod

from ...ir import Array
from ...ir.ops.reduce import Mean, Reduction, Sum, normalize_axes
from .kernels import kernel
from .layout import channel_rows, channel_sums
from .memory import Memory


@kernel(Sum)
def sum_(op: Sum, memory: Memory, x: Array) -> Array:
    return _channel_total(op, x) if _keeps_channels(op, x) else op.reference(x)


@kernel(Mean)
def mean(op: Mean, memory: Memory, x: Array) -> Array:
    if not _keeps_channels(op, x):
        return op.reference(x)
    count = prod(x.shape) // x.shape[1]
    return _channel_total(op, x) / x.dtype.type(count)


def _keeps_channels(op: Reduction, x: Array) -> bool:
    """Whether all axes but dimension 1 of a channels-last image are reduced."""
    axes = normalize_axes(op.axes, x.ndim, op.name)
    images = x.ndim == 4 and axes == (0, 2, 3) and x.dtype.kind == "f" and x.dtype.itemsize > 2
    return images and x.size > 0 and x.transpose(0, 2, 3, 1).flags.c_contiguous


def _channel_total(op: Reduction, x: Array) -> Array:
    sums = channel_sums(channel_rows(x), x.shape[1])
    return sums.reshape(1, -1, 1, 1) if op.keepdims else sums
