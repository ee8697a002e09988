"""Ranks that are threads of this process, for tests that need no MPI."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from cauce.ir import Array
from cauce.ir.communicator import Communicator

T = TypeVar("T")


class ThreadRank(Communicator):
    """One rank of :func:`run_ranks`.

    Attributes:
        messages: the number of elements of each sum so far.
    """

    def __init__(self, rank: int, size: int, board: list[Any], gate: threading.Barrier) -> None:
        self.rank, self.size = rank, size
        self._board, self._gate = board, gate
        self.messages: list[int] = []

    def all_reduce(self, array: Array) -> None:
        self.messages.append(array.size)
        parts = self._exchange(array.copy())
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        array[...] = total

    def broadcast(self, value: T) -> T:
        """A copy, as it is among processes: what ranks share they would change together."""
        sent = self._exchange(pickle.dumps(value) if self.rank == 0 else None)[0]
        given: T = value if self.rank == 0 else pickle.loads(sent)
        return given

    def _exchange(self, value: Any) -> list[Any]:
        self._board[self.rank] = value
        self._gate.wait(60)
        values = list(self._board)
        self._gate.wait(60)
        return values


def run_ranks(size: int, function: Callable[[ThreadRank], T]) -> list[T]:
    """What a function returns on each of so many ranks.

    Raises:
        Exception: what it raised on the first rank that it did on; the others are let go.
    """
    board: list[Any] = [None] * size
    gate = threading.Barrier(size)
    results: list[Any] = [None] * size
    errors: list[tuple[int, BaseException]] = []

    def work(rank: int) -> None:
        try:
            results[rank] = function(ThreadRank(rank, size, board, gate))
        except BaseException as error:
            errors.append((rank, error))
            gate.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own = [error for _, error in sorted(errors, key=lambda found: found[0])]
    for error in own:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    assert not own, own
    return results
