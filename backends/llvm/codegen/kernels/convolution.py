"""Convolutions and their backward ops, as contractions.

The vectors of a convolution run over channels: over the outputs of a group, or, where each group
has one channel (depthwise), over the groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .....ir import Dim, TensorType
from .....ir.dims import ceil_div, sizes
from .....ir.layout import NO_HALO, Halo, Order, Strided
from .....ir.ops import conv
from ....phases import phases, reach
from ...lowering.access import Access
from ...registry import Facts, ImageFacts, Types, Weight
from ...schedule import convolution as schedules
from ...schedule.convolution import convolution_sizes, phase_sizes
from ...schedule.layouts import is_better_planar
from ...schedule.schedule import Choice, Setting
from ...schedule.winograd import Winograd, WinogradWeight
from ...target import Target
from ..code import Finish, NodeCode, emits
from ..iteration import Placed, unravel
from .contraction import Contraction, Operand
from .copies import write_fill
from .elementwise import load, store_strided
from .tiles import Steps, cut, end_of, total_of, write_tiles
from .winograd import TiledConvolution, write_winograd
from .winograd_weight import WeightTiles, write_winograd_weight

# Weights [O, C, r, s]: outputs side by side for a convolution, inputs for its transpose.
OUTPUTS_LAST: Order = (2, 3, 1, 0)
INPUTS_LAST: Order = (2, 3, 0, 1)


class _Convolution(ImageFacts):
    """A convolution of an image with a weight."""

    anchor = True
    epilogue = True

    def images(self, op: conv.ConvBase, operands: Types) -> tuple[int, ...]:
        return (0,)

    def by_image(
        self, op: conv.ConvBase, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return of_images[0] and not any(of_images[1:])


class _Forward(_Convolution):
    def reads_planar(self, op: conv.Conv2d, operands: Types, target: Target) -> bool:
        return is_better_planar(operands[0], target)

    def weight(self, op: conv.Conv2d, operands: Types) -> Weight:
        return Weight(1, OUTPUTS_LAST, packs=op.groups == 1)

    def halo(self, op: conv.Conv2d, operands: Types) -> Halo:
        return _drop_empty(op.padding)

    def schedules(
        self, op: conv.Conv2d, operands: Types, result: TensorType, setting: Setting
    ) -> Sequence[Choice]:
        return schedules.conv2d(op, operands, result, setting)


class _BackwardData(_Convolution):
    def weight(self, op: conv.Conv2dBackwardData, operands: Types) -> Weight:
        return Weight(1, INPUTS_LAST, packs=op.groups == 1, flip=True)

    def halo(self, op: conv.Conv2dBackwardData, operands: Types) -> Halo:
        kernel = sizes(operands[1].shape[2:])
        return _drop_empty(tuple(reach(op, axis, size) for axis, size in enumerate(kernel)))

    def schedules(
        self, op: conv.Conv2dBackwardData, operands: Types, result: TensorType, setting: Setting
    ) -> Sequence[Choice]:
        return schedules.conv2d_backward_data(op, operands, result, setting)


class _BackwardWeight(Facts):
    anchor = True

    def images(self, op: conv.Conv2dBackwardWeight, operands: Types) -> tuple[int, ...]:
        return (0, 1)

    def halo(self, op: conv.Conv2dBackwardWeight, operands: Types) -> Halo:
        return _drop_empty(op.padding)

    def schedules(
        self, op: conv.Conv2dBackwardWeight, operands: Types, result: TensorType, setting: Setting
    ) -> Sequence[Choice]:
        return schedules.conv2d_backward_weight(op, operands, result, setting)


def _drop_empty(halo: Halo) -> Halo:
    """A halo without zeros is none."""
    return halo if any(side for pair in halo for side in pair) else NO_HALO


@emits(conv.Conv2d, facts=_Forward())
def conv2d(code: NodeCode) -> None:
    """Convolution of an image that lies within the zeros that it reads."""
    op = code.op(conv.Conv2d)
    x, weight, *bias = code.operand_types
    y = code.node.result.type
    biases = [code.operand_access(2)] if bias else []
    over = [replace(access, strides=(0, access.strides[0], 0, 0)) for access in biases]
    arrays, finish = end_of(code, over, bool(bias))
    if isinstance(code.schedule, Winograd):
        first = [-before for before, _ in op.padding]
        write_winograd(code, _tiles(code, first, arrays, finish), code.schedule)
        return
    what = Contraction(
        x.dtype,
        convolution_sizes(op, x.shape[0], y, weight),
        _outputs(op, code.result_access(), y.shape[1]),
        _reads(op, code.operand_access(0), x.shape[1]),
        _weights(op, code.operand_access(1), weight),
        tuple(_outputs(op, access, y.shape[1]) for access in arrays),
        finish,
    )
    write_tiles(code, what, code.scheduled(schedules.Direct).tiling(what.sizes))


@emits(conv.Conv2dBackwardWeight, facts=_BackwardWeight())
def conv2d_backward_weight(code: NodeCode) -> None:
    """The sum over batch and pixels, of the padded input times dy.

    Where the weight is small, each part of the batch is summed for itself. A task goes along its
    part in blocks of some rows or some images (K-blocking), which stay in a first-level cache while
    taps and channels go over them. All this depends on shapes alone.
    """
    op = code.op(conv.Conv2dBackwardWeight)
    x, dy = code.operand_types
    weight = code.node.result.type
    batch = x.shape[0]
    if isinstance(code.schedule, WinogradWeight):
        first = [-before for before, _ in op.padding]
        tiles = WeightTiles(
            _from(code.operand_access(0), first),
            code.operand_access(1),
            dy.shape,
            sizes(x.shape[1:2])[0],
            code.result_access(),
        )
        write_winograd_weight(code, tiles, code.schedule)
        return
    schedule = code.scheduled(schedules.BackwardWeight)
    parts = schedule.parts
    slot = code.scratch(weight.nbytes * parts)
    write_fill(code, (weight.size * parts,), Access(slot, weight.dtype, (1,)), 0)
    one = Access.of(slot, replace(weight, layout=Strided(OUTPUTS_LAST)))
    reads = _reads(op, code.operand_access(0), x.shape[1])
    slopes = _outputs(op, code.operand_access(1), dy.shape[1])
    chunk = ceil_div(batch, parts)

    result = _weights(op, one, weight)
    what = Contraction(
        x.dtype,
        {**convolution_sizes(op, chunk, dy, weight), "p": parts},
        replace(result, strides={**result.strides, "p": weight.size}),
        cut(reads, "n", chunk),
        cut(slopes, "n", chunk),
        part=("p", "n", batch),
    )
    write_tiles(code, what, schedule.tiling(what.sizes))
    _add_weights(code, weight, [replace(one, start=weight.size * part) for part in range(parts)])


def _add_weights(code: NodeCode, weight: TensorType, parts: Sequence[Access]) -> None:
    """Write the launches that add up the parts of a weight, which lie with their outputs innermost.

    A task has some outputs and one channel: what it reads lies side by side, and what it writes
    stays in a first-level cache for all taps.
    """
    outputs, channels, rows, columns = weight.shape
    lanes, result = code.target.lanes(weight.dtype.itemsize), code.result_access()
    full = outputs // lanes
    for width, first, count in ((lanes, 0, full), (1, full * lanes, outputs - full * lanes)):
        if count == 0:
            continue
        arrays = [
            replace(access, start=access.start + access.strides[0] * first)
            for access in (*parts, result)
        ]
        with code.stage(count * channels) as stage:
            f, placed = stage.f, [Placed.of(stage, access) for access in arrays]
            extents = [stage.dim(count), stage.dim(channels)]
            taps = f.loop(stage.dim(rows)), f.loop(stage.dim(columns))
            with stage.tasks() as task, taps[0] as row, taps[1] as column:
                block, channel = unravel(stage, task, extents)
                place = (f.mul(block, width), channel, row.index, column.index)
                *sums, at = (array.at(*place) for array in placed)
                total = total_of(stage, [load(stage, weight.dtype, part, width) for part in sums])
                store_strided(stage, weight.dtype, total, at, width, placed[-1].steps[0])


@emits(conv.Conv2dBackwardData, facts=_BackwardData())
def conv2d_backward_data(code: NodeCode) -> None:
    """By phases: places of x that are a stride apart are reached by the same taps.

    Each phase is a convolution of dy, of stride 1, with those taps alone.
    """
    op = code.op(conv.Conv2dBackwardData)
    dy, weight = code.operand_types
    dx = code.node.result.type
    kernel = conv.kernel_of(code.node.operands[1])
    source, own = code.operand_access(0), code.operand_access(1)
    arrays, finish = end_of(code, (), bias=False)
    if isinstance(code.schedule, Winograd):
        first = [before + 1 - size for (before, _), size in zip(op.padding, kernel)]
        write_winograd(code, _tiles(code, first, arrays, finish), code.schedule)
        return
    outputs = weight.shape[0] // op.groups
    o, c, _, _ = own.strides
    n, channel, _, _ = source.strides
    schedule = code.scheduled(schedules.DirectPhases)
    each = phase_sizes(op, dy.shape[0], weight, dx)
    for phase, extents, direct in zip(phases(op, kernel, dx.shape[2:]), each, schedule.phases):
        reads: Steps = {"n": n, "g": channel * outputs, "c": channel}
        transposed: Steps = {"g": o * outputs, "o": c, "c": o}
        start, tap_start, first = source.start, own.start, [0, 0]
        for axis, (image, tap) in enumerate((("i", "r"), ("j", "s"))):
            where = phase[axis]
            step, weight_step = source.strides[2 + axis], own.strides[2 + axis]
            reads |= {image: step, tap: step * -where.apart}
            transposed[tap] = weight_step * where.step
            start = start + step * where.row
            tap_start = tap_start + weight_step * where.tap
            first[axis] = where.first

        def over(access: Access, first: Sequence[int] = tuple(first)) -> Operand:
            operand = _outputs(op, access, dx.shape[1])
            rows, columns = access.strides[2:]
            return replace(
                operand,
                strides={**operand.strides, "i": rows * op.stride[0], "j": columns * op.stride[1]},
                start=operand.start + rows * first[0] + columns * first[1],
            )

        what = Contraction(
            dy.dtype,
            extents,
            over(code.result_access()),
            Operand.of(source, reads, start),
            Operand.of(own, transposed, tap_start),
            tuple(map(over, arrays)),
            finish,
        )
        write_tiles(code, what, direct.tiling(extents))


def _tiles(
    code: NodeCode, first: Sequence[int], arrays: Sequence[Access], finish: Finish | None
) -> TiledConvolution:
    """The image of a convolution of stride 1, from row and column ``first`` on, in tiles."""
    image, result = code.operand_types[0], code.node.result.type
    return TiledConvolution(
        _from(code.operand_access(0), first),
        sizes(image.shape[1:2])[0],
        code.operand_access(1).slot,
        code.result_access(),
        result.shape,
        arrays,
        finish,
    )


def _from(image: Access, first: Sequence[int]) -> Access:
    """An image from a row and column on, which may lie in its halo."""
    start = image.start
    for place, step in zip(first, image.strides[2:]):
        start = start + place * step
    return replace(image, start=start)


def _outputs(op: conv.ConvBase, y: Access, channels: Dim) -> Operand:
    n, o, i, j = y.strides
    strides: Mapping[str, Dim] = {"n": n, "g": o * (channels // op.groups), "o": o, "i": i, "j": j}
    return Operand.of(y, strides)


def _reads(op: conv.ConvBase, x: Access, channels: Dim) -> Operand:
    """x from the first place on that the first window reads, which lies among the zeros."""
    n, c, h, w = x.strides
    strides: Mapping[str, Dim] = {
        "n": n,
        "g": c * (channels // op.groups),
        "c": c,
        "i": h * op.stride[0],
        "j": w * op.stride[1],
        "r": h * op.dilation[0],
        "s": w * op.dilation[1],
    }
    (top, _), (left, _) = op.padding
    return Operand.of(x, strides, x.start - h * top - w * left)


def _weights(op: conv.ConvBase, weight: Access, type_: TensorType) -> Operand:
    o, c, r, s = weight.strides
    strides = {"g": o * (type_.shape[0] // op.groups), "o": o, "c": c, "r": r, "s": s}
    return Operand.of(weight, strides)
