"""Runs a step of training whose batch is computed in parts: which part of the batch a call has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from .backends.executable import Executable
from .ir import Graph, Location, Role, TensorType
from .ir.communicator import Communicator, evenly, starts
from .ir.dims import DimExpr, divide_exactly, is_int
from .ir.errors import AttributeMistake, ShapeError, shown
from .ir.ops.normalize import BatchNormTrain, elements_per_channel
from .ir.record import Record
from .passes.partial_batches import FIRST, IMAGES, LAST, SHARE, WEIGHT, Parts


class Alone(Record):
    """A batch norm that sees one value for each channel of an image: it needs two images.

    Attributes:
        op, x: the batch norm, and the type of its input for a single image.
        path, loc: where it stands.
    """

    op: BatchNormTrain
    x: TensorType
    path: str
    loc: Location | None

    @classmethod
    def of(cls, graph: Graph) -> Self | None:
        """The first one of a graph in training form, if there is one."""
        leads = {v.type.shape[0] for v in graph.inputs_with(Role.DATA) if v.type.shape}
        for lead in leads:
            if not isinstance(lead, DimExpr) or not lead.is_symbol:
                continue
            for node in graph.nodes:
                if not isinstance(node.op, BatchNormTrain):
                    continue
                x = node.operands[0].type
                if divide_exactly(elements_per_channel(x), lead) == 1:
                    return cls(node.op, x.bind({str(lead): 1}), node.path, node.loc)
        return None

    def refuse(self, of: str = "") -> None:
        """Say that the batch norm has a single image.

        Args:
            of: whose image that is, where the batch has more.

        Raises:
            ShapeError: always.
        """
        try:
            if not of:
                self.op.check_run(self.x)
            raise ShapeError(
                f"{self.op.name} has one value for each channel in {self.x}, {of}: there is no "
                "variance to learn from",
                fix="leave out a last batch that is smaller with drop_last=True, and give each "
                "part of a batch at least 2 images; or let ranks share the statistics of all "
                "their images: sync_batch_norm=True",
            )
        except ShapeError as error:
            error.at(self.path, self.loc)
            raise


class BatchCheck(Record):
    """Whether a batch of so many images can be a step: a batch norm needs two values.

    All ranks find the same, and none waits for one that cannot go on.

    Attributes:
        alone: a batch norm that needs two images; None where one image is enough.
        parts: how the batch is cut, if it is.
        accumulate: in how many parts each rank computes its images.
    """

    alone: Alone | None
    parts: Parts | None
    accumulate: int

    def __call__(self, counts: Sequence[int]) -> None:
        """Look at the images that each rank has of a batch.

        Raises:
            ShapeError: a batch norm would have one value for each channel.
        """
        if self.alone is None:
            return
        if sum(counts) == 1:
            self.alone.refuse()
        if self.parts is None:
            return
        each = [evenly(count, self.accumulate) for count in counts]
        if self.parts.ranks and self.parts.sync_batch_norm:
            if 1 in (sum(part) for part in zip(*each)):
                self.alone.refuse(f"which is a part of a batch of {sum(counts)}")
            return
        for rank, own in enumerate(each):
            if 1 in own:
                whose = f"all that rank {rank} has" if self.parts.ranks else "which is a part"
                self.alone.refuse(f"{whose} of a batch of {sum(counts)} at a time")


class Cut(Record):
    """How the batch of a step is cut, and by whom.

    Attributes:
        parts: what the graph of the step was made for.
        ranks: that compute it together; None where there is one.
        accumulate: in how many parts each of them computes its images.
        check: whether a batch can be a step.
    """

    parts: Parts
    ranks: Communicator | None
    accumulate: int
    check: BatchCheck

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
            AttributeMistake: ``counts`` that are none.
            ShapeError: inputs that differ in their number of images, or another number than
                ``counts`` has for this rank; a batch norm over one value for each channel.
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
        self.check(numbers)
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
            piece = np.arange(start, start + max(1, own[place]))
            if not own[place] and self.check.alone is not None:
                piece = piece.repeat(2)  # which does not count, but has a variance
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
    size = ranks.size if ranks is not None else 1
    if counts is not None:
        fix = f"give the number of images of each rank, in order: counts={[here] * size}"
        if not isinstance(counts, (list, tuple)) or not all(map(is_int, counts)):
            raise AttributeMistake(f"counts= takes a list of ints, got {shown(counts)}", fix=fix)
        if len(counts) != size or min(counts) < 0 or not any(counts):
            raise AttributeMistake(f"counts of {size} ranks cannot be {shown(counts)}", fix=fix)
        return tuple(counts)
    if ranks is None:
        return (here,)
    told = np.zeros(size, np.int64)
    told[ranks.rank] = here
    ranks.all_reduce(told)
    return tuple(told.tolist())
