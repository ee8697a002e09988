"""Memory for native code: arrays that begin at a cache line, and the arena of one call.

Native code checks no bounds, so a test mode does: with ``CAUCE_GUARD=end`` in the environment every
array ends where a page begins that must not be touched, with ``CAUCE_GUARD=begin`` it begins where
such a page ends, and a wrong address ends the process. Arrays are full of NaN at first (of -1 and
true, for other dtypes), so that what is read before it was written comes out.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from ....ir import Array, DType
from ....ir.errors import AttributeMistake
from ....ir.machine import processors
from ..abi import ALIGN

GUARD = "CAUCE_GUARD"
SIDES = ("begin", "end")

_LARGE = 2**25  # bytes: to have fewer brought does not pay for a thread
_PAGES = 2**21  # bytes that are brought at a time: a large page


def guard() -> str | None:
    """The side of arrays that the test mode guards; None outside of it.

    Raises:
        AttributeMistake: an unknown side.
    """
    side = os.environ.get(GUARD) or None
    if side is not None and side not in SIDES:
        raise AttributeMistake(
            f"{GUARD} names the side of arrays to guard, got {side!r}",
            fix=f"set it to {' or '.join(SIDES)}, or to nothing",
        )
    return side


def aligned(nbytes: int, side: str | None) -> Array:
    """Bytes that begin at a cache line; at a guard page where :func:`guard` gave a side."""
    if side is not None:
        return _guarded(nbytes, side)
    raw = np.empty(nbytes + ALIGN, np.uint8)
    # raw.ctypes.data takes twice as long.
    start = -ctypes.addressof(ctypes.c_char.from_buffer(raw.data)) % ALIGN
    return raw[start : start + nbytes]


def aligned_together(sizes: Sequence[int]) -> list[Array]:
    """Bytes in one piece of memory, which may lie in large pages; apart in the test mode.

    What is read in one go is then found with few entries of the table of pages.
    """
    side = guard()
    if side is not None:
        return [aligned(nbytes, side) for nbytes in sizes]
    ends = list(accumulate(-(-nbytes // ALIGN) * ALIGN for nbytes in sizes))
    whole = aligned(ends[-1] if ends else 0, side)
    starts = [0, *ends]
    return [whole[start : start + nbytes] for start, nbytes in zip(starts, sizes)]


@contextmanager
def arriving(rooms: Sequence[Array]) -> Iterator[None]:
    """While the block fills what :func:`aligned_together` gave, the system brings the memory.

    A page is brought, and cleared, when it is first touched, which takes as long as filling it; in
    a virtual machine, whose host may have to bring it first, ten times as long. So a thread of its
    own has pages brought from the end on. It does nothing else, and ends with the block.
    """
    first = rooms[0].ctypes.data if rooms else 0
    last = rooms[-1].ctypes.data + rooms[-1].nbytes if rooms else 0
    if last - first < _LARGE or guard() or processors() < 2 or sys.platform != "linux":
        yield
        return
    from threading import Thread

    filled = False

    def bring() -> None:
        start = last // _PAGES * _PAGES - _PAGES
        while start >= first and not filled and _brought(start, _PAGES):
            start -= _PAGES

    thread = Thread(target=bring, daemon=True)
    with suppress(RuntimeError):  # the system gives no more threads
        thread.start()
    try:
        yield
    finally:
        filled = True
        if thread.ident is not None:
            thread.join()


def _brought(start: int, nbytes: int) -> bool:
    """Have the system bring pages, whose contents stay; whether it did. Linux does from 5.14 on."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    populate_write = 23
    return not madvise(start, nbytes, populate_write)


def empty(shape: Sequence[int], dtype: DType, side: str | None) -> Array:
    """An array with undefined elements; ``side`` is as for :func:`aligned`."""
    room = aligned(math.prod(shape) * dtype.numpy.itemsize, side)
    return np.ndarray(shape, dtype.numpy, room)


def aligned_copy(array: Array) -> Array:
    """A contiguous copy."""
    copy = aligned(array.nbytes, guard()).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class ArenaSlice(NamedTuple):
    """Where a buffer lies in an arena: that of a stream, where each has one of its own."""

    slot: int
    offset: int
    nbytes: int
    stream: int = 0


class Arena:
    """The buffers of one call: one array for all; in the test mode one for each.

    Attributes:
        addresses: of the slices, in order.
    """

    def __init__(self, slices: Sequence[ArenaSlice], nbytes: int) -> None:
        self.side = side = guard()
        rooms = [own.nbytes for own in slices] if side else [nbytes]
        self._arrays = [aligned(room, side) for room in rooms]
        if side:
            addresses = [array.ctypes.data for array in self._arrays]
        else:
            addresses = [self._arrays[0].ctypes.data + own.offset for own in slices]
        self.addresses = np.array(addresses, np.int64)
        first = [place for place, own in enumerate(slices) if not own.stream]
        self._first = np.array(first, np.intp)
        self._slots = np.array([slices[place].slot for place in first], np.intp)

    def table(self, count: int) -> Array:
        """The addresses of ``count`` buffers by slot, of the first stream; 0 for those that are not
        in the arena."""
        table = np.zeros(count, np.int64)
        table[self._slots] = self.addresses[self._first]
        return table


def _guarded(nbytes: int, side: str) -> Array:
    """Bytes between two pages that nothing may touch, at one of them."""
    page = mmap.PAGESIZE
    room = -(-nbytes // page) * page
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    # The mapping lives as long as an array that looks at it.
    whole = np.frombuffer(mmap.mmap(-1, page + room + page, flags=private), np.uint8)
    whole[page : page + room] = 0xFF
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    no_access = 0
    for start in (0, page + room):
        if protect(whole.ctypes.data + start, page, no_access):
            raise OSError(ctypes.get_errno(), "mprotect refused a guard page")
    first = page if side == "begin" else page + room - nbytes
    return whole[first : first + nbytes]
