"""What the machine at hand can do: multiplications of its cores, bytes from caches and memory.

Two loops in LLVM's own language, compiled for the processor as cauce's kernels are: one multiplies
and adds in registers alone (``cauce.backends.llvm.peak``), one reads an array over and over. Each
thread runs the loop on its own numbers; the fastest of a few turns counts, since a limit is what
nothing can be faster than.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

UNROLLED = 8
READ = 1 << 26  # at least so many bytes are read in a turn
WHOLE = 0.93  # of what as many cores could do together: what is less is somebody else's
SIZES = tuple(1 << bits for bits in range(20, 31))  # 1 MiB to 1 GiB


@dataclass(frozen=True)
class Capacity:
    """What so many threads can do together.

    Attributes:
        peak: floating-point operations a second, f32; a multiplication with its addition is two.
        rates: (size of an array in bytes, bytes of it that are read a second when it is read over
            and over), by size.
    """

    peak: float
    rates: Sequence[tuple[int, float]]

    def rate(self, size: int) -> float:
        """Bytes a second at which ``size`` bytes can be read over and over.

        The fastest of all measured arrays that are as large or larger: what is not needed of them
        would only have been in the way.
        """
        return max(
            (rate for measured, rate in self.rates if measured >= size), default=self.rates[-1][1]
        )

    def __str__(self) -> str:
        sizes = (self.rates[0][0], 1 << 25, self.rates[-1][0])
        read = ", ".join(
            f"{self.rate(size) / 1e9:.0f} GB/s from {size >> 20} MiB" for size in sizes
        )
        return f"{self.peak / 1e9:.0f} GFLOP/s, {read}"


def capacity(threads: int) -> Capacity:
    """Measure ``threads`` threads, no more than there are processors: some ten seconds."""
    return Capacity(peak(threads), [(size, reading(threads, size)) for size in SIZES])


def last_level_cache() -> int:
    """The bytes of the last-level cache, as the system reports them; else what cauce assumes."""
    from cauce.backends.llvm.target import ASSUMED, Caches

    return (Caches.reported() or ASSUMED).third


def peak(threads: int) -> float:
    """Operations a second of ``threads`` threads that multiply and add in registers."""
    from cauce.backends.llvm.peak import measured_peak

    return measured_peak(threads)


def together(threads: int) -> float:
    """How many times as fast as one thread so many threads multiply: as many as they are, unless
    the machine lends the same core to two of them, or to somebody else.

    A virtual machine does not say so. For as long as it lasts the loop here takes up to twice as
    long, and a kernel in proportion to how busy it keeps a core, so that ratios of peers shift too.
    """
    return peak(threads) / peak(1)


def whole(threads: int, patience: float) -> float:
    """The same, once the threads have cores of their own; after so many seconds as it is then."""
    wanted = WHOLE * min(threads, os.cpu_count() or 1)
    end = time.monotonic() + patience
    while (found := together(threads)) < wanted and time.monotonic() < end:
        time.sleep(1)
    return found


def reading(threads: int, size: int) -> float:
    """Bytes a second that ``threads`` threads read, each its part of ``size`` bytes."""
    from cauce.backends.llvm.peak import fastest

    lanes, function = _kernels()
    read, step = function("read"), UNROLLED * lanes * 4
    steps = size // threads // step
    parts = [np.ones(steps * step // 4, np.float32) for _ in range(threads)]
    again = max(1, READ // size)

    def work(thread: int) -> None:
        address = parts[thread].ctypes.data
        for _ in range(again):
            read(address, steps)

    return threads * steps * step * again / fastest(threads, work)


@cache
def _kernels() -> tuple[int, Callable[[str], Any]]:
    """The lanes of vectors, and the two loops by name."""
    from cauce.backends.llvm.peak import compiled
    from cauce.backends.llvm.target import Target

    target = Target.host()
    lanes = target.lanes(4)
    return lanes, compiled(module(lanes), target)


def module(lanes: int) -> str:
    """The two loops, ``multiply`` and ``read``, on vectors of ``lanes`` numbers.

    Both take a pointer and how many rounds, and return a sum of all that they computed, so that
    nothing of it can be left out.
    """
    from cauce.backends.llvm.peak import declarations, loop, multiply_loop

    vector = f"<{lanes} x float>"
    read = [
        line
        for i in range(UNROLLED)
        for line in (
            f"%place{i} = getelementptr {vector}, ptr %from, i64 {i}",
            f"%read{i} = load {vector}, ptr %place{i}, align 4",
            f"%new{i} = fadd {vector} %sum{i}, %read{i}",
        )
    ]
    read += [f"%next = getelementptr {vector}, ptr %from, i64 {UNROLLED}"]
    carried = "%from = phi ptr [ %array, %entry ], [ %next, %loop ]"
    return declarations(lanes) + multiply_loop(lanes) + loop("read", lanes, UNROLLED, read, carried)
