"""Threads that share the tasks of a launch: a pool in native code.

The caller does a part of every launch itself. Workers wait for the next launch by spinning for some
microseconds, then sleep in the kernel (a futex), where they use no processor time. Which tasks a
worker does depends on its number and on how many share the work, and no task depends on another:
results do not depend on the number of threads.

A pool serves one call at a time. A call that finds it busy, from another Python thread, runs alone.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ...ir import Array
from ...ir.errors import AttributeMistake
from .engine import Code
from .target import Target

if TYPE_CHECKING:
    from .emitter import Module

# The words of a pool, by byte offset, those that are written at different times in cache lines of
# their own: 0 generation (counts launches; its low half is the futex), 64 stop, 128 function,
# 136 table, 144 dims, 152 tasks, 160 threads, 192 done, 256 sleeping.
POOL_WORDS = 40
_STOP, _THREADS = 64 // 8, 160 // 8

# Rounds of spinning before a worker sleeps, and before a caller that waits lets others run.
_SPINS = 20_000

_WORDS = """
  %at.stop = getelementptr i8, ptr %pool, i64 64
  %at.function = getelementptr i8, ptr %pool, i64 128
  %at.table = getelementptr i8, ptr %pool, i64 136
  %at.dims = getelementptr i8, ptr %pool, i64 144
  %at.tasks = getelementptr i8, ptr %pool, i64 152
  %at.threads = getelementptr i8, ptr %pool, i64 160
  %at.done = getelementptr i8, ptr %pool, i64 192
  %at.sleeping = getelementptr i8, ptr %pool, i64 256"""

# Publish a launch, do the first part of its tasks, and wait until the others are done.
_RUN = """
define internal void @run(ptr %pool, ptr %function, ptr %table, ptr %dims, i64 %tasks) {
entry:{WORDS}
  %none = icmp eq ptr %pool, null
  %few = icmp slt i64 %tasks, 2
  %alone = or i1 %none, %few
  br i1 %alone, label %single, label %share
single:
  call void %function(ptr %table, ptr %dims, i64 0, i64 %tasks)
  ret void
share:
  store ptr %function, ptr %at.function
  store ptr %table, ptr %at.table
  store ptr %dims, ptr %at.dims
  store i64 %tasks, ptr %at.tasks
  store atomic i64 0, ptr %at.done monotonic, align 8
  %threads = load i64, ptr %at.threads
  call void @wake(ptr %pool)
  %last = udiv i64 %tasks, %threads
  call void %function(ptr %table, ptr %dims, i64 0, i64 %last)
  %others = sub i64 %threads, 1
  br label %wait
wait:
  %round = phi i64 [ 0, %share ], [ %next, %again ], [ %next, %yield ]
  %next = add i64 %round, 1
  %done = load atomic i64, ptr %at.done acquire, align 8
  %all = icmp eq i64 %done, %others
  br i1 %all, label %end, label %again
again:
  %long = icmp ugt i64 %next, {SPINS}
  br i1 %long, label %yield, label %wait
yield:
  %ignored = call i32 @sched_yield()
  br label %wait
end:
  ret void
}

define internal void @wake(ptr %pool) {
entry:
  %at.sleeping = getelementptr i8, ptr %pool, i64 256
  %old = atomicrmw add ptr %pool, i64 1 seq_cst
  %sleeping = load atomic i64, ptr %at.sleeping seq_cst, align 8
  %any = icmp ne i64 %sleeping, 0
  br i1 %any, label %call, label %end
call:
  {WAKE}
  br label %end
end:
  ret void
}
"""

# What a worker does until the pool is stopped: wait for the next generation, do its part.
_WORK = """
define void @work(ptr %pool, i64 %number, i64 %first) {
entry:{WORDS}
  br label %idle
idle:
  %seen = phi i64 [ %first, %entry ], [ %now, %do ]
  br label %spin
spin:
  %round = phi i64 [ 0, %idle ], [ 0, %sleep ], [ %next, %more ]
  %now = load atomic i64, ptr %pool seq_cst, align 8
  %new = icmp ne i64 %now, %seen
  br i1 %new, label %check, label %more
more:
  %next = add i64 %round, 1
  %tired = icmp ugt i64 %next, {SPINS}
  br i1 %tired, label %sleep, label %spin
sleep:
  %up = atomicrmw add ptr %at.sleeping, i64 1 seq_cst
  %low = trunc i64 %seen to i32
  {SLEEP}
  %down = atomicrmw sub ptr %at.sleeping, i64 1 seq_cst
  br label %spin
check:
  %stop = load atomic i64, ptr %at.stop acquire, align 8
  %over = icmp ne i64 %stop, 0
  br i1 %over, label %end, label %do
do:
  %function = load ptr, ptr %at.function
  %table = load ptr, ptr %at.table
  %dims = load ptr, ptr %at.dims
  %tasks = load i64, ptr %at.tasks
  %threads = load i64, ptr %at.threads
  %after = add i64 %number, 1
  %low.part = mul i64 %tasks, %number
  %high.part = mul i64 %tasks, %after
  %from = udiv i64 %low.part, %threads
  %to = udiv i64 %high.part, %threads
  call void %function(ptr %table, ptr %dims, i64 %from, i64 %to)
  %counted = atomicrmw add ptr %at.done, i64 1 release
  br label %idle
end:
  ret void
}

define void @stop(ptr %pool) {
entry:
  %at.stop = getelementptr i8, ptr %pool, i64 64
  store atomic i64 1, ptr %at.stop release, align 8
  call void @wake(ptr %pool)
  ret void
}
"""

_FUTEX = {"x86_64": 202, "aarch64": 98}  # the numbers of the system call on Linux
_WAIT_PRIVATE, _WAKE_PRIVATE, _ALL = 128, 129, 2**31 - 1


def _filled(text: str, target: Target) -> str:
    processor, _, system = target.triple.partition("-")
    number = _FUTEX.get(processor) if "linux" in system else None
    if number is None:
        wake = "; sleepers look again by themselves"
        sleep = "%slept = call i32 @usleep(i32 200)"
    else:
        call = f"call i64 (i64, ...) @syscall(i64 {number}, ptr %pool"
        rest = "ptr null, ptr null, i32 0)"
        wake = f"%woken = {call}, i32 {_WAKE_PRIVATE}, i32 {_ALL}, {rest}"
        sleep = f"%slept = {call}, i32 {_WAIT_PRIVATE}, i32 %low, {rest}"
    words = {"WORDS": _WORDS, "SPINS": str(_SPINS), "WAKE": wake, "SLEEP": sleep}
    for name, value in words.items():
        text = text.replace("{" + name + "}", value)
    return text


def write_pool(module: Module, target: Target) -> None:
    """Write ``run(pool, function, table, dims, tasks)``, which does all tasks of one launch, and
    what the threads of a pool do: ``work(pool, number, generation)`` and ``stop(pool)``."""
    module.functions += [_filled(text, target).strip() for text in (_RUN, _WORK)]
    module.declarations |= {
        "declare i32 @sched_yield()",
        "declare i32 @usleep(i32)",
        "declare i64 @syscall(i64, ...)",
    }


def thread_count(threads: int | None = None) -> int:
    """How many threads share the work: the argument, ``CAUCE_NUM_THREADS``, or all processors.

    Raises:
        AttributeMistake: a number below 1, or none at all.
    """
    given = os.environ.get("CAUCE_NUM_THREADS") if threads is None else threads
    if given is None:
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        count = int(given)
    except ValueError:
        count = 0
    if count < 1:
        raise AttributeMistake(
            f"threads must be at least 1, got {given!r}",
            fix="pass threads=2, or set CAUCE_NUM_THREADS=2",
        )
    return count


class Pool:
    """Some threads and the memory through which they are told what to do.

    The threads start at the first call, in the code of the program that is called: all programs
    have the same. A process that was forked off starts its own.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._memory: Array | None = None
        self._workers: list[threading.Thread] = []
        self._library: Code | None = None  # where the threads are: it must not go

    @contextmanager
    def borrow(self, library: Code) -> Iterator[int | None]:
        """The address of the pool, for one call; None where it is busy or has one thread."""
        if self.threads == 1:
            yield None
            return
        if self._process != os.getpid():
            self._reset()
        lock = self._lock
        if not lock.acquire(blocking=False):
            yield None
            return
        try:
            yield self._address(library)
        finally:
            lock.release()

    def _address(self, library: Code) -> int:
        if self._memory is None:
            self._start(library)
        assert self._memory is not None
        return int(self._memory.ctypes.data)

    def _start(self, library: Code) -> None:
        raw = np.zeros(POOL_WORDS + 8, np.int64)
        skip = -raw.ctypes.data % 64 // 8
        memory = raw[skip : skip + POOL_WORDS]
        memory[_THREADS] = self.threads
        self._library = library
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        work = library.function("work", pointer, number, number)
        self._stop_function = library.function("stop", pointer)
        self._workers = [
            threading.Thread(
                target=work, args=(memory.ctypes.data, i, 0), name=f"cauce-{i}", daemon=True
            )
            for i in range(1, self.threads)
        ]
        self._memory = memory
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """End the threads, unless a call is under way."""
        if self._memory is None or self._process != os.getpid():
            return
        if not self._lock.acquire(timeout=1):
            return
        self._stop_function(self._memory.ctypes.data)
        for worker in self._workers:
            worker.join(timeout=1)
        self._reset()


_pools: dict[int, Pool] = {}
_guard = threading.Lock()


def shared_pool(threads: int) -> Pool:
    """The pool of this process with that many threads."""
    with _guard:
        if threads not in _pools:
            _pools[threads] = Pool(threads)
        return _pools[threads]


@atexit.register
def _stop_all() -> None:
    for pool in list(_pools.values()):
        pool.stop()
