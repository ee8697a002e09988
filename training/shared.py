"""What ranks that train together share out, and what one of them does for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from ..ir.communicator import Communicator, evenly
from ..ir.errors import GraphError
from ..ir.types import Array
from .checkpoints import describe_mismatch
from .position import Position

T = TypeVar("T")


class Weights(Protocol):
    """What holds weights: a model."""

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> None: ...

    def snapshot(self) -> tuple[int, Mapping[str, Array]]: ...


class Shared:
    """The work of a fit loop, shared out among ranks.

    Args:
        ranks: None where there is one, which does everything.
    """

    def __init__(self, ranks: Communicator | None) -> None:
        self._ranks = ranks

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that shows and writes."""
        return self._ranks is None or self._ranks.rank == 0

    @property
    def part(self) -> tuple[int, int]:
        """(rank, ranks), as ``batches`` takes them."""
        return (0, 1) if self._ranks is None else (self._ranks.rank, self._ranks.size)

    def counts(self, size: int) -> tuple[int, ...] | None:
        """How many images of a batch each rank has; None where there is one rank."""
        return None if self._ranks is None else evenly(size, self._ranks.size)

    def on_first(self, function: Callable[[], T]) -> T:
        """What a function returns, or raises, on the first rank, which alone calls it."""
        return function() if self._ranks is None else self._ranks.on_first(function)

    def begin(self, model: Weights) -> None:
        """Give the model the weights that it has on the first rank."""
        if self._ranks is not None and self._ranks.size > 1:
            model.load_state_dict(self._ranks.broadcast(dict(model.snapshot()[1])), strict=False)

    def check_call(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Whether all ranks do the same.

        Raises:
            GraphError: this one does something else than the first, on every rank.
        """
        if self._ranks is None:
            return
        call = describe()
        mismatch = describe_mismatch(self._ranks.broadcast(dict(call)), call)
        differing = np.zeros(self._ranks.size, np.int64)
        differing[self._ranks.rank] = mismatch is not None
        self._ranks.all_reduce(differing)
        if differing.any():
            which = ", ".join(map(str, differing.nonzero()[0]))
            raise GraphError(
                f"the ranks do not train alike: not as rank 0 does rank {which}"
                + (f", where {mismatch}" if mismatch is not None else ""),
                fix="give all ranks the same data, network, arguments and processors",
            )

    def add_up(self, sums: Position) -> None:
        """Take in the counts and sums of all ranks, added in the order of the ranks."""
        if self._ranks is None:
            return
        totals = np.array([sums.count, *sums.sums.values()], np.float64)
        self._ranks.all_reduce(totals)
        sums.count = int(totals[0])
        sums.sums = dict(zip(sums.sums, totals[1:].tolist()))
