"""Sums and maxima over axes: how many accumulators, and where a long reduction is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ....ir import Dim
from ..target import Target
from .schedule import Schedule

# How many vectors are added up side by side. An addition takes four cycles, and two can begin in
# each; where elements are computed first, that fills the processor, and its values need registers.
_PLAIN, _COMPUTED = 8, 4

# The most elements that one accumulator adds up, where sizes are known: the rounding of a sum
# grows with their number.
_DEPTH = 128

# The most columns that one task adds up, about.
COLUMNS = 1024

# How many terms an accumulator takes before it is added to another: from that many on at the end
# of an inner axis, and within a long axis.
FEW_TERMS, BLOCK_TERMS = 4, 16


class Accumulators(Schedule):
    """Accumulators side by side; a long reduction is cut into parts, which are merged in order.

    Attributes:
        plain: how many vectors are added up side by side, a power of two.
        computed: the same where elements are computed on the fly.
        depth: the most elements that one accumulator adds up.
    """

    algorithm: ClassVar[str] = "accumulators"
    plain: int
    computed: int
    depth: int

    def __str__(self) -> str:
        return f"{self.plain} accumulators ({self.computed} if computed), parts of {self.depth}"

    def mistake(self, own: Any, target: Target) -> str | None:
        powers = (1, 2, 4, 8, 16)
        if self.plain not in powers or self.computed not in powers or self.depth < 1:
            return "its accumulators are a power of two up to 16, its depth is 1 at least"
        return super().mistake(own, target)

    def cut(self, summed: Sequence[Dim], step: int) -> tuple[int, int] | None:
        """Which summed axis is cut into parts of what length, if one is: the axes before it become
        parts too. A part holds what one task adds up.

        Args:
            summed: the sizes of the axes that are summed, outermost first.
            step: how many elements are added up side by side.
        """
        inside, last = 1, len(summed) - 1
        for axis in range(last, -1, -1):
            size = summed[axis]
            if isinstance(size, int) and size * inside <= self.depth * step:
                inside *= size
                continue
            length = max(1, self.depth * step // inside)
            if isinstance(size, int):
                length = -(-size // -(-size // length))
                if axis == last:
                    length = -(-length // step) * step
            return axis, length
        return None


def reduction() -> Accumulators:
    """The schedule of a reduction."""
    return Accumulators(_PLAIN, _COMPUTED, _DEPTH)
