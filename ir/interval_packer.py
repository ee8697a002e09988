"""Packs buffers that live for a while into as little memory as it can find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A buffer: its size in bytes, and the first and last time at which it is in use."""

    nbytes: int
    first: int
    last: int


def pack(intervals: Sequence[Interval], alignment: int = 64) -> tuple[list[int], int]:
    """An offset for every interval, such that those that live at the same time do not overlap.

    The largest come first, each at the lowest offset that is free for as long as it lives
    (greedy by size; Pisarchyk and Lee 2020, "Efficient memory management for deep neural net
    inference", section 5.1).

    Args:
        intervals: the buffers.
        alignment: offsets are multiples of it.

    Returns:
        The offsets in the order of ``intervals``, and the bytes needed in all.

    >>> pack([Interval(100, 0, 1), Interval(50, 1, 2), Interval(60, 2, 3)], alignment=1)
    ([0, 100, 0], 150)
    """
    offsets = [0] * len(intervals)
    placed: list[int] = []
    total = 0
    order = sorted(range(len(intervals)), key=lambda i: (-intervals[i].nbytes, intervals[i].first))
    for i in order:
        own = intervals[i]
        taken = sorted(
            (offsets[j], offsets[j] + intervals[j].nbytes)
            for j in placed
            if intervals[j].first <= own.last and own.first <= intervals[j].last
        )
        place = 0
        for begin, end in taken:
            if place + own.nbytes <= begin:
                break
            place = max(place, -(-end // alignment) * alignment)
        offsets[i] = place
        placed.append(i)
        total = max(total, place + own.nbytes)
    return offsets, total
