"""How the ranks of MPI learn that one of them has come to its end, which they would wait for."""

from __future__ import annotations

import atexit
import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from ..ir.errors import WorkerLost

if TYPE_CHECKING:
    from mpi4py import MPI

# How long a rank that fails waits for each one before it, and at most, before it speaks: an error
# that all of them meet is told by the first, which ends the others.
_PATIENCE, _LONGEST = 0.5, 3.0
_HEARD = 0.2  # until mpiexec has read what was said: MPICH's reads no more once it ends all
_ASLEEP = 0.01  # between two looks whether the others have come to their end


class Ends:
    """Which ranks have come to their end, and after how many calls that all must make.

    A process that ends (by ``sys.exit``, by the end of its script) tells all others so, which
    wait for that beside what else they wait for: MPI itself would let them wait for ever. An
    exception that a rank does not catch ends all at once.

    Args:
        world: the communicator of the ranks; it is copied.
    """

    def __init__(self, world: MPI.Intracomm) -> None:
        from mpi4py import MPI

        self._world, self._wait = world.Dup(), MPI.Request.Waitany
        self._process = os.getpid()
        self._calls = 0
        self._ended: dict[int, int] = {}
        self._told = np.zeros(2, np.int64)  # the rank that has ended, its calls
        self._next = MPI.REQUEST_NULL
        self._under_way = MPI.REQUEST_NULL  # it holds its buffers, whatever becomes of the wait
        self._listen()
        atexit.register(self._tell)
        show = sys.excepthook

        def end(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            if os.getpid() != self._process:  # a child that was forked off is no rank
                return show(kind, error, trace)
            time.sleep(min(_PATIENCE * world.Get_rank(), _LONGEST))
            sys.stdout.flush()
            print(f"rank {world.Get_rank()} of {world.Get_size()} ends all ranks:", file=sys.stderr)
            show(kind, error, trace)
            sys.stderr.flush()
            time.sleep(_HEARD)
            MPI.COMM_WORLD.Abort(1)
            os._exit(1)

        sys.excepthook = end

    def begin_call(self) -> None:
        """Count a call that all ranks make.

        Raises:
            WorkerLost: a rank has ended that has not made it.
        """
        self._calls += 1
        self._check()

    def wait(self, request: MPI.Request) -> None:
        """Wait for a part of the call that was begun.

        Raises:
            WorkerLost: a rank has ended that has not made it.
        """
        self._under_way = request
        while self._wait([request, self._next]) == 1:
            self._take()
            self._check()

    def _check(self) -> None:
        early = [rank for rank, calls in self._ended.items() if calls < self._calls]
        if early:
            ranks = ", ".join(map(str, sorted(early)))
            raise WorkerLost(
                f"rank {self._world.Get_rank()} waits for what rank {ranks} will not do any more: "
                "its process has come to its end",
                fix="let all ranks make the same calls: fit, evaluate and resume are no work for "
                "one of them; where a rank calls sys.exit(), raise an error instead",
            )

    def _listen(self) -> None:
        if len(self._ended) < self._world.Get_size() - 1:
            self._next = self._world.Irecv(self._told)

    def _take(self) -> None:
        """Note the message that has come."""
        rank, calls = map(int, self._told)
        self._ended[rank] = calls
        self._listen()

    def _tell(self) -> None:
        """When this process ends: tell it to the others, and hear when they do."""
        from mpi4py import MPI

        if os.getpid() != self._process or MPI.Is_finalized():
            return
        sys.stdout.flush()
        size, own = self._world.Get_size(), self._world.Get_rank()
        message = np.array([own, self._calls], np.int64)
        sent = [self._world.Isend(message, rank) for rank in range(size) if rank != own]
        while not MPI.Request.Testall(sent) or len(self._ended) < size - 1:
            if len(self._ended) < size - 1 and self._next.Test():
                self._take()
            else:
                time.sleep(_ASLEEP)
