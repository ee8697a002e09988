"""Matrix products cut into pieces of the size that OpenBLAS multiplies fastest.

With AVX-512, OpenBLAS has kernels for products of up to 100**3 multiplications that skip the
packing of operands: for the tall and narrow matrices of small convolutions they are two to four
times as fast. Where such a piece would have too few rows, the product is left whole.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array

SMALL = 100**3
LEAST_ROWS = 32
# The most rows of a piece whose products are added up, and the most pieces added in f32.
MOST_TERMS, MOST_PIECES = 1024, 64


def multiply(a: Array, b: Array, out: Array) -> None:
    """out[g,n] = a[g,n] @ b[g] with a [groups, images, rows, depth], b [groups, depth, columns]."""
    groups, images, rows, depth = a.shape
    limit = SMALL // (depth * b.shape[-1])
    if images > 1 and min(limit, rows) < LEAST_ROWS:
        flat = np.empty((groups, 1, images * rows, b.shape[-1]), out.dtype)
        multiply(a.reshape(groups, 1, images * rows, depth), b, flat)
        out[...] = flat.reshape(out.shape)
        return
    step = _step(rows, limit)
    whole = rows - rows % step
    pieces = (groups, images, whole // step, step)
    np.matmul(
        a[:, :, :whole].reshape(*pieces, depth),
        b[:, None, None],
        out=out[:, :, :whole].reshape(*pieces, b.shape[-1]),
    )
    if whole < rows:
        np.matmul(a[:, :, whole:], b[:, None], out=out[:, :, whole:])


def multiply_transposed(a: Array, b: Array) -> Array:
    """sum over n of a[g,n].T @ b[g,n], with a and b [groups, images, rows, columns]."""
    groups, images, rows, depth = a.shape
    limit = SMALL // (depth * b.shape[-1])
    if images > 1 and min(limit, rows) < LEAST_ROWS:
        a, b = (m.reshape(groups, 1, images * rows, m.shape[-1]) for m in (a, b))
        return multiply_transposed(a, b)
    step = _step(rows, min(limit, MOST_TERMS))
    whole = rows - rows % step
    left, right = (
        m[:, :, :whole].reshape(groups, images, whole // step, step, m.shape[-1]) for m in (a, b)
    )
    wide = np.float64 if images * (whole // step) > MOST_PIECES else a.dtype
    total: Array = np.matmul(left.swapaxes(-1, -2), right).sum(axis=(1, 2), dtype=wide)
    if whole < rows:
        rest = np.matmul(a[:, :, whole:].swapaxes(-1, -2), b[:, :, whole:])
        total += rest.sum(axis=1, dtype=wide)
    return total.astype(a.dtype, copy=False)


def _step(rows: int, limit: int) -> int:
    """How many of ``rows`` a piece has: at most ``limit`` and about equally many, or all."""
    if limit < LEAST_ROWS or not rows:
        return max(rows, 1)
    pieces = -(-rows // limit)
    return -(-rows // pieces)
