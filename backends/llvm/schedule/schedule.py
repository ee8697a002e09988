"""The base of schedules, and the facts that they are decided from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

from ....ir import Dim
from ....ir.record import Record
from ..target import Target

Sizes = Mapping[str, Dim]
Columns = tuple[tuple[str, int], ...]


class Schedule(Record):
    """How the anchor of a kernel runs.

    Its fields are the decisions; :meth:`__str__` says them in words, as ``plan()`` prints them.
    """

    algorithm: ClassVar[str]

    def block(self, lanes: int) -> int:
        """How many elements across the lanes a block of a packed weight has."""
        raise NotImplementedError

    def mistake(self, own: Schedule, target: Target) -> str | None:
        """Why this schedule cannot stand in the place of ``own``, our choice for the same kernel;
        None where it can."""
        if type(self) is not type(own):
            return f"the kernel runs as {type(own).__name__}"
        return None


class Tiled(Schedule):
    """A schedule with a register tile.

    Attributes:
        columns: of the tile: axes with how many of each, outermost first.
        vectors: of the tile, side by side.
    """

    columns: Columns
    vectors: int

    def block(self, lanes: int) -> int:
        return lanes * self.vectors

    def mistake(self, own: Schedule, target: Target) -> str | None:
        if not isinstance(own, Tiled) or type(self) is not type(own):
            return super().mistake(own, target)
        (axis, count), *whole = self.columns
        (own_axis, _), *own_whole = own.columns
        if axis != own_axis or whole != own_whole:
            return f"its tile has columns along {dict(own.columns)}, the first of which may differ"
        accumulators = math.prod(count for _, count in self.columns) * self.vectors
        if count < 1 or self.vectors < 1 or accumulators + self.vectors + 1 > target.registers:
            return (
                f"a tile of {accumulators} accumulators and {self.vectors + 1} operands needs more "
                f"than the {target.registers} registers of {target.name}"
            )
        return None


def tile_text(columns: Columns, vectors: int) -> str:
    """A tile in words: its rows, where several share it, its columns and its vectors."""
    return f"tile {' x '.join(str(count) for _, count in columns)} x {vectors}"


def known(sizes: Iterable[Dim]) -> int:
    """The product of the sizes that are numbers."""
    return math.prod(size for size in sizes if isinstance(size, int))


def even_pieces(size: int, most: int) -> int:
    """The length of pieces of no more than ``most`` that are as equal as they can be."""
    return -(-size // -(-size // most)) if size else 1
