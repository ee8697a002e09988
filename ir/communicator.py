"""What ranks are to a run: several processes that compute one thing together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import accumulate
from typing import TypeVar

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
        >>> ranks.on_first(lambda: 7)
        7
    """

    rank: int
    size: int

    @abstractmethod
    def all_reduce(self, array: Array) -> None:
        """Replace an array, in place, by the sum of those of all ranks.

        The numbers are added in the order of the ranks and in the dtype of the array: a repeated
        run has the same bits, and so has every rank.

        Args:
            array: numbers in row order, of one shape and dtype on all ranks.
        """

    @abstractmethod
    def broadcast(self, value: T) -> T:
        """What rank 0 gave; it must be possible to pickle it."""

    @property
    def neighbours(self) -> int:
        """How many ranks run on this machine, which share its processors."""
        return self.size

    def on_first(self, function: Callable[[], T]) -> T:
        """What a function returns, or raises, on rank 0, which alone calls it.

        Raises:
            Exception: what the function raised there, on every rank.
        """
        outcome: tuple[T | None, Exception | None] = (None, None)
        if self.rank == 0:
            try:
                outcome = (function(), None)
            except Exception as error:  # goes to all ranks, which would wait for ever otherwise
                outcome = (None, error)
        result, raised = self.broadcast(outcome)
        if raised is not None:
            raise raised
        return result  # type: ignore[return-value]


def evenly(count: int, parts: int) -> tuple[int, ...]:
    """``count`` things in so many runs of neighbours, whose sizes differ by one at the most."""
    ends = [count * (place + 1) // parts for place in range(parts)]
    return tuple(end - start for start, end in zip([0, *ends], ends))


def starts(counts: tuple[int, ...]) -> tuple[int, ...]:
    """Where each run begins."""
    return tuple(accumulate((0, *counts)))[:-1]
