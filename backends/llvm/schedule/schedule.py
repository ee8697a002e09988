"""The base of schedules, and the facts that they are decided from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

from ....ir import Dim
from ....ir.record import Record

Sizes = Mapping[str, Dim]


class Schedule(Record):
    """How the anchor of a kernel runs.

    Its fields are the decisions; :meth:`__str__` says them in words, as ``plan()`` prints them.
    """

    algorithm: ClassVar[str]


def known(sizes: Iterable[Dim]) -> int:
    """The product of the sizes that are numbers."""
    return math.prod(size for size in sizes if isinstance(size, int))


def even_pieces(size: int, most: int) -> int:
    """The length of pieces of no more than ``most`` that are as equal as they can be."""
    return -(-size // -(-size // most)) if size else 1
