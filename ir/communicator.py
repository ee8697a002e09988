"""What ranks are to a run: several processes that compute one thing together."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import accumulate
from typing import TypeVar

from .errors import GraphError
from .types import Array

T = TypeVar("T")


class Communicator(ABC):
    """One of several ranks, all of which make the same calls in the same order.

    :func:`cauce.distributed.mpi` gives those of MPI; another engine's are a subclass. Arrays have
    the same shape and dtype on all ranks.

    Attributes:
        rank: the number of this one, from 0.
        size: how many there are.

    Examples:
        >>> class Alone(cauce.ir.communicator.Communicator):
        ...     rank, size = 0, 1
        ...     def all_reduce(self, array): ...
        ...     def broadcast(self, value): return value
        >>> ranks = Alone()
        >>> ranks.all_reduce(np.ones(3)), ranks.broadcast("seed"), ranks.neighbours
        (None, 'seed', 1)
        >>> ranks.on_first(lambda: 7), ranks.told("agree on a seed", 3)
        (7, 3)
    """

    rank: int
    size: int

    @abstractmethod
    def all_reduce(self, array: Array) -> None:
        """Replace an array, in place, by the sum of those of all ranks.

        The numbers are added in the order of the ranks and in the dtype of the array: a repeated
        run has the same bits, and so has every rank.

        Args:
            array: numbers in row-major order, of one shape and dtype on all ranks.
        """

    @abstractmethod
    def broadcast(self, value: T) -> T:
        """What rank 0 gave; it must be possible to pickle it."""

    def told(self, what: str, value: T) -> T:
        """What rank 0 gave, in a call that all ranks make.

        Args:
            what: the call, in words.
            value: what it is on this rank.

        Raises:
            GraphError: rank 0 makes another one.
        """
        place, found = self.broadcast((what, value))
        if place != what:  # else what follows would be taken for something else
            raise GraphError(
                f"rank {self.rank} is to {what}, and rank 0 to {place}",
                fix="let all ranks make the same calls, in the same order",
            )
        return found

    @property
    def neighbours(self) -> int:
        """How many ranks run on this machine, which share its processors."""
        return self.size

    def on_first(self, function: Callable[[], T], what: str = "wait for rank 0") -> T:
        """What a function returns, or raises, on rank 0, which alone calls it.

        Args:
            function: it is called without arguments.
            what: it does, in words.

        Raises:
            Exception: what the function raised there, on every rank; a RuntimeError on the others
                where it cannot be pickled.
            GraphError: rank 0 makes another call.
        """
        outcome: tuple[T | None, Exception | None] = (None, None)
        own: Exception | None = None
        if self.rank == 0:
            try:
                outcome = (function(), None)
            except Exception as error:  # goes to all ranks, which would wait for ever otherwise
                own, outcome = error, (None, _as_sent(error))
        result, raised = self.told(what, outcome)
        if raised is not None:
            raise own if own is not None else raised
        return result  # type: ignore[return-value]


def _as_sent(error: Exception) -> Exception:
    """An error that arrives elsewhere: itself, or what it says."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does when it is copied
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def evenly(count: int, parts: int) -> tuple[int, ...]:
    """``count`` things in so many runs of neighbours, whose sizes differ by one at the most."""
    ends = [count * (place + 1) // parts for place in range(parts)]
    return tuple(end - start for start, end in zip([0, *ends], ends))


def starts(counts: tuple[int, ...]) -> tuple[int, ...]:
    """Where each run begins."""
    return tuple(accumulate((0, *counts)))[:-1]
