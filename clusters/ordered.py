"""Batches in, their results out in the same order, with few of them under way at a time."""

from __future__ import annotations

import concurrent.futures as futures
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..ir.errors import WorkerLost
from .pools import Pool
from .report import Report
from .worker import Absent, Done


class Item(NamedTuple):
    """What is computed on, as it was given, and as workers are told of it."""

    given: Any
    sent: Any


@dataclass(eq=False)
class _Task:
    """A batch from when it is taken until its results are given.

    Attributes:
        batch: what is computed on.
        send: whether it is sent with what its worker needs to know beside.
        future: its computation, while there is one.
        suspect: whether it was lost together with others.
        losses: how many times it was lost, those apart that may be the fault of others.
        done: its results, in the end; or why there are none.
    """

    batch: Sequence[Item]
    send: bool = False
    future: futures.Future[Done | Absent] | None = None
    suspect: bool = False
    losses: int = 0
    done: Done | WorkerLost | None = None


class Ordered:
    """The batches of an iterator, each with its results, in order.

    A batch is taken from the iterator when there is room for it: at most ``ahead`` for each that
    the pool computes at a time are taken and not yet given, whether they wait, are computed, or
    are done and wait for an earlier one. Where the iterator raises an error, what was taken before
    is given first.

    A batch whose worker is lost is sent again. Where batches are lost together, as in a process
    pool, whose workers all end when one dies, any of them may have been the reason: they are then
    sent one at a time until each is through, and only a loss while a batch is alone counts against
    it.

    Args:
        pool: computes.
        batches: what is to be computed.
        ahead: batches under way for each that is computed at a time.
        retries: how many times a batch is sent again.
        report: gets to know what is sent again.
    """

    def __init__(
        self,
        pool: Pool,
        batches: Iterator[Sequence[Item]],
        ahead: int,
        retries: int,
        report: Report,
    ) -> None:
        self._pool = pool
        self._batches = batches
        self._ahead = ahead
        self._retries = retries
        self._report = report
        self._tasks: deque[_Task] = deque()
        self._broken: Exception | None = None  # of the iterator, raised when it is its turn

    def __iter__(self) -> Iterator[tuple[Sequence[Item], Done | WorkerLost]]:
        while True:
            self._fill()
            if not self._tasks:
                if self._broken is not None:
                    raise self._broken
                return
            first = self._tasks[0]
            while first.done is None:
                self._start()
                self._wait()
            self._tasks.popleft()
            yield first.batch, first.done

    def cancel(self) -> None:
        """Let go of what was not given; what is being computed goes on to its end."""
        for task in self._tasks:
            if task.future is not None:
                self._pool.cancel(task.future)
        self._tasks.clear()

    def _fill(self) -> None:
        """Take batches while there is room, and start each at once."""
        self._start()
        while self._broken is None and len(self._tasks) < self._ahead * self._pool.slots():
            try:
                batch = next(self._batches, None)
            except Exception as error:
                self._broken = error
                return
            if batch is None:
                return
            self._tasks.append(_Task(batch))
            self._start()

    def _under_way(self) -> list[_Task]:
        return [task for task in self._tasks if task.future is not None]

    def _start(self) -> None:
        """Start what waits; of batches under suspicion one, when nothing else is under way."""
        waiting = [task for task in self._tasks if task.future is None and task.done is None]
        suspects = [task for task in self._tasks if task.suspect]
        if suspects:
            waiting = [task for task in suspects[:1] if not self._under_way()]
        for task in waiting:
            try:
                task.future = self._pool.submit([item.sent for item in task.batch], task.send)
            except futures.BrokenExecutor as error:  # a worker died while it was idle
                self._lost(task, error, counts=not self._under_way())
                self._all_lost(task, error)
                return

    def _wait(self) -> None:
        """Wait until something is done, and note it."""
        under_way = self._under_way()
        ready, _ = futures.wait(
            [task.future for task in under_way if task.future is not None],
            return_when=futures.FIRST_COMPLETED,
        )
        for task in under_way:
            if task.future in ready:
                self._note(task, alone=len(under_way) == 1)

    def _note(self, task: _Task, alone: bool) -> None:
        future, task.future = task.future, None
        assert future is not None
        try:
            found = future.result()
        except futures.BrokenExecutor as error:
            self._lost(task, error, counts=alone)
            self._all_lost(task, error)
        except self._pool.lost_with_others as error:
            self._lost(task, error, counts=alone)
            task.suspect = task.done is None
        except self._pool.lost as error:
            self._lost(task, error, counts=True)
        else:
            if isinstance(found, Absent):
                task.send = True
            else:
                task.done, task.suspect = found, False

    def _lost(self, task: _Task, error: BaseException, counts: bool) -> None:
        """Give up a batch that was lost too often."""
        task.losses += counts
        if task.losses <= self._retries:
            self._report.retried += 1
            return
        task.suspect = False
        task.done = WorkerLost(
            f"a batch of {len(task.batch)} was given up, its worker was lost {task.losses} "
            f"time{'s' * (task.losses > 1)}: {type(error).__name__}: {error}",
            fix="look into the logs of the workers; where they run out of memory, give smaller "
            "batches, batch=8; errors='return' goes on with the next batch",
        )

    def _all_lost(self, task: _Task, error: futures.BrokenExecutor) -> None:
        """Make the pool anew, and suspect all that was under way and has no results.

        Raises:
            WorkerLost: the pool cannot be made anew.
        """
        under_way = self._under_way()
        futures.wait([task.future for task in under_way if task.future is not None])
        for other in under_way:
            assert other.future is not None
            if other.future.cancelled() or other.future.exception() is not None:
                other.future, other.suspect = None, True
                self._report.retried += 1
        task.suspect = task.done is None
        if not self._pool.renew():
            raise WorkerLost(
                f"the workers are lost: {type(error).__name__}: {error}",
                fix="hand over what makes the executor, so that it can be made again: "
                "client=lambda: ProcessPoolExecutor(4)",
            ) from error
