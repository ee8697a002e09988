"""How an array lies in memory: the order of its axes, a frame of zeros around it, blocks."""

from __future__ import annotations

from .dims import Dim, ceil_div, product
from .record import Record

Order = tuple[int, ...]
Strides = tuple[Dim, ...]

CHANNELS_LAST: Order = (0, 2, 3, 1)
NO_HALO = (0, 0, 0, 0)


class Layout(Record):
    """Where the elements of an array of a known shape lie.

    Printed behind the shape: ``f32[N,64,56,56]{0,2,3,1 halo 1,1,1,1}`` lies channels-last, with
    one row of zeros above and below every channel, and one column on either side.

    Attributes:
        order: the axes, outermost first.
        halo: zeros around axes 2 and 3 of an image: before, after, before, after.
        block: where not 0, the innermost axis is cut into blocks of that many elements, and the
            blocks lie outermost; the last one is padded. What a tile of a convolution reads of the
            weight is then one run of memory.
        pad: unused elements behind each run of the innermost axis. Where pixels lie a power of two
            apart they all want the same few places of a cache; so they do not.
    """

    order: Order
    halo: tuple[int, int, int, int] = NO_HALO
    block: int = 0
    pad: int = 0

    @staticmethod
    def rows(rank: int) -> Layout:
        """Row order: the last axis is innermost. What a caller sees lies so."""
        return Layout(tuple(range(rank)))

    def extents(self, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """The sizes of the axes in memory, halo and padding included."""
        extents = list(shape)
        if self.halo != NO_HALO:
            top, bottom, left, right = self.halo
            extents[2] = extents[2] + (top + bottom)
            extents[3] = extents[3] + (left + right)
        if self.pad:
            extents[self.order[-1]] = extents[self.order[-1]] + self.pad
        return tuple(extents)

    def strides(self, shape: tuple[Dim, ...]) -> Strides:
        """The distance, in elements, of neighbours along each axis (within a block)."""
        extents = list(self.extents(shape))
        if self.block:
            extents[self.order[-1]] = self.block
        found: dict[int, Dim] = {}
        for place, axis in enumerate(self.order):
            found[axis] = product(tuple(extents[inner] for inner in self.order[place + 1 :]))
        return tuple(found[axis] for axis in range(len(shape)))

    def apart(self, shape: tuple[Dim, ...]) -> Dim:
        """The distance, in elements, from block to block."""
        return self.block * product(tuple(shape[axis] for axis in self.order[:-1]))

    def start(self, shape: tuple[Dim, ...]) -> Dim:
        """Where the first element lies, in elements from the beginning of the buffer."""
        if self.halo == NO_HALO:
            return 0
        steps = self.strides(shape)
        return self.halo[0] * steps[2] + self.halo[2] * steps[3]

    def size(self, shape: tuple[Dim, ...]) -> Dim:
        """How many elements the buffer holds."""
        if self.block:
            return ceil_div(shape[self.order[-1]], self.block) * self.apart(shape)
        return product(self.extents(shape))

    def same_places(self, other: Layout, shape: tuple[Dim, ...]) -> bool:
        """Whether every element lies at the same place in both."""
        if (self.halo, self.block, self.pad) != (other.halo, other.block, other.pad):
            return False
        pairs = zip(shape, self.strides(shape), other.strides(shape))
        return all(size == 1 or one == two for size, one, two in pairs)

    def __str__(self) -> str:
        parts = [",".join(map(str, self.order))]
        if self.halo != NO_HALO:
            parts.append(f"halo {','.join(map(str, self.halo))}")
        if self.block:
            parts.append(f"block {self.block}")
        if self.pad:
            parts.append(f"pad {self.pad}")
        return "{" + " ".join(parts) + "}"
