"""Register tiles and the loops around them, for every sum of products.

A tile is some columns by some vectors of accumulators. At least ten independent accumulators keep
the multipliers busy; more than the registers hold would be spilled to the stack.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....ir import Dim
from ....ir.dims import product
from ....ir.record import Record
from ..target import Target
from .schedule import Columns, Sizes, even_pieces

Blocks = tuple[tuple[str, int], ...]

# Packed blocks lie one behind the other in the order of the sum, and are prefetched that many bytes
# ahead: enough of them for a third-level cache, few enough to stay L1-resident.
PREFETCH_BYTES = 4096

# How many terms are added up from zero before they go to the sum, where there are more than the
# limit, or no knowing: the rounding of a sum grows with the number of its terms.
_CHAIN, _LIMIT = 1024, 8192


class Loops(Record):
    """How one launch of a contraction runs.

    Attributes:
        around: the parallel axes that tasks count, outermost first.
        vector: the axis across the lanes: stride 1 in the result, and at best 0 or 1 elsewhere.
        tile: axes unrolled into accumulators, with how many; the first is looped over within a
            task, the others are unrolled whole.
        sum: the summed axes, outermost first.
        blocks: summed axes that a task goes along in steps of so many places (K-blocking), so that
            what it reads is still L1- or L2-resident in the next tile; each block adds to the
            result, which begins with zeros.
        within: further axes that a task goes along, inside of the blocks.
        rounds: within a group of vectors, an axis along which ``b`` is read again and again, and
            how often. Meanwhile the next group is prefetched, a part in each round.
    """

    around: tuple[str, ...]
    vector: str
    tile: Columns
    sum: tuple[str, ...]
    blocks: Blocks = ()
    within: tuple[str, ...] = ()
    rounds: tuple[str, int] | None = None

    def chain(self, sizes: Sizes, level: int) -> int | None:
        """In steps of how many places a summed axis is added up from zero; None for all of it."""
        bounds: dict[str, Dim] = {**sizes, **dict(self.blocks)}
        axis, *inner = self.sum[level:]
        inside = product(tuple(bounds[axis] for axis in inner))
        if not isinstance(inside, int):
            return 1
        whole = bounds[axis] * inside
        return None if isinstance(whole, int) and whole <= _LIMIT else max(1, _CHAIN // inside)


class Tiling(Record):
    """The register tile of a contraction and the order of the loops around it.

    The vector axis is cut into groups of ``vectors`` whole vectors; what is left of it is a launch
    of its own, in tiles of one vector.

    Attributes:
        vector: the axis across the lanes.
        vectors: how many lie side by side in a tile.
        columns: the axes of the columns of a tile with how many of each; outermost first.
        inner: the axis of the columns; before it, the axis of their rows, if they have any.
        summed: the summed axes, outermost first.
        before: the parallel axes, beside vectors and columns, outside of the groups of vectors.
        behind: those inside.
        blocks: as in :class:`Loops`.
        within: the parallel axes that are no tasks.
        strip: how many groups of vectors a task has, one after the other within each block.
    """

    vector: str
    vectors: int
    columns: Columns
    inner: tuple[str, ...]
    summed: tuple[str, ...]
    before: tuple[str, ...]
    behind: tuple[str, ...] = ()
    blocks: Blocks = ()
    within: tuple[str, ...] = ()
    strip: int = 1

    def grouped(self, sizes: Sizes) -> Loops:
        """The loops over whole groups of vectors: "u" counts groups, "t" vectors in one."""
        first, within = self.before, self.within
        if self.strip == 1:
            first = (*first, "u")
        else:
            first, within = (*first, "v"), ("u", *within)
        rounds = _rounds(sizes, self.columns[0], self.behind)
        return self._loops((*self.columns, ("t", self.vectors)), first, within, rounds)

    def rest(self, sizes: Sizes, target: Target) -> Loops:
        """The loops over what is left of the vector axis."""
        columns = columns_of([(axis, sizes[axis]) for axis in self.inner], target.registers, 1)
        return self._loops(columns, self.before, self.within, None)

    def _loops(
        self,
        tile: Columns,
        before: tuple[str, ...],
        within: tuple[str, ...],
        rounds: tuple[str, int] | None,
    ) -> Loops:
        tiled = {axis for axis, _ in tile}
        return Loops(
            tuple(axis for axis in (*before, *self.behind) if axis not in tiled),
            self.vector,
            tile,
            self.summed,
            self.blocks,
            tuple(axis for axis in within if axis not in tiled),
            rounds,
        )


def vectors_of(count: Dim, lanes: int, registers: int) -> int:
    """How many vectors side by side make a tile, of an axis of ``count`` across the lanes."""
    if not isinstance(count, int):
        return 1
    vectors = count // lanes
    if vectors % 2 and vectors % 3 == 0 and registers > 16:
        return 3
    return 2 if vectors > 1 else 1


def groups_of(count: Dim, width: int) -> tuple[int, Dim]:
    """How many whole groups of ``width`` elements an axis has, and how many elements are left."""
    return divmod(count, width) if isinstance(count, int) else (0, count)


def columns_of(axes: Sequence[tuple[str, Dim]], registers: int, vectors: int) -> Columns:
    """Columns of a tile by ``vectors``: as many as the registers hold beside the operands.

    Where the number of columns is known the tiles are as equal as they can be, else a power of two.
    Several rows make a tile together where they are short, so that what lies across the lanes is
    read less often.
    """
    *above, (axis, size) = axes
    most = most_columns(registers, vectors)
    if not isinstance(size, int):
        return ((axis, 1 << (most.bit_length() - 1)),)
    together = most // max(1, size)
    for rows, count in above:
        if isinstance(count, int) and min(count, together) > 1:
            return ((rows, even_pieces(count, together)), (axis, size))
    return ((axis, even_pieces(size, most)),)


def most_columns(registers: int, vectors: int) -> int:
    """The most columns of a tile by ``vectors``, beside the operands of a multiply-add."""
    return max(1, (registers - vectors - 2) // vectors)


def _rounds(
    sizes: Sizes, tiled: tuple[str, int], behind: tuple[str, ...]
) -> tuple[str, int] | None:
    """The innermost axis inside of the groups of vectors, and its rounds, if there are some."""
    if not behind:
        return None
    axis, size = behind[-1], sizes[behind[-1]]
    if not isinstance(size, int):
        return None
    rounds = -(-size // tiled[1]) if axis == tiled[0] else size
    return (axis, rounds) if rounds > 1 else None
