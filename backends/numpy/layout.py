"""How arrays lie in memory here: images are [N, C, H, W] to the graph and channels-last in memory.

A kernel that makes an image allocates [N, H, W, C] and returns the transposed view. NumPy's
elementwise functions keep the order of memory, so a network runs channels-last from its first
convolution on. An operand may lie in any order; another order costs a copy.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array
from .memory import Memory

# Per-channel vectors are repeated to rows of up to this many elements: NumPy pays for each row.
LONGEST_ROW = 16_384
# How many rows are added in f32, and what a short row is.
TERMS, SHORT = 64, 512


def channels_last(x: Array) -> Array:
    """x [N, C, ...] as [N, ..., C], without a copy."""
    return np.moveaxis(x, 1, -1)


def channels_first(x: Array) -> Array:
    """x [N, ..., C] as [N, C, ...], without a copy."""
    return np.moveaxis(x, -1, 1)


def laid_channels_last(memory: Memory, x: Array) -> Array:
    """A copy of x [N, C, ...] that lies channels-last."""
    y = memory.empty(channels_last(x).shape, x.dtype)
    y[...] = channels_last(x)
    return channels_first(y)


def channel_rows(x: Array) -> Array:
    """x [N, C, ...] as a contiguous matrix [M, k*C] of k channel vectors a row.

    A copy only where ``x`` does not lie channels-last.
    """
    last = np.ascontiguousarray(channels_last(x))
    return last.reshape(-1, row_factor(last.size, last.shape[-1]) * last.shape[-1])


def row_factor(size: int, channels: int) -> int:
    """How many vectors of ``channels`` elements make a row: a power of two that divides."""
    vectors, factor = size // max(channels, 1), 1
    while vectors and vectors % (2 * factor) == 0 and 2 * factor * channels <= LONGEST_ROW:
        factor *= 2
    return factor


def from_channel_rows(rows: Array, x: Array) -> Array:
    """A matrix of :func:`channel_rows` of ``x`` with the shape of x again, without a copy."""
    return channels_first(rows.reshape(channels_last(x).shape))


def channel_sums(rows: Array, channels: int) -> Array:
    """The sum of each channel of a matrix of :func:`channel_rows`."""
    return fold_row(sum_of_rows(rows), channels).astype(rows.dtype)


def sum_of_rows(rows: Array) -> Array:
    """The sum of all rows of a matrix, in f64.

    In f32 the rounding of a sum grows with the number of its terms: only some rows are added in
    it. (Where rows are short, to add in f64 from the start is as fast.)
    """
    if rows.shape[1] < SHORT or rows.dtype.itemsize != 4:
        return np.add.reduce(rows, axis=0, dtype=np.float64)
    total = np.zeros(rows.shape[1])
    for start in range(0, len(rows), TERMS):
        total += np.add.reduce(rows[start : start + TERMS], axis=0)
    return total


def fold_row(row: Array, channels: int) -> Array:
    """The sum of the channel vectors side by side in a row, a power of two of them, in pairs."""
    while len(row) > channels:
        half = len(row) // 2
        row = row[:half] + row[half:]
    return row
