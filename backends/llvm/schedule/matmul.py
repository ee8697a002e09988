"""Matrix products x [..., m, k] times y [..., k, n]: algorithm, register tile, blocking.

The choice depends on how y lies: packed in blocks, row by row, or column by column (a weight
[out, in] of a linear layer, transposed).
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..target import Target
from .schedule import (
    MOST_PARTS,
    Columns,
    Schedule,
    Setting,
    Sizes,
    Tiled,
    even_pieces,
    known,
    tile_text,
)
from .tiles import Tiling, columns_of, groups_of, most_columns, vectors_of

# A large matrix that lies row by row: the rows of a block, and the most groups of vectors in a
# strip.
_ROWS, _STRIP = 64, 16

# One that lies column by column: vectors and most columns of a tile, the most columns of a task,
# and what is read of each in a block. Columns may lie so that all want the same places in a
# first-level cache, which has not many.
_VECTORS, _COLUMNS, _GROUP, _PIECE = 2, 10, 120, 256

# So many tasks there should be at least.
_TASKS = 8


class Tiles(Tiled):
    """Register tiles over all of k; where y is read again and again, k in ``parts`` (split-K).

    The columns of the tile are rows "m" of x, its vectors are of the columns of y.

    Attributes:
        parts: into how many k is split; their sums are added in order.
    """

    algorithm: ClassVar[str] = "tiles"
    parts: int = 1

    def mistake(self, own: Any, target: Target) -> str | None:
        if not 1 <= self.parts <= MOST_PARTS:
            return f"k is split into 1 part at least, and {MOST_PARTS} at the most"
        return super().mistake(own, target)

    def __str__(self) -> str:
        parts = f", k in {self.parts} parts" if self.parts > 1 else ""
        return f"{tile_text(self.columns, self.vectors)}{parts}"

    def tiling(self, lead: tuple[str, ...]) -> Tiling:
        """The loops, ``lead`` being the axes of the batch of matrices."""
        before = ("p", *lead) if self.parts > 1 else lead
        return Tiling("n", self.vectors, self.columns, ("m",), ("k",), before)


class Strips(Tiled):
    """A large y row by row: a task has a strip of its columns and takes some rows at a time.

    Attributes:
        rows: of y, in a block.
        strip: how many groups of vectors a task has.
    """

    algorithm: ClassVar[str] = "strips"
    rows: int
    strip: int

    def mistake(self, own: Any, target: Target) -> str | None:
        if self.rows < 1:
            return "a block has 1 row at least"
        if (self.strip, self.vectors) != (own.strip, own.vectors):
            return f"its strips have {own.strip} groups of {own.vectors} vectors, without a rest"
        return super().mistake(own, target)

    def __str__(self) -> str:
        tile = tile_text(self.columns, self.vectors)
        return f"{tile}, blocks of {self.rows} rows, strips of {self.strip} groups"

    def tiling(self, lead: tuple[str, ...]) -> Tiling:
        """The loops, ``lead`` being the axes of the batch of matrices."""
        blocks = (("k", self.rows),)
        return Tiling(
            "n", self.vectors, self.columns, ("m",), ("k",), lead, blocks=blocks, strip=self.strip
        )


class Transposed(Schedule):
    """A large y column by column: the vectors run over the rows of x, which is transposed.

    Attributes:
        vectors: of rows of x, in the tile.
        columns: of y, in the tile.
        group: of columns, in a task.
        piece: how many elements of each column a block has.
    """

    algorithm: ClassVar[str] = "transposed"
    vectors: int
    columns: int
    group: int
    piece: int

    def mistake(self, own: Any, target: Target) -> str | None:
        fine = min(self.vectors, self.columns, self.group, self.piece) >= 1
        if not fine or (self.columns + 1) * self.vectors + 1 > target.registers:
            return f"its tile does not fit the {target.registers} registers of {target.name}"
        return super().mistake(own, target)

    def __str__(self) -> str:
        tile = tile_text((("n", self.columns),), self.vectors)
        return f"transposed, {tile}, blocks of {self.piece}, tasks of {self.group} columns"

    def columns_of(self, size: int) -> int:
        """The columns of a tile where a task has ``size`` of them."""
        return even_pieces(size, self.columns)


def matmul(
    sizes: Sizes,
    lead: int,
    by_rows: bool,
    by_columns: bool,
    item: int,
    setting: Setting,
) -> Schedule:
    """The schedule of a product.

    Args:
        sizes: of m, n and k.
        lead: how many axes lie before those of the matrices.
        by_rows, by_columns: whether y lies row by row, or column by column.
        item: bytes of an element.
        setting: what else it depends on.
    """
    target = setting.target
    m, n, k = (sizes[axis] for axis in "mnk")
    lanes = target.lanes(item)
    vectors = vectors_of(n, lanes, target.registers)
    columns = columns_of([("m", m)], target.registers, vectors)
    # Bytes of a matrix that is not L2-resident while each tile goes over all of its rows.
    fixed = isinstance(k, int) and isinstance(n, int)
    large = fixed and not setting.packed and item * known([k, n]) > target.caches.second
    if large and by_rows:
        assert isinstance(k, int)
        groups, _ = groups_of(n, vectors * lanes)
        most = max(1, min(_STRIP, groups // _TASKS))
        strip = max(size for size in range(1, most + 1) if groups % size == 0)
        return Strips(columns, vectors, max(_ROWS, -(-k // MOST_PARTS)), strip)
    if large and by_columns and not lead:
        assert isinstance(n, int) and isinstance(k, int)
        most = min(most_columns(target.registers, _VECTORS), _COLUMNS)
        group = max(1, min(_GROUP, n // _TASKS))
        return Transposed(_VECTORS, most, group, max(_PIECE, -(-k // MOST_PARTS)))
    return Tiles(columns, vectors, _parts(sizes, columns, vectors * lanes, item, target))


def _parts(sizes: Sizes, columns: Columns, width: int, item: int, target: Target) -> int:
    """Into how many parts k is split: each has rows of the matrix that are L2-resident.

    One, where the matrix is read once, or all that a tile reads of it is L2-resident.
    """
    m, k = sizes["m"], sizes["k"]
    if not isinstance(k, int):
        return 1
    ((_, rows),) = columns
    nbytes = item * k * width
    resident = target.caches.second
    once = isinstance(m, int) and m <= rows
    return 1 if once or nbytes <= resident else -(-nbytes // (resident // 2))
