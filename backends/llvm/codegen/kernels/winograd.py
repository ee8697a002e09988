"""Convolutions with 3x3 taps by Winograd's algorithm, as a schedule says.

Tiles of outputs, in the order in which they lie in the image, are cut into blocks. The tiles of the
input that belong to a block are transformed (vectors run over input channels); then, for each point
of the transform, a small matrix product multiplies them with the transformed filters (vectors run
over output channels); and what comes out is transformed back, through the epilogue, into the
result. Between the three steps lie two arrays of scratch, which stay in a second-level cache:

    V[point][tile][input channel]       M[point][tile][filter of a group]

Each output is the same sequence of operations in whatever block its tile lies, so its bits depend
neither on threads nor on the other images of a batch. No tile reads beyond the halo of its image,
for the schedule asks for one that holds the last tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .....ir.dims import ceil_div, divide_exactly, product
from .....ir.winograd import TAPS, products, transformed, window
from ...lowering.access import Access, Shape
from ...schedule.tiles import groups_of
from ...schedule.winograd import Winograd
from ..builder import Function, Index, V, i64, vector
from ..code import STORED, Finish, NodeCode, Stage
from ..iteration import Placed, unravel
from ..math.elements import scalar_constant
from ..math.winograd import TRANSFORMS
from .elementwise import load, load_strided, store
from .winograd_transforms import Grid, TileTransform, function_of, runs


@dataclass(frozen=True)
class TiledConvolution:
    """What to compute: a convolution with 3x3 taps, in tiles of its outputs.

    Attributes:
        source: the image, from the first place on that the first window reads.
        channels: of the image.
        weight: the buffer of the transformed filters.
        result: of ``shape``, [N, K, H, W].
        arrays: what ``finish`` takes beside the sums, over the space of the result.
        finish: makes of each sum what is stored.
    """

    source: Access
    channels: int
    weight: int
    result: Access
    shape: Shape
    arrays: Sequence[Access]
    finish: Finish | None


class _Sizes:
    """What all launches of a convolution share."""

    def __init__(self, code: NodeCode, what: TiledConvolution, schedule: Winograd) -> None:
        self.what, self.schedule = what, schedule
        self.item = what.result.dtype.itemsize
        self.lanes = code.target.lanes(self.item)
        images, filters, rows, columns = what.shape
        m, n = schedule.tile
        self.space = (images, ceil_div(rows, m), ceil_div(columns, n))
        self.blocks = ceil_div(product(self.space), schedule.tiles)
        self.width = schedule.vectors * self.lanes
        self.groups, rest = groups_of(filters, self.width)
        assert isinstance(rest, int)
        self.rest = rest
        self.points = products(schedule.tile, schedule.stride)
        self.filter = transformed(schedule.tile) * what.channels  # numbers of a transformed one
        # Distances between points, a line longer than they must be: where they are a power of two,
        # all stores of a tile want the same few places of a cache.
        self.line = code.target.caches.line
        line = self.line // self.item
        self.input_point = schedule.tiles * what.channels + line
        self.output_point = schedule.tiles * self.width + line
        self.input_bytes = self.points * self.input_point * self.item
        self.output_bytes = self.points * self.output_point * self.item

    def input(self, stage: Stage) -> TileTransform:
        """What transforms the tiles of the input."""
        tile, stride = self.schedule.tile, self.schedule.stride
        into, _, _ = TRANSFORMS[stride]
        return TileTransform(
            stage,
            self.what.source,
            self.what.channels,
            self.space,
            tile,
            into,
            window(tile, stride),
            self.input_point,
            self.schedule.far,
            stride,
        )

    def output(self) -> Function:
        """What transforms the sums of a tile back."""
        tile, stride = self.schedule.tile, self.schedule.stride
        _, back, _ = TRANSFORMS[stride]
        grid = Grid(back, tile, window(tile, stride), looped=stride > 1)
        return function_of(grid, self.what.source.dtype, self.lanes)

    def place(self, f: Function, v: V, tile: V) -> V:
        """Where the channels of a tile of a block lie in V, of the first point."""
        return f.at(v, f.mul(tile, self.what.channels), self.item)


def write_winograd(code: NodeCode, what: TiledConvolution, schedule: Winograd) -> None:
    """Write the launches of a convolution."""
    sizes = _Sizes(code, what, schedule)
    if schedule.order == "tiles":
        _by_tiles(code, sizes)
    else:
        _by_filters(code, sizes)


def _by_tiles(code: NodeCode, sizes: _Sizes) -> None:
    """One launch: a task is a block of tiles, for which it goes through all filters."""
    inputs = code.thread_scratch(sizes.input_bytes)
    outputs = code.thread_scratch(sizes.output_bytes)
    with code.stage(sizes.blocks) as stage:
        f, v, m = stage.f, stage.own_pointer(inputs), stage.own_pointer(outputs)
        into, out_of = sizes.input(stage), _Output(stage, sizes, m)
        with stage.tasks() as task:
            first, count = out_of.span(task)
            with f.loop(count) as tile:
                into.write(f.add(first, tile.index), sizes.place(f, v, tile.index))
                if sizes.schedule.far:
                    out_of.claim(f.add(first, tile.index))
            with f.loop(sizes.groups) as group:
                out_of.filters(group.index, sizes.width, v, first, count)
            if sizes.rest:
                out_of.filters(i64(sizes.groups), sizes.rest, v, first, count)


def _by_filters(code: NodeCode, sizes: _Sizes) -> None:
    """A launch that transforms tiles, then one in which a task is a group of filters for a block of
    them; what is left of the filters is a launch of its own."""
    slot = code.scratch(sizes.blocks * sizes.input_bytes)
    with code.stage(product(sizes.space)) as stage:
        f, into, v = stage.f, sizes.input(stage), stage.pointer(slot)
        size = i64(sizes.schedule.tiles)
        with stage.tasks() as tile:
            block = f.at(v, f.op("udiv", tile, size), sizes.input_bytes)
            into.write(tile, sizes.place(f, block, f.op("urem", tile, size)))
    outputs = code.thread_scratch(sizes.output_bytes)
    for start, groups, width in ((0, sizes.groups, sizes.width), (sizes.groups, 1, sizes.rest)):
        if not groups or not width:
            continue
        with code.stage(sizes.blocks * groups) as stage:
            f, v, m = stage.f, stage.pointer(slot), stage.own_pointer(outputs)
            out_of = _Output(stage, sizes, m)
            extents = [i64(groups), stage.dim(sizes.blocks)]
            with stage.tasks() as task:
                # All blocks for a group, one after the other: its filters stay near.
                group, block = unravel(stage, task, extents)
                first, count = out_of.span(block)
                own = f.at(v, block, sizes.input_bytes)
                out_of.filters(f.add(group, start), width, own, first, count)


class _Output:
    """Writes the products and the transform of the output.

    Args:
        stage: the launch.
        sizes: of the convolution.
        m: scratch for the products.
    """

    def __init__(self, stage: Stage, sizes: _Sizes, m: V) -> None:
        self.stage, self.sizes, self.m = stage, sizes, m
        what = sizes.what
        self.dtype = what.source.dtype
        self.weight = stage.pointer(what.weight)
        # Over images, rows, columns and filters.
        self.arrays = [
            Placed.of(stage, access, (0, 2, 3, 1)) for access in (*what.arrays, what.result)
        ]
        self.extents = [stage.dim(size) for size in sizes.space]
        self.tiles = stage.dim(product(sizes.space))
        self.ends = [stage.dim(size) for size in what.shape[2:]]

    def span(self, block: V) -> tuple[V, V]:
        """The first tile of a block, and how many it has."""
        f, most = self.stage.f, self.sizes.schedule.tiles
        first = f.mul(block, most)
        if divide_exactly(product(self.sizes.space), most) is not None:
            return first, i64(most)
        return first, f.intrinsic("smin", f.op("sub", self.tiles, first), i64(most))

    def claim(self, tile: V) -> None:
        """Bring nearer where the outputs of a tile will be written, which comes from far."""
        f, sizes = self.stage.f, self.sizes
        m, n = sizes.schedule.tile
        filters, line = self.stage.dim(sizes.what.shape[1]), sizes.line // sizes.item
        image, down, across = unravel(self.stage, tile, self.extents)
        result = self.arrays[-1]
        corner = replace(result, pointer=result.at(image, f.mul(down, m), f.mul(across, n)))
        with f.loop(filters, step=line) as run:
            for i in range(m):
                for j in range(n):
                    f.prefetch(corner.at(0, i, j, run.index), 0, write=True)

    def filters(self, group: V, width: int, v: V, first: V, count: V) -> None:
        """All that becomes of a block of tiles with a group of ``width`` filters."""
        f, sizes, item = self.stage.f, self.sizes, self.sizes.item
        begin = f.mul(group, sizes.width)
        u = f.at(self.weight, f.mul(begin, sizes.filter), item)
        vectors = -(-width // sizes.lanes)
        f.call(_products(sizes, vectors), v, u, self.m, count)
        back, apart = sizes.output(), i64(sizes.output_point * item)
        line = f.mul(apart, window(sizes.schedule.tile, sizes.schedule.stride)[1])
        with f.loop(count) as tile:
            at = f.at(self.m, f.mul(tile.index, sizes.width), item)
            # The outputs lie where the sums were.
            f.call(back, at, line, apart, at, apart, i64(vectors * sizes.lanes))
            self.finish(at, width, begin, f.add(first, tile.index))

    def finish(self, outputs: V, width: int, begin: V, tile: V) -> None:
        """Write what becomes of the outputs of a tile that lie within the image."""
        f, sizes = self.stage.f, self.sizes
        image, *where = unravel(self.stage, tile, self.extents)
        corner, left = [], []
        for size, extent, stop, index in zip(
            sizes.schedule.tile, sizes.what.shape[2:], self.ends, where
        ):
            corner.append(f.mul(index, size))
            some = i64(size)
            if divide_exactly(extent, size) is None:
                some = f.intrinsic("smin", f.op("sub", stop, corner[-1]), some)
            left.append(some)
        rows, columns = left
        across = sizes.schedule.tile[1]
        part = i64(0)
        if columns.text != str(across):
            whole = f.compare("icmp eq", columns, i64(across))
            rows, part = f.select(whole, rows, part), f.select(whole, part, rows)
        for low, high, lanes in runs(width, sizes.lanes):
            with f.loop(high, low, lanes) as run:
                own = f.anchored(f.at(outputs, run.index, sizes.item))
                end = _End(self, own, (image, *corner, f.add(begin, run.index)), lanes)
                with f.loop(rows) as row:
                    end.write(row.index, range(across))
                if part.text != "0":
                    with f.loop(part) as row, f.loop(columns) as column:
                        end.write(row.index, [column.index])


class _End:
    """Writes what becomes of the outputs of a tile, for ``lanes`` filters."""

    def __init__(self, output: _Output, outputs: V, corner: Sequence[V], lanes: int) -> None:
        self.output, self.stage, self.lanes, self.outputs = output, output.stage, lanes, outputs
        # Each array from the first output of the tile on.
        *self.others, self.result = (
            replace(array, pointer=array.at(*corner)) for array in output.arrays
        )
        # What is the same for all pixels, a bias, is read once.
        self.fixed = {
            place: self.read(other)
            for place, other in enumerate(self.others)
            if {step.text for step in other.steps[1:3]} == {"0"}
        }

    def read(self, array: Placed, *pixel: Index) -> V:
        """What an array has at a pixel."""
        at = array.at(0, *pixel)
        return load_strided(self.stage, array.dtype, at, self.lanes, array.steps[3])

    def write(self, row: V, columns: Iterable[Index]) -> None:
        """Finish and store the outputs of a row of the tile."""
        stage, sizes = self.stage, self.output.sizes
        f, dtype, apart = stage.f, self.output.dtype, sizes.output_point

        def line(array: Placed) -> Placed:
            return replace(array, pointer=f.anchored(array.at(0, row)))

        fixed, result = self.fixed, line(self.result)
        others = [own if place in fixed else line(own) for place, own in enumerate(self.others)]
        start = f.mul(row, sizes.schedule.tile[1] * apart)
        outputs = f.anchored(f.at(self.outputs, start, sizes.item))
        for j in columns:
            value = load(stage, dtype, f.at(outputs, f.mul(j, apart), sizes.item), self.lanes)
            if sizes.what.finish is not None:
                read = [
                    fixed[place] if place in fixed else self.read(own, 0, j)
                    for place, own in enumerate(others)
                ]
                value = sizes.what.finish(stage, self.lanes, value, read)
            store(stage, result.dtype, value, result.at(0, 0, j), self.lanes)


def _products(sizes: _Sizes, vectors: int) -> Function:
    """The function M[point] = V[point] U[point], for all points, some vectors of filters, and
    ``count`` tiles of a block, in register tiles; equal layers share it, whatever their epilogues.

    The last register tile of a block ends where the block does, and computes again what it shares
    with the one before; one that is longer than the block computes what nobody reads.
    """
    f = Function("products", [("ptr", "v"), ("ptr", "u"), ("ptr", "m"), ("i64", "count")])
    v, u, m, count = f.parameters
    dtype, schedule, item, lanes = sizes.what.source.dtype, sizes.schedule, sizes.item, sizes.lanes
    ((_, columns),) = schedule.columns
    channels, width = sizes.what.channels, sizes.width
    kind = vector(STORED[dtype], lanes)
    zeros = [scalar_constant(0, dtype, lanes)] * (columns * vectors)
    last = f.op("sub", count, i64(columns))
    with f.loop(sizes.points) as point, f.loop(count, step=columns, once=True) as step:
        tile = f.intrinsic("smax", f.intrinsic("smin", step.index, last), i64(0))
        start = f.add(f.mul(point.index, sizes.input_point), f.mul(tile, channels))
        pixels = f.at(v, start, item)
        place = _filter_point(f, schedule, point.index)
        taps = f.at(u, f.mul(place, channels * width), item)
        with f.loop(channels, carry=zeros) as channel:
            at = f.anchored(f.at(taps, f.mul(channel.index, width), item))
            own = [f.load(f.at(at, n * lanes, item), kind, item) for n in range(vectors)]
            for line in range(0, vectors * lanes * item if schedule.ahead else 0, sizes.line):
                f.prefetch(at, schedule.ahead + line, level=2)
            if schedule.tiles_ahead:
                _fetch(f, sizes, pixels, channel.index)
            row, totals = f.anchored(f.at(pixels, channel.index, item)), []
            for t in range(columns):
                one = f.load(f.at(row, t * channels, item), STORED[dtype], item)
                before = channel.carried[t * vectors : (t + 1) * vectors]
                many = f.broadcast(one, lanes)
                totals += [f.fma(many, *pair) for pair in zip(own, before)]
            channel.next(*totals)
        start = f.add(f.mul(point.index, sizes.output_point), f.mul(tile, width))
        to = f.anchored(f.at(m, start, item))
        for number, total in enumerate(channel.results):
            t, n = divmod(number, vectors)
            f.store(total, f.at(to, t * width + n * lanes, item), item)
    f.ret()
    return f.named()


def _filter_point(f: Function, schedule: Winograd, point: V) -> V:
    """Which number of a filter is for a point; with stride 2 the middle tap is for several."""
    if schedule.stride == 1:
        return point
    m, n = schedule.tile
    _, across = window(schedule.tile, schedule.stride)
    row = f.intrinsic("smin", f.op("udiv", point, i64(across)), i64(m + 1))
    column = f.intrinsic("smin", f.op("urem", point, i64(across)), i64(n + 1))
    return f.add(f.mul(row, n + TAPS - 1), column)


def _fetch(f: Function, sizes: _Sizes, pixels: V, channel: V) -> None:
    """Bring nearer the next line of a tile, or of some: of another one for each channel of a line,
    so that when that is done all are near."""
    line = sizes.line // sizes.item
    ((_, columns),) = sizes.schedule.columns
    within, begin = f.op("and", channel, i64(line - 1)), f.op("and", channel, i64(-line))
    for first in range(0, columns, line):
        tile = f.mul(f.add(within, first), sizes.what.channels)
        f.prefetch(f.at(pixels, f.add(tile, f.add(begin, line)), sizes.item), 0)
