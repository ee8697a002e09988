"""Memory that lives from call to call, and that the arrays of a call use one after the other.

Fresh memory is paid for twice: the system clears each page when it is first touched, which for
the arrays of a network costs as much as computing them. So large arrays take blocks that earlier
arrays have left.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ...ir import Array
from ...ir.communicator import Communicator

# Arrays of fewer bytes are left to NumPy, which allocates them fast enough.
LEAST_BYTES = 2**16


class Memory:
    """Blocks of memory for the arrays of one call at a time.

    An array's block is free again when the array and all views of it are gone.

    Attributes:
        communicator: of the ranks that make the call together; None where there is one.
    """

    communicator: Communicator | None = None

    def __init__(self) -> None:
        self._free: defaultdict[int, list[bytearray]] = defaultdict(list)

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        """An uninitialised array in C order."""
        size = prod(shape) * dtype.itemsize
        if size < LEAST_BYTES:
            return np.empty(shape, dtype)
        free = self._free[size]
        block = free.pop() if free else bytearray(size)
        # NumPy's views of views refer to the array that a foreign buffer was first given to, so
        # this object lives as long as any view does.
        array: Array = np.ndarray(shape, dtype, block)
        weakref.finalize(array, free.append, block).atexit = False
        return array

    def empty_like(
        self, x: Array, shape: Sequence[int] | None = None, dtype: np.dtype[Any] | None = None
    ) -> Array:
        """An uninitialised array whose axes lie in memory in the order of those of ``x``."""
        shape = x.shape if shape is None else shape
        if x.flags.c_contiguous:
            return self.empty(shape, dtype or x.dtype)
        order = sorted(range(x.ndim), key=lambda axis: (-abs(x.strides[axis]), axis))
        array = self.empty([shape[axis] for axis in order], dtype or x.dtype)
        return array.transpose([order.index(axis) for axis in range(x.ndim)])

    def result(self, *operands: Array, dtype: np.dtype[Any] | None = None) -> Array | None:
        """Where an elementwise function of the operands may write to, in the memory order of one
        of them; None, which tells NumPy to allocate, where the result is small."""
        largest = max(operands, key=lambda x: x.size)
        if largest.nbytes < LEAST_BYTES or 0 in largest.strides:
            return None
        if np.broadcast_shapes(*(x.shape for x in operands)) != largest.shape:
            return None
        return self.empty_like(largest, dtype=dtype)
