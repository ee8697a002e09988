"""Batch normalisation over channels-last rows.

The statistics take two passes, as everywhere: first the mean, then the squares of what is left.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array
from ...ir.ops.normalize import BatchNorm, BatchNormTrain, BatchNormTrainBackward
from .kernels import kernel
from .layout import channel_rows, channel_sums, fold_row, from_channel_rows, sum_of_rows
from .memory import Memory

# Elements of one block, whose temporaries stay in a second-level cache.
BLOCK = 2**17


def _scale(variance: Array, epsilon: float) -> Array:
    """1 / sqrt(variance + epsilon)."""
    root = np.sqrt(variance + variance.dtype.type(epsilon))
    return np.divide(root.dtype.type(1), root)


@kernel(BatchNorm)
def batch_norm(
    op: BatchNorm, memory: Memory, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array
) -> Array:
    rows = channel_rows(x)
    y = memory.empty(rows.shape, rows.dtype)
    repeats = rows.shape[1] // len(mean)
    shift, scale, offset = (
        np.tile(v, repeats) for v in (mean, gamma * _scale(variance, op.epsilon), beta)
    )
    for block in _blocks(rows):
        np.subtract(rows[block], shift, out=y[block])
        y[block] *= scale
        y[block] += offset
    return from_channel_rows(y, x)


def _blocks(rows: Array) -> list[slice]:
    step = max(1, BLOCK // max(1, rows.shape[1]))
    return [slice(i, i + step) for i in range(0, len(rows), step)]


@kernel(BatchNormTrain)
def batch_norm_train(
    op: BatchNormTrain, memory: Memory, x: Array, gamma: Array, beta: Array
) -> tuple[Array, Array, Array]:
    channels = len(gamma)
    rows = channel_rows(x)
    repeats, count = rows.shape[1] // channels, rows.dtype.type(rows.size // channels)
    mean = channel_sums(rows, channels) / count
    shift = np.tile(mean, repeats)
    y = memory.empty(rows.shape, rows.dtype)
    squares = np.zeros(rows.shape[1])
    for block in _blocks(rows):
        centred = np.subtract(rows[block], shift, out=y[block])
        squares += sum_of_rows(centred * centred)
    variance = (fold_row(squares, channels) / count).astype(rows.dtype)
    scale, offset = np.tile(gamma * _scale(variance, op.epsilon), repeats), np.tile(beta, repeats)
    for block in _blocks(rows):
        y[block] *= scale
        y[block] += offset
    return from_channel_rows(y, x), mean, variance


@kernel(BatchNormTrainBackward)
def batch_norm_train_backward(
    op: BatchNormTrainBackward, memory: Memory, *operands: Array
) -> tuple[Array, Array, Array]:
    """With c = x - mean: dx = gamma*s * dy - gamma*s**2 * dgamma/M * c - gamma*s * dbeta/M."""
    x, gamma, mean, variance, dy = operands
    channels = len(gamma)
    rows, slopes = channel_rows(x), channel_rows(dy)
    repeats, count = rows.shape[1] // channels, rows.dtype.type(rows.size // channels)
    shift = np.tile(mean, repeats)
    dx = memory.empty(rows.shape, rows.dtype)
    total, along = (np.zeros(rows.shape[1]) for _ in range(2))
    for block in _blocks(rows):
        centred = np.subtract(rows[block], shift, out=dx[block])
        total += sum_of_rows(slopes[block])
        along += sum_of_rows(slopes[block] * centred)
    s = _scale(variance, op.epsilon)
    dbeta = fold_row(total, channels).astype(rows.dtype)
    dgamma = fold_row(along, channels).astype(rows.dtype) * s
    by_slope, by_centred, constant = (
        np.tile(v, repeats)
        for v in (gamma * s, -gamma * s * s * dgamma / count, -gamma * s * dbeta / count)
    )
    for block in _blocks(rows):
        part = dx[block]
        part *= by_centred
        part += slopes[block] * by_slope
        part += constant
    return from_channel_rows(dx, x), dgamma, dbeta
