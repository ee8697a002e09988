"""What ranks that train together share out, and what one of them does for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from ..ir.communicator import Communicator, evenly
from ..ir.digest import digest_of
from ..ir.errors import GraphError
from ..ir.types import Array
from .checkpoints import describe_mismatch
from .data import Dataset
from .position import Position

T = TypeVar("T")

# How many images of a data set are compared between ranks, which all have read it.
_LOOKED_AT = 64


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

    def on_first(self, function: Callable[[], T], what: str) -> T:
        """What a function returns, or raises, on the first rank, which alone calls it."""
        return function() if self._ranks is None else self._ranks.on_first(function, what)

    def begin(self, model: Weights) -> None:
        """Give the model the weights that it has on the first rank."""
        if self._ranks is not None and self._ranks.size > 1:
            held = dict(model.snapshot()[1])
            model.load_state_dict(self._ranks.told("take its weights", held), strict=False)

    def check_alike(self, what: str, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Whether all ranks do the same.

        Args:
            what: they are to do, in words.
            describe: how, by name.

        Raises:
            GraphError: this one does something else than the first, on every rank; or another call.
        """
        if self._ranks is None or self._ranks.size == 1:
            return
        own = dict(describe())
        mismatch = describe_mismatch(self._ranks.told(what, own), own) or ""
        said = np.frombuffer(mismatch.encode(), np.uint8)
        lengths = np.zeros(self._ranks.size, np.int64)
        lengths[self._ranks.rank] = said.size
        self._ranks.all_reduce(lengths)
        differing = lengths.nonzero()[0].tolist()
        if differing:  # what the first of them says goes to all, whichever of them is heard
            text = np.zeros(lengths[differing[0]], np.uint8)
            if self._ranks.rank == differing[0]:
                text[...] = said
            self._ranks.all_reduce(text)
            raise GraphError(
                f"the ranks do not {what} alike: not as rank 0 does rank "
                f"{', '.join(map(str, differing))}, where {text.tobytes().decode()}",
                fix="give all ranks the same data, network, arguments and processors",
            )

    def check_weights(self, model: Weights) -> None:
        """Whether all ranks hold the same weights, as they must after the same steps.

        Raises:
            GraphError: they do not, on every rank.
        """
        self.check_alike(
            "go on",
            lambda: {"digest": digest_of(*map(_content, model.snapshot()[1].values()))},
        )

    def add_up(self, sums: Position) -> None:
        """Take in the counts and sums of all ranks, added in the order of the ranks."""
        if self._ranks is None:
            return
        totals = np.array([sums.count, *sums.sums.values()], np.float64)
        self._ranks.all_reduce(totals)
        sums.count = int(totals[0])
        sums.sums = dict(zip(sums.sums, totals[1:].tolist()))


def described(dataset: Dataset | None) -> str:
    """What tells a data set from others: its size, its labels, and some of its images."""
    if dataset is None:
        return "none"
    some = dataset.images[:: -(-len(dataset) // _LOOKED_AT)]
    return f"{dataset} {digest_of(_content(dataset.labels), _content(some))[:8]}"


def _content(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()
