"""The base of schedules, and the facts that they are decided from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from ....ir import Dim, TensorType
from ....ir.layout import Blocked, Halo, Order, Packed
from ....ir.record import Record
from ..target import Target

# No field of a schedule counts further: what is made of a few of them stays below 64 bits.
_MOST = 2**20

# The most parts of a sum, each of which is added to the result: rounding grows with their number.
MOST_PARTS = 1024

Sizes = Mapping[str, Dim]
Columns = tuple[tuple[str, int], ...]


class Setting(Record):
    """What a schedule depends on beside the op and its types.

    Attributes:
        target: the processor.
        packed: whether the weight will be packed.
        fixed: whether the weight never changes, so that it is packed once and not in each call.
        weights: bytes of all weights of the graph: where they are more than a cache holds, none
            stays there from call to call.
        precision: ``"strict"``, ``"default"`` or ``"fast"``.
        sizes: of symbols that are always the same: of the images of a batch that was fixed.
    """

    target: Target
    packed: bool = True
    fixed: bool = True
    weights: int = 0
    precision: str = "default"
    sizes: tuple[tuple[str, int], ...] = ()


class Choice(NamedTuple):
    """A schedule that a kernel can have, and the cycles of one thread that it is predicted to take,
    where there are others to compare it with."""

    schedule: Schedule
    cycles: int | None = None


class Schedule(Record):
    """How the anchor of a kernel runs.

    Its fields are the decisions; :meth:`__str__` says them in words, as ``plan()`` prints them.
    """

    algorithm: ClassVar[str]

    @property
    def label(self) -> str:
        """What tells it from the other ways that its kernel can run, in a word or two."""
        return self.algorithm

    def block(self, lanes: int) -> int:
        """How many elements across the lanes a block of a packed weight has."""
        raise NotImplementedError

    def pack(self, order: Order, lanes: int, flip: bool) -> Packed:
        """The format of a packed weight.

        Args:
            order: of its axes, as the kernel reads them.
            lanes: elements of a vector.
            flip: whether taps are read backwards.
        """
        return Blocked(order, self.block(lanes))

    def reads(self, halo: Halo, image: TensorType) -> Halo:
        """The zeros around the image that the kernel reads, where the op reads ``halo``."""
        return halo

    def mistake(self, own: Any, target: Target) -> str | None:
        """Why this schedule cannot stand in the place of ``own``, our choice for the same kernel;
        None where it can. Both are of one class, with values of the same kinds in their fields
        (:func:`mistake_of`)."""
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

    def mistake(self, own: Any, target: Target) -> str | None:
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
        return super().mistake(own, target)


def mistake_of(given: Schedule, own: Schedule, target: Target) -> str | None:
    """Why a schedule cannot stand in the place of ``own``, our choice for the same kernel; None
    where it can."""
    if type(given) is not type(own):
        return f"the kernel runs as {type(own).__name__}"
    for name in own._names:
        value, model = getattr(given, name), getattr(own, name)
        if not _is_alike(value, model):
            return f"{name} is {value!r}, and cannot stand in the place of {model!r}"
    return given.mistake(own, target)


def _is_alike(value: object, model: object) -> bool:
    """Whether a value of a field is of the kind of another one: a number that code can count with
    for a number, as many of a kind for a tuple."""
    if type(value) is not type(model):
        return False
    if isinstance(value, tuple) and isinstance(model, tuple):
        return len(value) == len(model) and all(map(_is_alike, value, model))
    return not isinstance(value, int) or abs(value) <= _MOST


def tile_text(columns: Columns, vectors: int) -> str:
    """A tile in words: its rows, where several share it, its columns and its vectors."""
    return f"tile {' x '.join(str(count) for _, count in columns)} x {vectors}"


def known(sizes: Iterable[Dim]) -> int:
    """The product of the sizes that are numbers."""
    return math.prod(size for size in sizes if isinstance(size, int))


def even_pieces(size: int, most: int) -> int:
    """The length of pieces of no more than ``most`` that are as equal as they can be."""
    return -(-size // -(-size // most)) if size else 1
