"""What Winograd's kernels read, transformed: tiles of images, and filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from .....ir import Dim, DType, TensorType
from .....ir.dims import divide_exactly
from .....ir.layout import Transformed
from .....ir.winograd import TAPS, transformed
from ...lowering.access import Access
from ..builder import Function, Index, V, floating, i64, vector
from ..code import STORED, NodeCode, Stage
from ..iteration import Placed, unravel
from ..math.winograd import TRANSFORMS, Transform, both_axes
from .jobs import vector_runs

# What lies where: source, down, across, target, apart.
_Lies = tuple[V, V, V, V, V]


class Grid(NamedTuple):
    """A transform of places in rows and columns, at each of which many elements lie side by side.

    Attributes:
        transform: what becomes of each column, and then of each row.
        tile: the rows and columns of outputs of a tile.
        window: the rows and columns that it reads.
        fetched: of how many columns rows behind the window can be fetched beforehand.
        bounded: whether rows and columns from an end on are zeros.
        looped: whether what is between both axes lies in the target. Else it is on registers, which
            is faster where most of it has room there, and takes LLVM longer.
    """

    transform: Transform
    tile: tuple[int, int]
    window: tuple[int, int]
    fetched: int = 0
    bounded: bool = False
    looped: bool = False


@cache
def function_of(grid: Grid, dtype: DType, lanes: int) -> Function:
    """The function that transforms a grid, which all kernels of a module share.

    ``f(source, down, across, target, apart, count)``: rows of the source lie ``down`` bytes apart,
    columns ``across``, and what becomes of them, row by row, ``apart``; ``count`` elements lie side
    by side, one vector of ``lanes`` or more. Source and target may be the same. Where any columns
    are ``fetched`` there follows of how many rows; where ``bounded`` the ends of rows and columns,
    and where a vector of zeros lies.
    """
    parameters = [("ptr", "source"), ("i64", "down"), ("i64", "across")]
    parameters += [("ptr", "target"), ("i64", "apart"), ("i64", "count")]
    parameters += [("i64", "behind")] * bool(grid.fetched)
    parameters += [("i64", "rows"), ("i64", "columns"), ("ptr", "zeros")] * grid.bounded
    f = Function(grid.transform.__name__, parameters)
    source, down, across, target, apart, count, *further = f.parameters
    kind, item = vector(STORED[dtype], lanes), dtype.itemsize
    with f.loop(count, step=lanes, once=True) as run:
        start, to = (f.anchored(f.at(pointer, run.index, item)) for pointer in (source, target))
        if grid.fetched:
            below, behind = f.at(start, f.mul(down, grid.window[0])), further.pop(0)
            with f.loop(behind) as row:
                at = f.anchored(f.at(below, f.mul(down, row.index)))
                for j in range(grid.fetched):
                    f.prefetch(at, f.mul(across, j), level=2)
        lies = start, down, across, to, apart
        if grid.looped:
            _looped(f, grid, kind, item, lies)
        else:
            _unrolled(f, grid, kind, item, lies, further)
    f.ret()
    return f.named()


def _unrolled(
    f: Function, grid: Grid, kind: str, item: int, lies: _Lies, bounds: Sequence[V]
) -> None:
    row, down, across, to, apart = lies
    high, wide = grid.window
    *ends, zeros = bounds or (None,)
    real = [
        [f.compare("icmp sgt", end, i64(place)) for place in range(size)]
        for end, size in zip(ends, grid.window)
    ]
    values = []
    for i in range(high):
        pointers = [f.at(row, f.mul(across, j)) for j in range(wide)]
        if zeros:
            both = [f.op("and", real[0][i], column) for column in real[1]]
            pointers = [f.select(*pair, zeros) for pair in zip(both, pointers)]
        values.append([f.load(pointer, kind, item) for pointer in pointers])
        row = f.at(row, down)
    steps = [f.mul(apart, j) for j in range(wide + TAPS)]
    for made in both_axes(f, grid.transform, grid.tile, values):
        for value, step in zip(made, steps):
            f.store(value, f.at(to, step), item)
        to = f.at(to, steps[len(made)])


def _looped(f: Function, grid: Grid, kind: str, item: int, lies: _Lies) -> None:
    source, down, across, to, apart = lies
    high, wide = grid.window

    def axis(outputs: int, size: int, at: V, step: V) -> list[V]:
        values = [f.load(f.at(at, f.mul(step, place)), kind, item) for place in range(size)]
        return grid.transform(f, outputs, values)

    line = f.mul(apart, max(wide, grid.tile[1] + TAPS - 1))  # none becomes longer
    with f.loop(wide) as column:
        at = f.anchored(f.at(source, f.mul(across, column.index)))
        made = axis(grid.tile[0], high, at, down)
        below = f.anchored(f.at(to, f.mul(apart, column.index)))
        for i, value in enumerate(made):
            f.store(value, f.at(below, f.mul(line, i)), item)
    with f.loop(len(made)) as row:
        made = axis(grid.tile[1], wide, f.anchored(f.at(to, f.mul(line, row.index))), apart)
        beside = f.anchored(f.at(to, f.mul(f.mul(apart, len(made)), row.index)))
        for j, value in enumerate(made):
            f.store(value, f.at(beside, f.mul(apart, j)), item)


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
        self.stage, self.channels = stage, channels
        self.steps = tile[0] * stride, tile[1] * stride  # from one tile to the next
        self.grid = Grid(transform, tile, window, self.steps[1], looped=stride > 1)
        self.behind = i64(self.steps[0] if ahead else 0)
        self.image = Placed.of(stage, image, (0, 2, 3, 1))
        self.item = image.dtype.itemsize
        self.apart = [stage.f.mul(step, self.item) for step in (*self.image.steps[1:3], point)]
        self.extents = [stage.dim(size) for size in space]
        self.ends: list[V] = []

    def stop_at(self, ends: Sequence[Dim], zeros: V) -> None:
        """Read ``zeros``, a vector of them, in the place of rows and columns from ``ends`` on."""
        if any(divide_exactly(end, step) is None for end, step in zip(ends, self.steps)):
            self.ends, self.zeros = [self.stage.dim(end) for end in ends], zeros
            self.grid = self.grid._replace(bounded=True)

    def write(self, tile: V, target: V) -> None:
        """Transform all channels of a tile; those of the first point go to ``target``."""
        f, dtype, item = self.stage.f, self.image.dtype, self.item
        image, *place = unravel(self.stage, tile, self.extents)
        corner = [f.mul(index, step) for index, step in zip(place, self.steps)]
        start = self.image.at(image, *corner)
        down, across, apart = self.apart
        left = [f.op("sub", end, first) for end, first in zip(self.ends, corner)]
        bounds = [*left, self.zeros] if left else []
        for low, high, lanes in runs(self.channels, self.stage.target.lanes(item)):
            own = function_of(self.grid, dtype, lanes)
            source, to = (f.at(pointer, low, item) for pointer in (start, target))
            f.call(own, source, down, across, to, apart, i64(high - low), self.behind, *bounds)


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
    dtype, groups, points = type_.dtype, -(-filters // block), transformed(layout.tile)
    _, _, transform = TRANSFORMS[layout.stride]
    own = function_of(Grid(transform, layout.tile, (TAPS, TAPS), looped=True), DType.F64, lanes)
    with code.stage(groups * channels) as stage:
        f, target = stage.f, stage.pointer(slot)
        *axes, summed, across = layout.order
        read = Placed.of(stage, source, (across, summed, *axes))
        between, _, *steps = (f.mul(step, dtype.itemsize) for step in read.steps)
        corner = (TAPS - 1, TAPS - 1) if layout.flip else (0, 0)  # where the taps begin
        if layout.flip:
            steps = [f.mul(step, -1) for step in steps]
        row = i64(block * DType.F64.itemsize)
        taps, made = (f.local(lines * block * DType.F64.itemsize) for lines in (TAPS**2, points))
        with stage.tasks() as task:
            group, channel = unravel(stage, task, [i64(groups), i64(channels)])
            first = f.mul(group, block)
            real = f.intrinsic("smin", f.op("sub", i64(filters), first), i64(block))
            start = read.at(first, channel, *corner)
            f.call(_gather(dtype), start, between, *steps, taps, row, real, i64(block))
            f.call(own, taps, f.mul(row, TAPS), row, made, row, i64(block))
            place = f.add(f.mul(group, points * channels * block), f.mul(channel, block))
            to, apart = f.at(target, place, dtype.itemsize), i64(channels * block * dtype.itemsize)
            f.call(_round(dtype, lanes), made, row, to, apart, i64(points), i64(block))


@cache
def _gather(dtype: DType) -> Function:
    """The function that puts the taps of a block of filters into float64, each tap in a row: where
    fewer filters are ``real``, zeros take the place of the others."""
    parameters = [("ptr", "source"), ("i64", "between"), ("i64", "down"), ("i64", "across")]
    parameters += [("ptr", "target"), ("i64", "row"), ("i64", "real"), ("i64", "block")]
    f = Function("taps", parameters)
    source, between, down, across, target, row, real, block = f.parameters
    last = f.add(real, -1)
    with f.loop(block, once=True) as place:
        inside = f.compare("icmp slt", place.index, real)
        line = f.at(source, f.mul(f.intrinsic("smin", place.index, last), between))
        to = f.at(target, place.index, DType.F64.itemsize)
        for _ in range(TAPS):
            at = line
            for _ in range(TAPS):
                value = _as(f, DType.F64, f.load(at, STORED[dtype], dtype.itemsize), 1)
                value = f.select(inside, value, floating(0, "double"))
                f.store(value, to, DType.F64.itemsize)
                at, to = f.at(at, across), f.at(to, row)
            line = f.at(line, down)
    f.ret()
    return f.named()


@cache
def _round(dtype: DType, lanes: int) -> Function:
    """The function that rounds rows of float64, one for each point, to where the points lie: all of
    a row at once, for those places are far ``apart``."""
    parameters = [("ptr", "source"), ("i64", "row"), ("ptr", "target"), ("i64", "apart")]
    f = Function("rounded", [*parameters, ("i64", "points"), ("i64", "block")])
    source, row, target, apart, points, block = f.parameters
    kind = vector(STORED[DType.F64], lanes)
    with f.loop(points, once=True) as point:
        values, to = f.at(source, f.mul(point.index, row)), f.at(target, f.mul(point.index, apart))
        with f.loop(block, step=lanes, once=True) as run:
            value = f.load(f.at(values, run.index, DType.F64.itemsize), kind, DType.F64.itemsize)
            at = f.at(to, run.index, dtype.itemsize)
            f.store(_as(f, dtype, value, lanes), at, dtype.itemsize)
    f.ret()
    return f.named()


def _as(f: Function, dtype: DType, value: V, width: int) -> V:
    """A number in another floating-point type; as it is where that is its own."""
    kind = vector(STORED[dtype], width)
    how = "fpext" if dtype is DType.F64 else "fptrunc"
    return value if value.type == kind else f.cast(how, value, kind)
