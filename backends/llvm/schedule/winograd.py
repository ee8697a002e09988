"""Winograd's algorithm for 3x3 convolutions: which tile of outputs, in what blocks.

The cost of each way is predicted in cycles of one thread, and the cheapest is taken:

- The loops of the products reach some 96 % of the multiply-adds that a core can begin, where a
  register tile has accumulators enough to hide how long one takes.
- The transforms of a tile take as many such places as they have operations, loads and stores,
  times a factor for what the processor does not overlap.
- The transformed filters come from a further cache, or from memory, where the weights of the whole
  graph do not stay nearer from call to call: then no kernel is faster than its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from ....ir import Dim, TensorType
from ....ir.dims import substitute
from ....ir.layout import Halo, Order, Packed, Transformed
from ....ir.winograd import TAPS, products, transformed, window
from ..target import Target
from .cost import EFFICIENCY, cycles, weights_are_l2_resident
from .schedule import MOST_PARTS, Choice, Setting, Tiled, even_pieces
from .tiles import most_columns, vectors_of

# The tiles of outputs that each precision admits, by the stride. With stride 2 all of them err less
# than 4 x 4 does with stride 1.
_TILES: dict[int, dict[str, tuple[tuple[int, int], ...]]] = {
    1: {
        "strict": (),
        "default": ((2, 2), (4, 2), (4, 4)),
        "fast": ((2, 2), (4, 2), (4, 4), (5, 5)),
    },
    2: {
        "strict": (),
        "default": ((2, 2), (3, 3), (4, 2), (4, 4)),
        "fast": ((2, 2), (3, 3), (4, 2), (4, 4)),
    },
}

# Operations of the transforms along one axis: of the input and of the output.
_OPERATIONS = {
    1: {2: (4, 4), 4: (12, 11), 5: (20, 18)},
    2: {2: (2, 4), 3: (4, 8), 4: (9, 12)},
}

# What a transform costs beside its operations, loads and stores.
_TRANSFORM = 1.75

# How much of the products goes on while filters come: a register tile of few tiles has little to do
# with each.
_OVERLAP = 0.5

# A size that is not known counts as this, so do images where the filters are transformed anew in
# each call, as in training.
_EXTENT, _IMAGES = 56, 64

# A batch runs in micro-batches, of no more images than this.
_MICRO_BATCH = 8

# The most tiles of a block whose filters are L2-resident; an image of few tiles is no two blocks.
_BLOCK, _FEW = 28, 16

# How many bytes ahead of their use filters are fetched that are not L2-resident.
_AHEAD = 16384

# Gradients of weights: the tile, the most of them in a block that is transformed by one thread, or
# that are added up from zero where all are transformed first; into how many parts they are split.
_WEIGHT_TILE, _WEIGHT_BLOCK, _CHAIN, _PARTS = (4, 4), 128, 512, 8

# From so many channels on a loop over them is long enough for fetching what comes next in it.
_MANY_CHANNELS = 128

# The most channels that are added up one after the other.
_CHANNELS = 8192

# What lies outside of what, and in words.
ORDERS = {
    "tiles": "all filters for each block of {} tiles",
    "filters": "blocks of {} tiles for each group of filters",
}


class _InTiles(Tiled):
    """What both of Winograd's algorithms have.

    Attributes:
        tile: the rows and columns of outputs of a tile.
        tiles: of a block.
    """

    algorithm: ClassVar[str] = "winograd"
    tile: tuple[int, int]
    tiles: int

    @property
    def _stride(self) -> int:
        return 1

    def mistake(self, own: Any, target: Target) -> str | None:
        if self.tile not in _TILES[self._stride]["fast"]:
            return f"there are no points for tiles of {self.tile[0]} x {self.tile[1]}"
        return super().mistake(own, target)

    @property
    def label(self) -> str:
        return f"{self.algorithm} {self.tile[0]} x {self.tile[1]}"

    def reads(self, halo: Halo, image: TensorType) -> Halo:
        """What the last tiles read lies in the halo too."""
        pairs = halo or ((0, 0), (0, 0))
        return tuple(
            (before, _behind(size, before, after, outputs, self._stride))
            for size, (before, after), outputs in zip(image.shape[2:], pairs, self.tile)
        )


class Winograd(_InTiles):
    """Products at the points of a transform, for tiles of outputs.

    The columns of the register tile are tiles of outputs, "t"; its vectors are of filters.

    Attributes:
        order: what is outside, a key of ``ORDERS``. With "tiles" each thread transforms the tiles
            of its block and goes through all filters; with "filters" all tiles are transformed
            first, and each thread has filters of its own.
        ahead: how many bytes ahead of their use filters are fetched; 0 where they are L2-resident,
            or the processor does that itself.
        far: whether the image of a call comes from beyond the second-level cache.
        tiles_ahead: whether the next line of each tile in a register tile is fetched while this one
            is multiplied: all of them begin at the same time.
        stride: of the convolution.
    """

    order: str
    ahead: int = 0
    far: bool = False
    tiles_ahead: bool = False
    stride: int = 1

    @property
    def _stride(self) -> int:
        return self.stride

    def mistake(self, own: Any, target: Target) -> str | None:
        if self.stride != own.stride:
            return f"the stride of the convolution is {own.stride}, not {self.stride}"
        if self.order not in ORDERS:
            return f"there is no order {self.order!r}; there are {', '.join(ORDERS)}"
        if self.tiles < 1 or self.ahead < 0:
            return "a block has a tile at least, and nothing is fetched behind its use"
        mistake = super().mistake(own, target)
        ((_, columns),) = self.columns
        if mistake is None and columns > self.tiles:
            return f"it has {columns} tiles in a register tile, and {self.tiles} in a block"
        return mistake

    def __str__(self) -> str:
        ((_, columns),) = self.columns
        blocks = ORDERS[self.order].format(self.tiles)
        return f"{self.label}, register tile {columns} x {self.vectors}, {blocks}"

    def pack(self, order: Order, lanes: int, flip: bool) -> Packed:
        return Transformed(order, self.tile, self.block(lanes), int(flip), self.stride)


class WinogradWeight(_InTiles):
    """The gradient of the weight: sums over all tiles, for each point of the transforms.

    The columns of the register tile are input channels, "c"; its vectors are of filters.

    A block of tiles is added up in registers.

    Attributes:
        parts: into how many the tiles are split: each thread transforms and multiplies its part
            block by block, then the sums of the parts are added in order. Where 0, all tiles are
            transformed first, and each thread has points and filters of its own.
        far: as for :class:`Winograd`.
    """

    parts: int
    far: bool = False

    def mistake(self, own: Any, target: Target) -> str | None:
        if self.tiles < 1 or not 0 <= self.parts <= MOST_PARTS:
            return f"a block has a tile at least, and there are 0 to {MOST_PARTS} parts"
        return super().mistake(own, target)

    def __str__(self) -> str:
        ((_, columns),) = self.columns
        split = f"in {self.parts} parts" if self.parts else "all transformed first"
        tile = f"register tile {columns} x {self.vectors}"
        return f"{self.label}, {tile}, blocks of {self.tiles} tiles, {split}"


def _behind(size: Dim, before: int, after: int, outputs: int, stride: int) -> int:
    """The zeros behind an axis of an image, with ``after`` of which it gives whole tiles."""
    if not isinstance(size, int):
        return after + (outputs - 1) * stride
    count = (size + before + after - TAPS) // stride + 1
    whole = -(-count // outputs) * outputs
    return max(after, (whole - 1) * stride + TAPS - before - size)


class Problem(NamedTuple):
    """A convolution with 3x3 taps.

    Attributes:
        images, rows, columns: of the result; a guess where a size is not known.
        channels: of the image.
        filters: of the result.
        item: bytes of an element.
        stride: 1 or 2.
    """

    images: int
    rows: int
    columns: int
    channels: int
    filters: int
    item: int
    stride: int = 1

    @staticmethod
    def of(result: TensorType, channels: int, stride: int, setting: Setting) -> Problem:
        """The convolution with this result [N, K, H, W]."""
        images, filters, rows, columns = result.shape
        assert isinstance(filters, int)
        images = substitute(images, dict(setting.sizes))
        if not isinstance(images, int):
            images = 1 if setting.fixed else _IMAGES
        return Problem(
            min(images, _MICRO_BATCH) if setting.fixed else images,
            rows if isinstance(rows, int) else _EXTENT,
            columns if isinstance(columns, int) else _EXTENT,
            channels,
            filters,
            result.dtype.itemsize,
            stride,
        )

    def suits(self, setting: Setting) -> bool:
        """Whether there is anything to do, and vectors of channels to do it with."""
        lanes = setting.target.lanes(self.item)
        least, most = min(self.filters, self.channels), max(self.filters, self.channels)
        some = min(self.images, self.rows, self.columns) > 0
        return some and lanes <= least and most <= _CHANNELS

    def is_far(self, setting: Setting) -> bool:
        """Whether the image of a call does not stay in a second-level cache."""
        pixels = self.rows * self.columns * self.stride**2
        nbytes = self.images * pixels * self.channels * self.item
        return nbytes > setting.target.caches.second

    def direct(self, setting: Setting) -> int:
        """The cycles that the direct algorithm takes."""
        vectors = -(-self.filters // setting.target.lanes(self.item))
        taps = TAPS * TAPS * self.channels
        work = self.images * self.rows * self.columns * taps * vectors / EFFICIENCY
        return cycles(work, taps * self.filters * self.item, setting)


def choices(what: Problem, setting: Setting) -> Iterator[Choice]:
    """Schedules for each tile that the precision admits, with the cycles that each takes."""
    for tile in _TILES[what.stride][setting.precision] if what.suits(setting) else ():
        yield _decided(what, tile, setting)


def _decided(what: Problem, tile: tuple[int, int], setting: Setting) -> Choice:
    target = setting.target
    lanes = target.lanes(what.item)
    each = -(-what.rows // tile[0]) * -(-what.columns // tile[1])
    depth = products(tile, what.stride) * what.channels
    filter_ = transformed(tile) * what.channels * what.item
    vectors = vectors_of(what.filters, lanes, target.registers)
    groups = -(-what.filters // (vectors * lanes))
    pixel = depth * what.item
    weights = filter_ * groups * vectors * lanes
    order, block = _blocks(each, what.images, pixel, groups, weights, target)
    across = even_pieces(block, most_columns(target.registers, vectors))
    nbytes = filter_ * what.filters
    ahead = 0 if weights_are_l2_resident(setting) or target.fetches_far else _AHEAD
    many = what.channels >= _MANY_CHANNELS and not target.fetches_far
    far, stride = what.is_far(setting), what.stride
    chosen = Winograd((("t", across),), vectors, tile, block, order, ahead, far, many, stride)
    filters = -(-what.filters // lanes)
    multiplied = -(-block // across) * across / block * depth * filters / EFFICIENCY
    multiplied /= min(1, across * vectors / 10)
    into, out_of = (_transform(tile, which, what.stride) for which in (0, 1))
    around = -(-what.channels // lanes) * into + filters * out_of
    work = what.images * each * (multiplied + around)
    # With stride 2 the number of the middle tap is used at several points, so there is more to do.
    alone = (1 - _OVERLAP) * transformed(tile) / products(tile, what.stride)
    return Choice(chosen, cycles(work, nbytes, setting, 1 - alone))


def _blocks(
    each: int, images: int, pixel: int, groups: int, weights: int, target: Target
) -> tuple[str, int]:
    """In which order the loops bring the fewest bytes from beyond the second-level cache, and how
    many tiles a block has.

    Args:
        each: the tiles of an image.
        images: of a call.
        pixel: bytes of a transformed tile of the input.
        groups: of filters.
        weights: bytes of the transformed filters.
        target: the processor.
    """
    resident = target.caches.second // 2
    count = each * images
    # An even number of blocks, so that two threads share even a single image.
    most = min(_BLOCK if weights <= resident else count, max(1, resident // pixel))
    blocks = 2 * -(-count // (2 * most))
    by_tiles = blocks * weights if weights > resident else 0
    by_filters = weights + (groups * count * pixel if count * pixel > resident else 0)
    if by_tiles <= by_filters and count >= _FEW:
        return "tiles", even_pieces(count, -(-count // blocks))
    # Whole images, and as many in each block: one of few tiles would leave a register tile empty.
    return "filters", each * even_pieces(images, max(1, _BLOCK // each))


def weight_choices(what: Problem, setting: Setting) -> Iterator[Choice]:
    """Schedules of the gradient of the weight of a convolution."""
    target = setting.target
    lanes = target.lanes(what.item)
    tile = _WEIGHT_TILE
    if tile not in _TILES[1][setting.precision] or not what.suits(setting):
        return
    vectors = vectors_of(what.filters, lanes, target.registers)
    most = most_columns(target.registers, vectors)
    even = max(size for size in range(1, most + 1) if what.channels % size == 0)
    across = even if 2 * even >= most else even_pieces(what.channels, most)
    points, filters = products(tile), -(-what.filters // lanes)
    sums = points * what.channels * filters * lanes * what.item
    each = points * (what.channels + what.filters) * what.item  # bytes of a transformed tile
    resident = target.caches.second
    count = what.images * -(-what.rows // tile[0]) * -(-what.columns // tile[1])
    work = points * what.channels * filters / EFFICIENCY / min(1, across * vectors / 10)
    work += -(-what.channels // lanes) * _transform(tile, 0)
    work += filters * _transform(tile, 1)
    end = what.channels * filters * points * _TRANSFORM
    if sums <= resident // 2:
        block = min(_WEIGHT_BLOCK, max(_FEW, resident // each))
        parts, moved = _PARTS, 2 * sums * -(-count // block) // 4
    else:
        block, parts, moved = _CHAIN, 0, 2 * each * count
    far = what.is_far(setting)
    chosen = WinogradWeight((("c", across),), vectors, tile, block, parts, far)
    total = count * work + end * max(1, parts)
    reading = round(moved / (2 * target.memory))
    yield Choice(chosen, round(total / target.multiply_adds) + reading)


def _transform(tile: tuple[int, int], which: int, stride: int = 1) -> float:
    """What transforming a tile costs, for each vector of channels: input (0) or output (1)."""
    m, n = tile
    high, wide = window(tile, stride)
    lines = high if which == 0 else m
    operations = wide * _OPERATIONS[stride][m][which] + lines * _OPERATIONS[stride][n][which]
    moved = high * wide + (high * wide if which == 0 else m * n)
    return _TRANSFORM * (operations + moved)
