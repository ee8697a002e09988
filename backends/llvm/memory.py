"""Memory for native code: buffers that begin at a cache line."""

from __future__ import annotations

import numpy as np

from ...ir import Array

ALIGN = 64


def aligned(nbytes: int) -> Array:
    """Bytes that begin at a cache line."""
    raw = np.empty(nbytes + ALIGN, np.uint8)
    start = -raw.ctypes.data % ALIGN
    return raw[start : start + nbytes]


def aligned_copy(array: Array) -> Array:
    """A contiguous copy that begins at a cache line."""
    copy = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
