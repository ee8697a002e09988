"""Where batches are computed: here, or by an executor of whatever kind."""

from __future__ import annotations

import concurrent.futures as futures
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from ..ir.errors import TypeMismatch, WorkerLost, shown
from .worker import Absent, Call, Done, timed, work

Future = futures.Future[Done | Absent]

# Of executors, the digests of what their workers were sent.
_KNOWN: WeakKeyDictionary[futures.Executor, set[str]] = WeakKeyDictionary()


class Pool(ABC):
    """Computes batches.

    Attributes:
        lost: what is raised for a batch whose worker was lost.
        lost_with_others: the same, where another batch may have been the reason.
            ``BrokenExecutor`` means that all batches under way are lost.
    """

    lost: tuple[type[BaseException], ...] = (futures.CancelledError, ConnectionError, MemoryError)
    lost_with_others: tuple[type[BaseException], ...] = ()

    @abstractmethod
    def slots(self) -> int:
        """How many batches are computed at a time; it may change."""

    @abstractmethod
    def submit(self, items: Sequence[Any], send: bool) -> Future:
        """Begin with a batch.

        Args:
            items: what the call takes.
            send: whether the call is sent along, since a worker had it not.
        """

    def cancel(self, future: Future) -> None:
        """Need a batch no more."""
        future.cancel()

    def renew(self) -> bool:
        """Be of use again after all workers were lost; whether that can be."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Need the workers no more."""


class Here(Pool):
    """This thread: a batch is computed when it is submitted."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def slots(self) -> int:
        return 1

    def submit(self, items: Sequence[Any], send: bool) -> Future:
        future = Future()
        future.set_result(timed(self._call, items))
        return future

    def close(self) -> None:
        """There is nothing to let go of."""


class Workers(Pool):
    """The workers of an executor of ``concurrent.futures``, or of one that is made when needed.

    The first batches for workers that nothing is known of are sent with the call, the others
    without: a worker that has not met it says so, and the batch is sent again.

    Args:
        executor: an executor, which stays open, or what makes one, which is shut down at the end
            and made again when it is broken.
        digest, content: the call, as :func:`~cauce.clusters.worker.packed` gives it.
        count: how many workers there are, where the executor does not tell.
    """

    def __init__(
        self,
        executor: futures.Executor | Callable[[], futures.Executor],
        digest: str,
        content: bytes,
        count: int | None = None,
    ) -> None:
        self._make = None if isinstance(executor, futures.Executor) else executor
        self._executor = executor if isinstance(executor, futures.Executor) else _made(executor)
        self._digest = digest
        self._content = content
        self._count = count
        # Ray's and others' say what they raise.
        self.lost = (*self.lost, *getattr(self._executor, "lost", ()))
        self._unsent = self._first()

    def _first(self) -> int:
        """How many batches are sent with the call without being asked."""
        known = _KNOWN.setdefault(self._executor, set())
        unsent = 0 if self._digest in known else self.slots()
        known.add(self._digest)
        return unsent

    def slots(self) -> int:
        told = self._count or getattr(self._executor, "_max_workers", None)
        return told if isinstance(told, int) else os.cpu_count() or 1

    def submit(self, items: Sequence[Any], send: bool) -> Future:
        send = send or self._unsent > 0
        self._unsent = max(0, self._unsent - 1)
        content = self._content if send else None
        try:
            return self._executor.submit(work, self._digest, content, items)
        except futures.BrokenExecutor:
            raise
        except RuntimeError as error:  # it was shut down
            raise WorkerLost(
                f"the executor takes no work: {error}",
                fix="ask for all results before the executor is shut down: within its with block",
            ) from error

    def renew(self) -> bool:
        if self._make is None:
            return False
        self._executor.shutdown(wait=False)
        self._executor = _made(self._make)
        self._unsent = self._first()
        return True

    def close(self) -> None:
        if self._make is not None:
            self._executor.shutdown()


def _made(make: Callable[[], futures.Executor]) -> futures.Executor:
    """An executor, or what has ``submit`` as one has."""
    made = make()
    if not callable(getattr(made, "submit", None)):
        raise TypeMismatch(
            f"client= makes no executor, but {shown(made)}",
            fix="hand over what makes one: client=lambda: ProcessPoolExecutor(4)",
        )
    return made


def processes(count: int) -> Callable[[], futures.Executor]:
    """What makes an executor of new processes.

    They are spawned, not forked: a fork copies locks that other threads hold.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    return partial(ProcessPoolExecutor, count, mp_context=get_context("spawn"))
