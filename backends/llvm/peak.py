"""What the cores can do at best: a loop that multiplies and adds in registers alone, timed.

The loop is written in LLVM's own language and compiled for the processor as kernels are. Each
thread runs it on its own numbers; the fastest of a few turns counts, since a peak is what nothing
can be faster than.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from .target import Target, initialized_llvm

ACCUMULATORS = 12  # more than latency times units of any core; AVX2 has 16 registers
TURNS = 7
ROUNDS = 1 << 25  # of the loop, in a turn: some 60 ms


def measured_peak(threads: int) -> float:
    """Floating-point operations a second of so many threads together, in f32.

    A multiplication with its addition is two. It takes half a second, of all these threads.
    """
    lanes, function = _multiply()
    operations = 2 * ACCUMULATORS * lanes * ROUNDS
    return threads * operations / fastest(threads, lambda _: function(None, ROUNDS))


def fastest(threads: int, work: Callable[[int], object]) -> float:
    """The seconds of ``work``, done by all threads at once, in the fastest of a few turns.

    Args:
        threads: how many.
        work: is told the number of its thread; it should leave the interpreter at once.
    """
    return min(_seconds(threads, work) for _ in range(TURNS))


def _seconds(threads: int, work: Callable[[int], object]) -> float:
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


def compiled(text: str, target: Target) -> Callable[[str], Any]:
    """The functions of a module by name, each ``float f(ptr, i64)``."""
    llvm = initialized_llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), target.machine())
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_void_p, ctypes.c_int64)

    def function(name: str) -> Any:
        found = prototype(engine.get_function_address(name))
        found.engine = engine  # type: ignore[attr-defined]  # which owns the code
        return found

    return function


@cache
def _multiply() -> tuple[int, Any]:
    """The lanes of a vector, and the loop."""
    target = Target.host()
    lanes = target.lanes(4)
    return lanes, compiled(declarations(lanes) + multiply_loop(lanes), target)("multiply")


def declarations(lanes: int) -> str:
    """What the loops call."""
    vector = f"<{lanes} x float>"
    return (
        f"declare {vector} @llvm.fma({vector}, {vector}, {vector})\n"
        f"declare float @llvm.vector.reduce.fadd(float, {vector})\n"
    )


def multiply_loop(lanes: int) -> str:
    """``multiply``: in each round every accumulator is multiplied and added to once."""
    vector = f"<{lanes} x float>"
    body = [
        f"%new{i} = call {vector} @llvm.fma({vector} %sum{i}, {vector} %factor, {vector} %factor)"
        for i in range(ACCUMULATORS)
    ]
    return loop("multiply", lanes, ACCUMULATORS, body)


def loop(name: str, lanes: int, sums: int, body: list[str], carried: str = "") -> str:
    """A function that takes a pointer and how many rounds to run, and returns the sum of all that
    it computed, so that nothing of it can be left out.

    Args:
        name: of the function.
        lanes: of its vectors.
        sums: how many accumulators it carries, ``%sum0`` to ``%new0`` and so on.
        body: the instructions of a round.
        carried: a further phi.
    """
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
