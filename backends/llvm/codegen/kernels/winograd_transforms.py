"""What Winograd's kernels read, transformed: tiles of images, and filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .....ir import Dim, DType, TensorType
from .....ir.dims import divide_exactly
from .....ir.layout import Transformed
from .....ir.winograd import TAPS, transformed
from ...lowering.access import Access
from ..builder import Index, V, i64, vector
from ..code import STORED, NodeCode, Stage
from ..iteration import Placed, unravel
from ..math.elements import scalar_constant
from ..math.winograd import TRANSFORMS, Transform, both_axes
from .elementwise import load, load_apart, store
from .jobs import vector_runs


class TileTransform:
    """Writes the transform of tiles of an image, whose channels lie side by side.

    Args:
        stage: the launch; make it outside of loops.
        image: from the first place of the first tile on.
        channels: of the image.
        space: how many images, rows and columns of tiles there are.
        tile: the rows and columns of outputs of a tile.
        transform: what becomes of each column of a tile, and then of each row.
        window: the rows and columns that a tile reads.
        point: the distance, in elements, from a point of the transform to the next.
        ahead: whether to fetch the tiles of the next row meanwhile: what comes from far is read
            from more places than a processor follows.
        stride: how many rows and columns lie between those of two outputs.
    """

    def __init__(
        self,
        stage: Stage,
        image: Access,
        channels: int,
        space: Sequence[Dim],
        tile: tuple[int, int],
        transform: Transform,
        window: tuple[int, int],
        point: Index,
        ahead: bool,
        stride: int = 1,
    ) -> None:
        self.stage, self.channels, self.tile, self.window = stage, channels, tile, window
        self.steps = tile[0] * stride, tile[1] * stride  # from one tile to the next
        self.transform, self.point, self.ahead = transform, point, ahead
        self.image = Placed.of(stage, image, (0, 2, 3, 1))
        self.extents = [stage.dim(size) for size in space]
        self.lanes = stage.target.lanes(image.dtype.itemsize)
        self.ends: list[V | None] = [None, None]
        self.zeros: V | None = None

    def stop_at(self, ends: Sequence[Dim], zeros: V) -> None:
        """Read ``zeros``, a vector of them, in the place of rows and columns from ``ends`` on."""
        self.zeros = zeros
        self.ends = [
            None if divide_exactly(end, step) is not None else self.stage.dim(end)
            for end, step in zip(ends, self.steps)
        ]

    def write(self, tile: V, target: V) -> None:
        """Transform all channels of a tile; those of the first point go to ``target``."""
        f, stage, dtype = self.stage.f, self.stage, self.image.dtype
        image, *place = unravel(stage, tile, self.extents)
        corner = [f.mul(index, step) for index, step in zip(place, self.steps)]
        start = self.image.at(image, *corner)
        inside = [
            [None if end is None else f.compare("icmp slt", f.add(first, i), end) for i in range(n)]
            for first, end, n in zip(corner, self.ends, self.window)
        ]
        for low, high, width in runs(self.channels, self.lanes):
            with f.loop(high, low, width) as channel:
                here = f.anchored(f.at(start, channel.index, dtype.itemsize))
                own = replace(self.image, pointer=here)
                pixels = [
                    [
                        load(stage, dtype, self._or_zeros(own.at(0, i, j), down, across), width)
                        for j, across in enumerate(inside[1])
                    ]
                    for i, down in enumerate(inside[0])
                ]
                if self.ahead:
                    self._fetch(own)
                to = f.anchored(f.at(target, channel.index, dtype.itemsize))
                for number, value in enumerate(both_axes(f, self.transform, self.tile, pixels)):
                    at = f.at(to, f.mul(self.point, number), dtype.itemsize)
                    store(stage, dtype, value, at, width)

    def _fetch(self, pixels: Placed) -> None:
        """Bring nearer what the tile below has that this one has not."""
        rows, columns = self.steps
        for i in range(rows):
            for j in range(columns):
                self.stage.f.prefetch(pixels.at(0, self.window[0] + i, j), 0, level=2)

    def _or_zeros(self, pointer: V, *conditions: V | None) -> V:
        """A pointer, or that to zeros where a condition does not hold."""
        for condition in conditions:
            if condition is not None:
                assert self.zeros is not None
                pointer = self.stage.f.select(condition, pointer, self.zeros)
        return pointer


def runs(count: int, lanes: int) -> Iterator[tuple[int, int, int]]:
    """(first, end, width): whole vectors along an axis, then ever narrower ones."""
    whole = count // lanes * lanes
    if whole:
        yield 0, whole, lanes
    for first, width in vector_runs(count - whole, lanes):
        yield whole + first, whole + first + width, width


def write_filters(
    code: NodeCode, type_: TensorType, layout: Transformed, source: Access, slot: int
) -> None:
    """Write the launch that transforms the filters of a convolution, in float64, rounded once: for
    each group of filters and each channel what all points have of it."""
    channels, filters = (type_.shape[axis] for axis in layout.order[2:])
    assert isinstance(channels, int) and isinstance(filters, int)
    block, lanes = layout.block, code.target.lanes(DType.F64.itemsize)
    dtype, groups = type_.dtype, -(-filters // block)
    _, _, transform = TRANSFORMS[layout.stride]
    with code.stage(groups * channels) as stage:
        f, target = stage.f, stage.pointer(slot)
        *taps, summed, across = layout.order
        read = Placed.of(stage, source, (summed, across, *taps))
        with stage.tasks() as task:
            group, channel = unravel(stage, task, [i64(groups), i64(channels)])
            first = f.mul(group, block)
            points = transformed(layout.tile)
            place = f.add(f.mul(group, points * channels * block), f.mul(channel, block))
            to = f.at(target, place, dtype.itemsize)
            end = f.intrinsic("smin", f.op("sub", i64(filters), first), i64(block))
            whole = f.op("and", end, i64(-lanes))

            def write(index: V, values: Sequence[V], width: int) -> None:
                own = f.anchored(f.at(to, index, dtype.itemsize))
                for number, value in enumerate(values):
                    at = f.at(own, number * channels * block, dtype.itemsize)
                    store(stage, dtype, value, at, width)

            spans = [(i64(0), whole, lanes), (whole, end, 1)]
            for low, high, width in spans[: 1 if filters % lanes == 0 else 2]:
                with f.loop(high, low, width) as run:
                    own = read.within(channel, f.add(first, run.index))
                    own = replace(own, pointer=f.anchored(own.pointer))
                    found = _taps(stage, own, read.steps[1], width, layout.flip)
                    values = both_axes(f, transform, layout.tile, found)
                    write(run.index, [_as(stage, dtype, value, width) for value in values], width)
            with f.loop(block, end) as run:
                write(run.index, [scalar_constant(0, dtype)] * points, 1)


def _taps(stage: Stage, filters: Placed, apart: V, width: int, flip: int) -> list[list[V]]:
    """The taps of ``width`` filters in float64."""
    places = range(TAPS)[:: -1 if flip else 1]
    return [
        [
            _as(
                stage,
                DType.F64,
                load_apart(stage, filters.dtype, filters.at(i, j), width, apart),
                width,
            )
            for j in places
        ]
        for i in places
    ]


def _as(stage: Stage, dtype: DType, value: V, width: int) -> V:
    """A number in another floating-point type; as it is where that is its own."""
    kind = vector(STORED[dtype], width)
    how = "fpext" if dtype is DType.F64 else "fptrunc"
    return value if value.type == kind else stage.f.cast(how, value, kind)
