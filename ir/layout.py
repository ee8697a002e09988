"""How an array lies in memory: strided, or packed in a named format.

A strided array is addressed by one stride for each axis. A packed one is not: its format says in
what blocks an algorithm reads it, and :meth:`Packed.pack` writes that memory in NumPy. So nothing
but what knows the format can read a packed array.
"""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .dims import Dim, ceil_div, product
from .errors import AttributeMistake
from .record import Record

if TYPE_CHECKING:
    from .types import Array

Order = tuple[int, ...]
Strides = tuple[Dim, ...]
Halo = tuple[tuple[int, int], ...]

CHANNELS_LAST: Order = (0, 2, 3, 1)  # of an image with rows and columns
NO_HALO: Halo = ()


class Layout(Record):
    """Where the elements of an array of a known shape lie: :class:`Strided` or :class:`Packed`.

    Printed in braces behind the shape: ``f32[N,64,56,56]{0,2,3,1 halo 1,1,1,1}``.
    """

    order: Order

    def size(self, shape: tuple[Dim, ...]) -> Dim:
        """How many elements the buffer holds."""
        raise NotImplementedError

    def fits(self, rank: int) -> bool:
        """Whether an array of this rank can lie so."""
        return sorted(self.order) == list(range(rank))

    def text(self) -> str:
        """The layout as it stands in braces; :meth:`read` reads it back."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{{{self.text()}}}"

    @staticmethod
    def read(text: str) -> Layout:
        """The layout of a text such as ``0,2,3,1 halo 1,1,1,1`` or ``blocked 2,3,1,0 by 16``.

        Raises:
            AttributeMistake: a text that is no layout.
        """
        words = text.split(" ")
        kind = FORMATS.get(words[0])
        numbers = words if kind is None else words[1:]
        try:
            order = tuple(map(int, numbers[0].split(",")))
            options = {
                name: tuple(map(int, values.split(",")))
                for name, values in zip(numbers[1::2], numbers[2::2], strict=True)
            }
            return (Strided if kind is None else kind).made(order, options)
        except (ValueError, LookupError, TypeError):
            raise AttributeMistake(
                f"{text!r} is no layout", fix="write for example '0,2,3,1 halo 1,1,1,1'"
            ) from None

    @staticmethod
    def made(order: Order, options: dict[str, tuple[int, ...]]) -> Layout:
        """The layout with these options, by name as the text has them."""
        raise NotImplementedError


class Strided(Layout):
    """One stride for each axis.

    Attributes:
        order: the axes, outermost first.
        halo: zeros around an image: (before, after) for each spatial axis, from axis 2 on.
        pad: unused elements behind each run of the innermost axis. Where pixels lie a power of two
            apart they all want the same few places of a cache; so they do not.
    """

    halo: Halo = NO_HALO
    pad: int = 0

    @staticmethod
    def row_major(rank: int) -> Strided:
        """Row-major: the last axis is innermost. What a caller sees lies so."""
        return Strided(tuple(range(rank)))

    def extents(self, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """The sizes of the axes in memory, halo and padding included."""
        extents = list(shape)
        for axis, (before, after) in enumerate(self.halo, 2):
            extents[axis] = extents[axis] + (before + after)
        if self.pad:
            extents[self.order[-1]] = extents[self.order[-1]] + self.pad
        return tuple(extents)

    def strides(self, shape: tuple[Dim, ...]) -> Strides:
        """The distance, in elements, of neighbours along each axis."""
        return _strides(self.order, self.extents(shape))

    def start(self, shape: tuple[Dim, ...]) -> Dim:
        """Where the first element lies, in elements from the beginning of the buffer."""
        total: Dim = 0
        steps = self.strides(shape)
        for axis, (before, _) in enumerate(self.halo, 2):
            total = total + before * steps[axis]
        return total

    def size(self, shape: tuple[Dim, ...]) -> Dim:
        return product(self.extents(shape))

    def fits(self, rank: int) -> bool:
        return super().fits(rank) and (not self.halo or len(self.halo) == rank - 2)

    def can_have_halo(self) -> bool:
        """Whether a halo can lie around an array in this order: channel by channel, or
        channels-last. What writes its zeros knows no others."""
        rows = tuple(range(len(self.order)))
        return self.order in (rows, (0, *rows[2:], 1))

    def same_places(self, other: Strided, shape: tuple[Dim, ...]) -> bool:
        """Whether every element lies at the same place in both."""
        if (self.halo, self.pad) != (other.halo, other.pad):
            return False
        pairs = zip(shape, self.strides(shape), other.strides(shape))
        return all(size == 1 or one == two for size, one, two in pairs)

    def text(self) -> str:
        parts = [_numbers(self.order)]
        if self.halo:
            parts.append(f"halo {_numbers(tuple(side for pair in self.halo for side in pair))}")
        if self.pad:
            parts.append(f"pad {self.pad}")
        return " ".join(parts)

    @staticmethod
    def made(order: Order, options: dict[str, tuple[int, ...]]) -> Strided:
        sides = options.pop("halo", ())
        (pad,) = options.pop("pad", (0,))
        if options or len(sides) % 2:
            raise ValueError
        return Strided(order, tuple(zip(sides[::2], sides[1::2])), pad)


class Packed(Layout):
    """A named format, which only the kernels that accept it can read, as their weight."""

    format: ClassVar[str]

    def pack(self, array: Array) -> Array:
        """The memory of an array in this format: the oracle of what a ``reorder`` writes."""
        raise NotImplementedError


class Blocked(Packed):
    """The innermost axis is cut into blocks, which lie outermost; zeros fill up the last one.

    What a register tile of a convolution or a matrix product reads of its weight is then one run
    of memory. ``blocked 2,3,1,0 by 32`` of [64, 16, 3, 3] lies as [2][3][3][16][32]: blocks of
    outputs, rows, columns, inputs, the outputs of a block.

    Attributes:
        order: the axes within a block, outermost first.
        block: how many elements of the innermost axis it has.
    """

    format: ClassVar[str] = "blocked"
    block: int

    def strides(self, shape: tuple[Dim, ...]) -> Strides:
        """The distance, in elements, of neighbours along each axis within a block."""
        extents = list(shape)
        extents[self.order[-1]] = self.block
        return _strides(self.order, tuple(extents))

    def block_stride(self, shape: tuple[Dim, ...]) -> Dim:
        """The distance, in elements, from block to block."""
        return self.block * product(tuple(shape[axis] for axis in self.order[:-1]))

    def size(self, shape: tuple[Dim, ...]) -> Dim:
        return ceil_div(shape[self.order[-1]], self.block) * self.block_stride(shape)

    def text(self) -> str:
        return f"{self.format} {_numbers(self.order)} by {self.block}"

    @staticmethod
    def made(order: Order, options: dict[str, tuple[int, ...]]) -> Blocked:
        (block,) = options.pop("by")
        if options or block < 1:
            raise ValueError
        return Blocked(order, block)

    def pack(self, array: Array) -> Array:
        transposed = array.transpose(self.order)
        *outer, count = transposed.shape
        blocks = -(-count // self.block)
        filled = np.zeros((*outer, blocks * self.block), array.dtype)
        filled[..., :count] = transposed
        return np.moveaxis(filled.reshape(*outer, blocks, self.block), -2, 0).ravel()


class Transformed(Packed):
    """The filters of a 3x3 convolution, transformed by the matrices of :mod:`cauce.ir.winograd`.

    ``winograd 2,3,1,0 tile 4,4 by 32`` of [64, 16, 3, 3] lies as [2][36][16][32]: blocks of
    outputs, points, inputs, the outputs of a block. Zeros fill up the last block. It is computed in
    float64 and rounded once.

    The matrices are imported where they are needed: a program that finds its code in the cache does
    without them, and without Python's fractions.

    Attributes:
        order: rows and columns of taps, then the axis that is summed, and that which is cut into
            blocks.
        tile: the rows and columns of outputs that a tile has.
        block: how many elements of the last axis a block has.
        flip: 1 where the taps are read backwards, as the gradient of the input does; else 0.
        stride: of the convolution, 1 or 2.
    """

    format: ClassVar[str] = "winograd"
    tile: tuple[int, int]
    block: int
    flip: int = 0
    stride: int = 1

    def block_stride(self, shape: tuple[Dim, ...]) -> Dim:
        """The distance, in elements, from block to block."""
        from .winograd import transformed

        return transformed(self.tile) * shape[self.order[2]] * self.block

    def size(self, shape: tuple[Dim, ...]) -> Dim:
        return ceil_div(shape[self.order[-1]], self.block) * self.block_stride(shape)

    def text(self) -> str:
        flip = " flip 1" if self.flip else ""
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        tile = _numbers(self.tile)
        return f"{self.format} {_numbers(self.order)} tile {tile} by {self.block}{flip}{stride}"

    @staticmethod
    def made(order: Order, options: dict[str, tuple[int, ...]]) -> Transformed:
        from .winograd import filter_matrix

        rows, columns = options.pop("tile")
        (block,), (flip,) = options.pop("by"), options.pop("flip", (0,))
        (stride,) = options.pop("stride", (1,))
        if options or block < 1 or flip not in (0, 1) or order[:2] != (2, 3):
            raise ValueError
        if stride not in (1, 2):
            raise ValueError
        for outputs in (rows, columns):
            filter_matrix(outputs, stride)  # a KeyError where there are no points
        return Transformed(order, (rows, columns), block, flip, stride)

    def pack(self, array: Array) -> Array:
        from .winograd import filter_matrix

        taps = array.transpose(self.order).astype(np.float64)
        if self.flip:
            taps = taps[::-1, ::-1]
        rows, columns = (
            np.array(filter_matrix(size, self.stride), np.float64) for size in self.tile
        )
        found = np.einsum("pr,qs,rsco->pqco", rows, columns, taps).reshape(-1, *taps.shape[2:])
        return Blocked((0, 1, 2), self.block).pack(found.astype(array.dtype))


FORMATS: dict[str, type[Packed]] = {kind.format: kind for kind in (Blocked, Transformed)}


def _strides(order: Order, extents: tuple[Dim, ...]) -> Strides:
    inner = [extents[axis] for axis in order[:0:-1]]
    found = dict(zip(reversed(order), accumulate(inner, mul, initial=1)))
    return tuple([found[axis] for axis in range(len(order))])


def _numbers(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
