"""Threads that share the tasks of a launch: a pool in native code.

How they share them is written in native code (``codegen/thread_pool.py``).

A pool serves one call at a time. A call that finds it busy, from another Python thread, runs alone.
"""

from __future__ import annotations

import atexit
import ctypes
import os
from _thread import allocate_lock
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ....ir import Array
from ....ir.dims import is_int
from ....ir.errors import AttributeMistake
from ....ir.machine import processors
from ..abi import MOST_THREADS, TICKET_BYTES, Word
from .library import Code

if TYPE_CHECKING:
    from threading import Thread


def thread_count(threads: int | None = None) -> int:
    """How many threads share the work: the argument, ``CAUCE_NUM_THREADS``, or all processors.

    An empty variable is one that is not set, as for the other ones.

    Raises:
        AttributeMistake: a number below 1 or above 1024, or none at all.
    """
    given = (os.environ.get("CAUCE_NUM_THREADS") or None) if threads is None else threads
    if given is None:
        return processors()
    try:
        count = int(given) if isinstance(given, str) or is_int(given) else 0
    except ValueError:
        count = 0
    if count < 1:
        raise AttributeMistake(
            f"threads must be an int of at least 1, got {given!r}",
            fix="pass threads=2, or set CAUCE_NUM_THREADS=2",
        )
    if count > MOST_THREADS:
        raise AttributeMistake(
            f"threads must be at most {MOST_THREADS}, got {count}",
            fix="pass as many as there are processors, or leave it out",
        )
    return count


class ThreadPool:
    """Some threads and the memory through which they are told what to do.

    The threads start at the first call, in the code of the program that is called: all programs
    have the same. A process that was forked off starts its own.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.reset()

    def reset(self) -> None:
        """Begin anew, without threads."""
        self._lock = allocate_lock()
        self._memory: Array | None = None
        self._address: int | None = None
        self._workers: list[Thread] = []
        self._library: Code | None = None  # where the threads are: it must not go

    def lend(self, library: Code, call: Callable[[int | None], None]) -> None:
        """Make a call with the address of the pool; None where it is busy or has one thread."""
        lock = self._lock
        if self.threads == 1 or not lock.acquire(blocking=False):
            call(None)
            return
        try:
            call(self._address or self._start(library))
        finally:
            lock.release()

    def _start(self, library: Code) -> int:
        from threading import Thread

        words = (Word.TICKETS + TICKET_BYTES * self.threads) // 8
        raw = np.zeros(words + 8, np.int64)
        skip = -raw.ctypes.data % 64 // 8
        memory = raw[skip : skip + words]
        memory[Word.THREADS // 8] = self.threads
        self._library = library
        work = library.function("work", ctypes.c_void_p)
        self._stop_function = library.function("stop", ctypes.c_void_p)
        self._memory = memory
        self._address = address = int(memory.ctypes.data)
        for i in range(1, self.threads):
            worker = Thread(target=work, args=(address,), name=f"cauce-{i}", daemon=True)
            try:
                worker.start()
            except RuntimeError:  # the system gives no more: those that are there do all chunks
                break
            self._workers.append(worker)
        return address

    def stop(self) -> None:
        """End the threads, unless a call is under way."""
        if self._address is None:
            return
        if not self._lock.acquire(timeout=1):
            return
        self._stop_function(self._address)
        for worker in self._workers:
            worker.join(timeout=1)
        self.reset()


_pools: dict[int, ThreadPool] = {}


def shared_pool(threads: int) -> ThreadPool:
    """The pool of this process with that many threads."""
    return _pools.setdefault(threads, ThreadPool(threads))


def _after_fork() -> None:
    """The threads are not in a process that was forked off."""
    for pool in _pools.values():
        pool.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _stop_all() -> None:
    for pool in list(_pools.values()):
        pool.stop()
