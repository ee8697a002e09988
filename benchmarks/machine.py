"""What the machine at hand can do: multiplications of its cores, bytes from caches and memory.

Two loops in LLVM's own language, compiled for the processor as cauce's kernels are: one multiplies
and adds in registers alone, one reads an array over and over. Each thread runs the loop on its own
numbers; the fastest of a few turns counts, since a limit is what nothing can be faster than.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

ACCUMULATORS = 12  # more than latency times units of any core; AVX2 has 16 registers
UNROLLED = 8
TURNS = 7
ROUNDS = 1 << 25  # of the multiplying loop, in a turn: some 60 ms
READ = 1 << 26  # at least so many bytes are read in a turn
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
    _, lanes, function = _kernels()
    multiply = function("multiply")
    operations = 2 * ACCUMULATORS * lanes * ROUNDS
    return threads * operations / _fastest(threads, lambda _: multiply(None, ROUNDS))


def reading(threads: int, size: int) -> float:
    """Bytes a second that ``threads`` threads read, each its part of ``size`` bytes."""
    _, lanes, function = _kernels()
    read, step = function("read"), UNROLLED * lanes * 4
    steps = size // threads // step
    parts = [np.ones(steps * step // 4, np.float32) for _ in range(threads)]
    again = max(1, READ // size)

    def work(thread: int) -> None:
        address = parts[thread].ctypes.data
        for _ in range(again):
            read(address, steps)

    return threads * steps * step * again / _fastest(threads, work)


def _fastest(threads: int, work: Callable[[int], object]) -> float:
    return min(_seconds(threads, work) for _ in range(TURNS))


def _seconds(threads: int, work: Callable[[int], object]) -> float:
    """How long ``work`` takes where every thread does it at once; calls leave the interpreter."""
    gate = threading.Barrier(threads + 1)

    def run(thread: int) -> None:
        gate.wait()
        work(thread)
        gate.wait()

    others = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for other in others:
        other.start()
    gate.wait()
    start = time.perf_counter()
    gate.wait()
    seconds = time.perf_counter() - start
    for other in others:
        other.join()
    return seconds


@cache
def _kernels() -> tuple[Any, int, Callable[[str], Any]]:
    """The engine that owns the code, the lanes of its vectors, and its functions by name."""
    from cauce.backends.llvm.target import Target, initialized_llvm

    target = Target.host()
    lanes = target.lanes(4)
    llvm = initialized_llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(module(lanes)), target.machine())
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_void_p, ctypes.c_int64)
    return engine, lanes, lambda name: prototype(engine.get_function_address(name))


def module(lanes: int) -> str:
    """The two loops, ``multiply`` and ``read``, on vectors of ``lanes`` numbers.

    Both take a pointer and how many rounds, and return a sum of all that they computed, so that
    nothing of it can be left out.
    """
    vector = f"<{lanes} x float>"
    multiplied = [
        f"%new{i} = call {vector} @llvm.fma({vector} %sum{i}, {vector} %factor, {vector} %factor)"
        for i in range(ACCUMULATORS)
    ]
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
    head = f"declare {vector} @llvm.fma({vector}, {vector}, {vector})\n"
    head += f"declare float @llvm.vector.reduce.fadd(float, {vector})\n"
    carried = "%from = phi ptr [ %array, %entry ], [ %next, %loop ]"
    return (
        head
        + _loop("multiply", lanes, ACCUMULATORS, multiplied, "")
        + _loop("read", lanes, UNROLLED, read, carried)
    )


def _loop(name: str, lanes: int, sums: int, body: list[str], carried: str) -> str:
    vector = f"<{lanes} x float>"
    phis = [
        f"%sum{i} = phi {vector} [ zeroinitializer, %entry ], [ %new{i}, %loop ]"
        for i in range(sums)
    ]
    total = [f"%total0 = fadd {vector} zeroinitializer, %new0"]
    total += [f"%total{i} = fadd {vector} %total{i - 1}, %new{i}" for i in range(1, sums)]
    lines = [
        f"define float @{name}(ptr %array, i64 %rounds) {{",
        "entry:",
        # Not a constant, so nothing can be computed beforehand; below 1, so nothing overflows.
        "%half = uitofp i64 %rounds to float",
        "%small = fdiv float 1.0, %half",
        f"%one = insertelement {vector} poison, float %small, i32 0",
        f"%factor = shufflevector {vector} %one, {vector} poison, <{lanes} x i32> zeroinitializer",
        "br label %loop",
        "loop:",
        "%round = phi i64 [ 0, %entry ], [ %after, %loop ]",
        carried,
        *phis,
        *body,
        "%after = add i64 %round, 1",
        "%more = icmp ult i64 %after, %rounds",
        "br i1 %more, label %loop, label %done",
        "done:",
        *total,
        f"%result = call float @llvm.vector.reduce.fadd(float 0.0, {vector} %total{sums - 1})",
        "ret float %result",
        "}\n",
    ]
    return "\n".join(lines)
