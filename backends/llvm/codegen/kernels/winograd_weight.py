"""The gradient of the weight of a 3x3 convolution by Winograd's algorithm, as a schedule says.

The transpose of what the forward kernel does: tiles of the input are transformed as there (V), the
gradients of the outputs are spread over the points (D), and at each point the products of both are
summed over all tiles (S); what is summed is transformed back once, at the end.

    V[point][tile][input channel]  D[point][tile][filter]  S[part][point][input channel][filter]

All sums run in an order that the sizes alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .....ir import Dim
from .....ir.dims import ceil_div, product
from .....ir.winograd import TAPS, products
from ...lowering.access import Access, Shape
from ...schedule.winograd import WinogradWeight
from ..builder import Index, V, i64
from ..code import NodeCode, Stage
from ..iteration import Placed, unravel
from ..math.elements import scalar_constant
from ..math.winograd import both_axes, of_input, of_slope, of_sums
from .copies import write_fill
from .elementwise import load, store, store_strided
from .tiles import total_of
from .winograd_transforms import TileTransform, runs


@dataclass(frozen=True)
class WeightTiles:
    """What to compute: the gradient of the weight of a convolution of stride 1 with 3x3 taps.

    Attributes:
        source: the image, from the first place on that the first window reads.
        slope: the gradient of the result.
        shape: of that, [N, K, H, W].
        channels: of the image.
        result: the gradient of the weight, [K, C, 3, 3].
    """

    source: Access
    slope: Access
    shape: Shape
    channels: int
    result: Access


class _Sizes:
    """What all launches share."""

    def __init__(self, code: NodeCode, what: WeightTiles, schedule: WinogradWeight) -> None:
        self.what, self.schedule = what, schedule
        self.dtype = what.result.dtype
        self.item = self.dtype.itemsize
        self.lanes = code.target.lanes(self.item)
        images, filters, rows, columns = what.shape
        assert isinstance(filters, int)
        m, n = schedule.tile
        self.space = (images, ceil_div(rows, m), ceil_div(columns, n))
        self.count = product(self.space)
        self.filters = filters
        self.padded = -(-filters // self.lanes) * self.lanes
        self.points = products(schedule.tile)
        self.line = code.target.caches.line // self.item
        # (first, end, size) of groups of vectors of filters.
        self.groups = pieces(self.padded // self.lanes, schedule.vectors)

    def transforms(
        self, stage: Stage, points: tuple[Index, Index], zeros: V
    ) -> tuple[TileTransform, TileTransform]:
        """What transforms tiles of the input, and of the gradient, with these distances between
        points."""
        what, tile, far = self.what, self.schedule.tile, self.schedule.far
        m, n = tile
        window = (m + TAPS - 1, n + TAPS - 1)
        into = TileTransform(
            stage, what.source, what.channels, self.space, tile, of_input, window, points[0], far
        )
        slope = TileTransform(
            stage, what.slope, self.filters, self.space, tile, of_slope, tile, points[1], far
        )
        slope.stop_at(what.shape[2:], zeros)
        return into, slope


def write_winograd_weight(code: NodeCode, what: WeightTiles, schedule: WinogradWeight) -> None:
    """Write the launches."""
    sizes = _Sizes(code, what, schedule)
    parts = max(1, schedule.parts)
    each = sizes.points * what.channels * sizes.padded
    slot = code.scratch(parts * each * sizes.item)
    write_fill(code, (parts * each,), Access(slot, sizes.dtype, (1,)), 0)
    if schedule.parts:
        _by_parts(code, sizes, slot)
    else:
        _by_points(code, sizes, slot)
    _end(code, sizes, slot)


def _by_parts(code: NodeCode, sizes: _Sizes, slot: int) -> None:
    """One launch: a task is a part of the tiles, block by block."""
    tiles, item = sizes.schedule.tiles, sizes.item
    widths = (sizes.what.channels, sizes.padded)
    points = [tiles * width + sizes.line for width in widths]
    scratches = [code.thread_scratch(sizes.points * point * item) for point in points]
    empty = code.thread_scratch(sizes.lanes * item)
    parts = sizes.schedule.parts
    with code.stage(parts) as stage:
        f = stage.f
        v, d, zeros = (stage.own_pointer(scratch) for scratch in (*scratches, empty))
        transforms = sizes.transforms(stage, (points[0], points[1]), zeros)
        sums = stage.pointer(slot)
        total, chunk = stage.dim(sizes.count), stage.dim(ceil_div(sizes.count, parts))
        with stage.tasks() as part:
            store(stage, sizes.dtype, _zero(sizes), zeros, sizes.lanes)
            begin = f.mul(part, chunk)
            end = f.intrinsic("smin", f.add(begin, chunk), total)
            own = f.at(sums, f.mul(part, sizes.points * widths[0] * widths[1]), item)
            with f.loop(end, begin, tiles) as block:
                left = f.op("sub", end, block.index)
                count = f.intrinsic("smin", left, i64(tiles))
                with f.loop(count) as tile:
                    number = f.add(block.index, tile.index)
                    for transform, to, width in zip(transforms, (v, d), widths):
                        transform.write(number, f.at(to, f.mul(tile.index, width), item))
                with f.loop(sizes.points) as point:
                    starts = [
                        f.at(start, f.mul(point.index, apart), item)
                        for start, apart in zip((v, d), points)
                    ]
                    to = f.at(own, f.mul(point.index, widths[0] * widths[1]), item)
                    for first, last, vectors in sizes.groups:
                        with f.loop(last, first, vectors) as group:
                            place = f.mul(group.index, sizes.lanes)
                            _multiply(
                                stage,
                                sizes,
                                starts[0],
                                f.at(starts[1], place, item),
                                f.at(to, place, item),
                                count,
                                vectors,
                            )


def _by_points(code: NodeCode, sizes: _Sizes, slot: int) -> None:
    """A launch that transforms all tiles, then one in which a task is a point and a group of
    filters."""
    item = sizes.item
    widths = (sizes.what.channels, sizes.padded)
    points: list[Dim] = [sizes.count * width + sizes.line for width in widths]
    slots = [code.scratch(sizes.points * point * item) for point in points]
    empty = code.thread_scratch(sizes.lanes * item)
    with code.stage(sizes.count) as stage:
        f, zeros = stage.f, stage.own_pointer(empty)
        apart = [stage.dim(point) for point in points]
        transforms = sizes.transforms(stage, (apart[0], apart[1]), zeros)
        starts = [stage.pointer(own) for own in slots]
        with stage.tasks() as tile:
            store(stage, sizes.dtype, _zero(sizes), zeros, sizes.lanes)
            for transform, to, width in zip(transforms, starts, widths):
                transform.write(tile, f.at(to, f.mul(tile, width), item))
    for first, last, vectors in sizes.groups:
        groups = (last - first) // vectors
        with code.stage(sizes.points * groups) as stage:
            f, count = stage.f, stage.dim(sizes.count)
            v, d = (stage.pointer(own) for own in slots)
            apart = [stage.dim(point) for point in points]
            sums = stage.pointer(slot)
            with stage.tasks() as task:
                point, group = unravel(stage, task, [i64(sizes.points), i64(groups)])
                place = f.mul(f.add(f.mul(group, vectors), first), sizes.lanes)
                to = f.at(sums, f.add(f.mul(point, widths[0] * widths[1]), place), item)
                here = [f.at(own, f.mul(point, step), item) for own, step in zip((v, d), apart)]
                with f.loop(count, step=sizes.schedule.tiles) as block:
                    left = f.op("sub", count, block.index)
                    some = f.intrinsic("smin", left, i64(sizes.schedule.tiles))
                    _multiply(
                        stage,
                        sizes,
                        f.at(here[0], f.mul(block.index, widths[0]), item),
                        f.at(here[1], f.add(f.mul(block.index, widths[1]), place), item),
                        to,
                        some,
                        vectors,
                    )


def _multiply(stage: Stage, sizes: _Sizes, v: V, d: V, sums: V, count: V, vectors: int) -> None:
    """Add to the sums of a point, for some vectors of filters, those over ``count`` tiles."""
    f, item, lanes, dtype = stage.f, sizes.item, sizes.lanes, sizes.dtype
    channels, padded = sizes.what.channels, sizes.padded
    ((_, most),) = sizes.schedule.columns
    for first, last, columns in pieces(channels, most):
        with f.loop(last, first, columns) as channel:
            zeros = [_zero(sizes)] * (columns * vectors)
            row = f.at(v, channel.index, item)
            with f.loop(count, carry=zeros) as tile:
                at = f.at(d, f.mul(tile.index, padded), item)
                own = [
                    load(stage, dtype, f.at(at, vector * lanes, item), lanes)
                    for vector in range(vectors)
                ]
                pixel, found = f.at(row, f.mul(tile.index, channels), item), []
                for c in range(columns):
                    many = f.broadcast(load(stage, dtype, f.at(pixel, c, item), 1), lanes)
                    before = tile.carried[c * vectors : (c + 1) * vectors]
                    found += [f.fma(many, *pair) for pair in zip(own, before)]
                tile.next(*found)
            to = f.at(sums, f.mul(channel.index, padded), item)
            for number, total in enumerate(tile.results):
                c, vector = divmod(number, vectors)
                at = f.at(to, c * padded + vector * lanes, item)
                total = f.op("fadd", load(stage, dtype, at, lanes), total)
                store(stage, dtype, total, at, lanes)


def pieces(count: int, most: int) -> Sequence[tuple[int, int, int]]:
    """(first, end, size): whole pieces of ``most``, then what is left."""
    whole = count // most * most
    pieces = [(0, whole, most), (whole, count, count - whole)]
    return [piece for piece in pieces if piece[0] < piece[1]]


def _end(code: NodeCode, sizes: _Sizes, slot: int) -> None:
    """The launch that adds up the parts and transforms the sums: a task is a channel and a vector
    of filters, or one of those that fill none."""
    what, dtype, item = sizes.what, sizes.dtype, sizes.item
    parts = max(1, sizes.schedule.parts)
    point = what.channels * sizes.padded
    m, n = sizes.schedule.tile
    across = n + TAPS - 1
    for first, last, width in runs(sizes.filters, sizes.lanes):
        count = (last - first) // width
        with code.stage(count * what.channels) as stage:
            f, sums, result = stage.f, stage.pointer(slot), Placed.of(stage, what.result)
            with stage.tasks() as task:
                block, channel = unravel(stage, task, [i64(count), i64(what.channels)])
                filter_ = f.add(f.mul(block, width), first)
                at = f.at(sums, f.add(f.mul(channel, sizes.padded), filter_), item)
                found = [
                    total_of(
                        stage,
                        [
                            load(
                                stage,
                                dtype,
                                f.at(at, (part * sizes.points + number) * point, item),
                                width,
                            )
                            for part in range(parts)
                        ],
                    )
                    for number in range(sizes.points)
                ]
                lines = [found[start : start + across] for start in range(0, len(found), across)]
                own = result.within(filter_, channel)
                for r, row in enumerate(both_axes(f, of_sums, (m, n), lines)):
                    for s, value in enumerate(row):
                        store_strided(stage, dtype, value, own.at(r, s), width, result.steps[0])


def _zero(sizes: _Sizes) -> V:
    return scalar_constant(0, sizes.dtype, sizes.lanes)
