"""What was made for the sizes seen last: a small table that forgets the oldest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

# Images of ever new sizes must not fill the memory with what was made for each.
LIMIT = 16


class Recent(Generic[K, T]):
    """The values made for the last keys; safe to ask from several threads.

    There is no lock, which a process that is forked off might find held for ever: each step is one
    operation of a dictionary, and where two threads make the same value one of them is kept.

    >>> squares: Recent[int, int] = Recent(limit=2)
    >>> [squares.get(n, lambda n=n: n * n) for n in (2, 3, 2, 4)]
    [4, 9, 4, 16]
    >>> sorted(squares.keys())
    [2, 4]
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._values: OrderedDict[K, T] = OrderedDict()

    def get(self, key: K, make: Callable[[], T]) -> T:
        """The value of a key, made where it is not there."""
        try:
            value = self._values[key]
            self._values.move_to_end(key)
        except KeyError:  # it is not there, or another thread took it away
            value = self._values[key] = make()
            while len(self._values) > self._limit:
                self._values.popitem(last=False)
        return value

    def keys(self) -> list[K]:
        """The keys, the one used last at the end."""
        return list(self._values)
