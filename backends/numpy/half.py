"""Half precision in float32 arrays: every kernel computes with float32, and its result is rounded.

NumPy's own arithmetic on halves is some ten times as slow, its matrix products a hundred times; and
its conversion takes 200 ns for each number that is subnormal as a half, as gradients are.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array, DType, Op

_SHIFT = np.uint32(13)  # the bits of a float32's mantissa that a half has not
_LAST = np.uint32(2**13)
_LARGEST, _LEAST_NORMAL, _STEP = np.float32(65504), np.float32(2**-14), np.float32(2**-24)


def carried(op: Op, dtype: DType, array: Array) -> Array:
    """A result of ``op``, rounded to its dtype, in the array that kernels take."""
    if dtype is not DType.F16:
        return dtype.round(array)
    if array.dtype != np.float32:
        return dtype.widen(dtype.round(array))
    return array if op.exact else round_half(array)


def round_half(x: Array) -> Array:
    """Float32 rounded to the nearest half, ties to even, in float32.

    >>> round_half(np.float32([2049, 2051, 65520, 1e-8, -3e-8])).tolist()
    [2048.0, 2052.0, inf, 0.0, -5.960464477539063e-08]
    """
    bits = np.asarray(x).view(np.uint32)
    odd = (bits >> _SHIFT) & np.uint32(1)
    y = ((bits + (_LAST // np.uint32(2) - np.uint32(1)) + odd) & ~(_LAST - np.uint32(1))).view(
        np.float32
    )
    size = np.abs(x)
    small, large = size < _LEAST_NORMAL, np.abs(y) > _LARGEST
    if small.any():  # where halves are a fixed step apart
        y = np.where(small, np.rint(x / _STEP) * _STEP, y)
    if large.any():
        y = np.where(large, np.copysign(np.float32(np.inf), x), y)
    return np.where(np.isnan(x), x, y) if np.isnan(size.max(initial=0)) else y
