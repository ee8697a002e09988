"""Reductions as launches: what is kept and what is summed, and how it falls into vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .....ir import Dim, DType
from .....ir.layout import Strides
from .....ir.ops import reduce
from ...lowering.access import Access, Shape
from ..code import Compute, Finish, NodeCode

# Side by side: the place of the first element, and how many.
VectorRun = tuple[int, int]


@dataclass(frozen=True)
class Side:
    """An array over the axes of a reduction: its strides along those kept and those summed."""

    access: Access
    kept: Strides
    summed: Strides = ()


@dataclass(frozen=True)
class ReductionJob:
    """result[k] = finish(reduction of compute(sources[k, s]) over s), as one launch.

    Attributes:
        kept: the sizes of the axes that stay, outermost first.
        summed: those of the others, one at least.
        across: whether vectors lie across the last kept axis, or else along the last summed one.
        compute: makes an element of those of the sources.
        accumulators: how many vectors are added up side by side, a power of two.
        others: what ``finish`` takes beside the totals.
        part: where not None, this kept axis counts parts of the first summed axis,
        end: whose size this is: the last part may be shorter.
    """

    op: reduce.Reduction
    dtype: DType
    kept: Shape
    summed: Shape
    across: bool
    sources: tuple[Side, ...]
    compute: Compute
    accumulators: int
    result: Side
    others: tuple[Side, ...] = ()
    finish: Finish | None = None
    part: int | None = None
    end: Dim = 0

    def lanes(self, code: NodeCode) -> int:
        """How many elements a vector of the widest source holds."""
        sizes = [source.access.dtype.itemsize for source in self.sources]
        return code.target.lanes(max([self.dtype.itemsize, *sizes]))

    def panels(self, lanes: int) -> tuple[list[VectorRun], list[VectorRun]]:
        """The last kept axis in vectors: of a panel, and behind whole panels."""
        columns = self.kept[-1]
        if not isinstance(columns, int):
            return [(0, lanes)], [(0, 1)]
        # Panels are as equal as they can be.
        count = len(list(vector_runs(columns, lanes)))
        panels = max(1, -(-count // self.accumulators))
        size = -(-count // panels) * lanes
        main = vector_runs(size, lanes) if size <= columns else ()
        return list(main), list(vector_runs(columns % size, lanes))

    def rows(self, columns: int) -> int:
        """How many rows are added up side by side, of that many vectors each."""
        return max(1, self.accumulators >> (columns - 1).bit_length())


def vector_runs(count: int, lanes: int) -> Iterator[VectorRun]:
    """Whole vectors, then ever narrower ones."""
    first = 0
    while first < count:
        while lanes > count - first:
            lanes //= 2
        yield first, lanes
        first += lanes
