"""Runs a step of training whose batch is computed in parts: which part of the batch a call has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .backends.executable import Executable
from .ir.communicator import Communicator, evenly, starts
from .ir.errors import ShapeError, need
from .ir.record import Record
from .passes.partial_batches import FIRST, IMAGES, LAST, SHARE, WEIGHT, Parts


class Cut(Record):
    """How the batch of a step is cut, and by whom.

    Attributes:
        parts: what the graph of the step was made for.
        ranks: that compute it together; None where there is one.
        accumulate: in how many parts each of them computes its images.
    """

    parts: Parts
    ranks: Communicator | None
    accumulate: int

    def calls(
        self,
        executable: Executable,
        feeds: Mapping[str, object],
        batched: Sequence[str],
        counts: Sequence[int] | None,
    ) -> Iterator[Mapping[str, Any]]:
        """What a step is called with for each part in turn; the last call gives the results.

        Between them the executable gets its ranks, or has none: only what must be is summed over
        them, which is what was accumulated, with the last part.

        Args:
            executable: the compiled step.
            feeds: what the step takes, with this rank's images.
            batched: the names of what has an element for each image.
            counts: how many images each rank has; they tell each other where None.

        Raises:
            ShapeError: inputs that differ in their number of images, or another number than
                ``counts`` has for this rank.
        """
        arrays: dict[str, Any] = dict(feeds)
        arrays.update({name: np.asarray(arrays[name]) for name in batched if name in arrays})
        leads = {arrays[name].shape[:1] for name in batched if name in arrays}
        leads.discard(())
        if len(leads) != 1:
            raise ShapeError(
                f"the inputs of a step have different numbers of images: {sorted(leads)}",
                fix="give as many targets as images",
            )
        ((here,),) = leads
        rank = self.ranks.rank if self.ranks is not None else 0
        numbers = _counts(here, self.ranks, counts)
        if here != max(1, numbers[rank]):
            raise ShapeError(
                f"rank {rank} has {here} images, and counts says {numbers[rank]}",
                fix="give counts the number of images of each rank, in order",
            )
        whole, first = sum(numbers), starts(numbers)[rank]
        each = [evenly(count, self.accumulate) for count in numbers]  # by rank, then by part
        own, together = each[rank], [sum(column) for column in zip(*each)]
        known = {value.name: value.type.dtype.numpy for value in executable.inputs}
        last = max(place for place, count in enumerate(together) if count)
        for place, start in enumerate(starts(own)):
            joined = self.ranks is not None and (place == last or self.parts.sync_batch_norm)
            if not together[place] or not (own[place] or joined):
                continue
            start = min(start, here - 1)
            piece = slice(start, start + max(1, own[place]))
            told = {
                SHARE: own[place] / whole,
                WEIGHT: own[place] / together[place],
                IMAGES: together[place],
                FIRST: [first + start],
                LAST: place == last,
            }
            part = {name: np.asarray(v, known[name]) for name, v in told.items() if name in known}
            executable.communicator = self.ranks if joined else None
            yield part | {n: a[piece] if n in batched and a.ndim else a for n, a in arrays.items()}


def _counts(here: int, ranks: Communicator | None, counts: Sequence[int] | None) -> tuple[int, ...]:
    """How many images each rank has."""
    if counts is not None:
        need(counts, (list, tuple), "counts= takes a list of numbers", "write for example [32, 32]")
        return tuple(counts)
    if ranks is None:
        return (here,)
    told = np.zeros(ranks.size, np.int64)
    told[ranks.rank] = here
    ranks.all_reduce(told)
    return tuple(told.tolist())
