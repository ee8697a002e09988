"""Convolutions and their backward ops, as contractions.

The vectors of a convolution run over channels: over the outputs of a group, or, where each group
has one channel (depthwise), over the groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .....ir import Dim, TensorType
from .....ir.dims import ceil_div
from .....ir.layout import Layout
from .....ir.ops import conv
from ...lowering.layouts import OUTPUTS_LAST
from ...phases import phases
from ..code import Access, NodeCode, emits
from ..iteration import offset, unravel
from .contraction import Contraction, Operand
from .copies import write_fill
from .elementwise import load, store_apart
from .tiles import (
    NEAR,
    Steps,
    cut,
    end_of,
    even_pieces,
    groups_of,
    known,
    known_bytes,
    total_of,
    write_tiles,
)

# Bytes that stay in a third-level cache; what lies beyond costs that many times more.
_FAR, _FAR_COST = 8 * 1024 * 1024, 4

# At least so many pixels make a pass, and as many as stay in a first-level cache, with what a tile
# reads of dy for each.
_PIXELS, _NEAREST, _LINES = 64, 32 * 1024, 128

# Into how many the batch is cut where a weight of no more bytes is differentiated.
_PARTS, _SMALL = 8, 512 * 1024


@emits(conv.Conv2d)
def conv2d(code: NodeCode) -> None:
    """Convolution of an image that lies within the zeros that it reads."""
    op = code.node.op
    assert isinstance(op, conv.Conv2d)
    x, weight, *bias = code.operand_types
    y = code.node.result.type
    biases = [code.operand_access(2)] if bias else []
    over = [replace(access, strides=(0, access.strides[0], 0, 0)) for access in biases]
    arrays, finish = end_of(code, over, bool(bias))
    what = Contraction(
        x.dtype,
        _sizes(op, x.shape[0], y, weight),
        _outputs(op, code.result_access(), y.shape[1]),
        _reads(op, code.operand_access(0), x.shape[1]),
        _weights(op, code.operand_access(1), weight),
        tuple(_outputs(op, access, y.shape[1]) for access in arrays),
        finish,
    )
    _write_convolution(code, what)


@emits(conv.Conv2dBackwardWeight)
def conv2d_backward_weight(code: NodeCode) -> None:
    """The sum over batch and pixels, of the padded input times dy.

    Where the weight is small, each part of the batch is summed for itself. A task goes along its
    part in passes of some rows or some images, which stay near while taps and channels go over
    them. All this depends on shapes alone.
    """
    op = code.node.op
    assert isinstance(op, conv.Conv2dBackwardWeight)
    x, dy = code.operand_types
    weight = code.node.result.type
    batch = x.shape[0]
    small = isinstance(weight.nbytes, int) and weight.nbytes <= _SMALL
    parts = _PARTS if small else 1
    slot = code.scratch(weight.nbytes * parts)
    write_fill(code, (weight.size * parts,), Access(slot, weight.dtype, (1,)), 0)
    one = Access.of(slot, replace(weight, layout=Layout(OUTPUTS_LAST)))
    reads = _reads(op, code.operand_access(0), x.shape[1])
    slopes = _outputs(op, code.operand_access(1), dy.shape[1])
    chunk = ceil_div(batch, parts)

    result = _weights(op, one, weight)
    what = Contraction(
        x.dtype,
        {**_sizes(op, chunk, dy, weight), "p": parts},
        replace(result, strides={**result.strides, "p": weight.size}),
        cut(reads, "n", chunk),
        cut(slopes, "n", chunk),
        part=("p", "n", batch),
    )
    vector, *filters = _filters(what)
    # Where there are no parts the rows of taps are tasks instead.
    rows: tuple[str, ...] = () if small else ("r",)
    write_tiles(
        code,
        what,
        vector,
        ("c",) if what.sizes["c"] != 1 else ("r", "s"),
        ("n", "i", "j"),
        ("p", *filters, *rows),
        passes=_passes(op, what),
        within=("s",) if rows else ("r", "s"),
    )
    _add_weights(code, weight, [replace(one, start=weight.size * part) for part in range(parts)])


def _passes(op: conv.ConvBase, what: Contraction) -> tuple[tuple[str, int], ...]:
    """Along which axes the sum for a weight goes in steps: images, and rows of large ones."""
    rows, columns, channels = (what.sizes[axis] for axis in "ijc")
    if not isinstance(rows, int) or not isinstance(columns, int) or not rows * columns:
        return (("n", 1),)
    pixel = known_bytes(what, [channels]) * op.stride[0] * op.stride[1] + _LINES
    pixels = max(_PIXELS, _NEAREST // pixel)
    if rows * columns > pixels:
        return (("n", 1), ("i", even_pieces(rows, max(1, pixels // columns))))
    return (("n", pixels // (rows * columns)),)


def _add_weights(code: NodeCode, weight: TensorType, parts: Sequence[Access]) -> None:
    """Write the launches that add up the parts of a weight, which lie with their outputs innermost.

    A task has some outputs and one channel: what it reads lies side by side, and what it writes is
    near for all taps.
    """
    outputs, channels, rows, columns = weight.shape
    lanes, item = code.target.lanes(weight.dtype.itemsize), weight.dtype.itemsize
    result, full = code.result_access(), outputs // lanes
    for width, first, count in ((lanes, 0, full), (1, full * lanes, outputs - full * lanes)):
        if count == 0:
            continue
        arrays = [
            replace(access, start=access.start + access.strides[0] * first)
            for access in (*parts, result)
        ]
        with code.stage(count * channels) as stage:
            f = stage.f
            bases = [stage.base(access) for access in arrays]
            steps = [[stage.dim(step) for step in access.strides] for access in arrays]
            extents = [stage.dim(count), stage.dim(channels)]
            taps = f.loop(stage.dim(rows)), f.loop(stage.dim(columns))
            with stage.tasks() as task, taps[0] as row, taps[1] as column:
                block, channel = unravel(stage, task, extents)
                place = (f.mul(block, width), channel, row.index, column.index)
                *sums, at = (
                    f.at(base, offset(stage, place, step), item) for base, step in zip(bases, steps)
                )
                total = total_of(stage, [load(stage, weight.dtype, part, width) for part in sums])
                store_apart(stage, weight.dtype, total, at, width, steps[-1][0])


@emits(conv.Conv2dBackwardData)
def conv2d_backward_data(code: NodeCode) -> None:
    """By phases: places of x that are a stride apart are reached by the same taps.

    Each phase is a convolution of dy, of stride 1, with those taps alone.
    """
    op = code.node.op
    assert isinstance(op, conv.Conv2dBackwardData)
    dy, weight = code.operand_types
    dx = code.node.result.type
    kernel = conv.kernel_of(code.node.operands[1])
    source, own = code.operand_access(0), code.operand_access(1)
    arrays, finish = end_of(code, (), bias=False)
    outputs, inputs = weight.shape[0] // op.groups, weight.shape[1]
    o, c, _, _ = own.strides
    n, channel, _, _ = source.strides
    for phase in phases(op, kernel, dx.shape[2:]):
        sizes: Steps = {"n": dy.shape[0], "g": op.groups, "o": inputs, "c": outputs}
        reads: Steps = {"n": n, "g": channel * outputs, "c": channel}
        turned: Steps = {"g": o * outputs, "o": c, "c": o}
        start, tap_start, first = source.start, own.start, [0, 0]
        for axis, (image, tap) in enumerate((("i", "r"), ("j", "s"))):
            where = phase[axis]
            sizes |= {image: where.count, tap: where.taps}
            step, weight_step = source.strides[2 + axis], own.strides[2 + axis]
            reads |= {image: step, tap: step * -where.apart}
            turned[tap] = weight_step * where.step
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
            sizes,
            over(code.result_access()),
            Operand(source.slot, source.dtype, reads, start),
            Operand(own.slot, own.dtype, turned, tap_start, own.block, own.apart),
            tuple(map(over, arrays)),
            finish,
        )
        _write_convolution(code, what)


def _sizes(op: conv.ConvBase, batch: Dim, y: TensorType, weight: TensorType) -> Steps:
    out_channels, in_channels, rows, columns = weight.shape
    return {
        "n": batch,
        "g": op.groups,
        "o": out_channels // op.groups,
        "c": in_channels,
        "i": y.shape[2],
        "j": y.shape[3],
        "r": rows,
        "s": columns,
    }


def _outputs(op: conv.ConvBase, y: Access, channels: Dim) -> Operand:
    n, o, i, j = y.strides
    strides: Mapping[str, Dim] = {"n": n, "g": o * (channels // op.groups), "o": o, "i": i, "j": j}
    return Operand(y.slot, y.dtype, strides, y.start)


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
    return Operand(x.slot, x.dtype, strides, x.start - h * top - w * left)


def _weights(op: conv.ConvBase, weight: Access, type_: TensorType) -> Operand:
    o, c, r, s = weight.strides
    strides = {"g": o * (type_.shape[0] // op.groups), "o": o, "c": c, "r": r, "s": s}
    return Operand(weight.slot, weight.dtype, strides, weight.start, weight.block, weight.apart)


# ---- the order of loops -------------------------------------------------------------------------


def _write_convolution(code: NodeCode, what: Contraction) -> None:
    """Write a convolution in the order of loops that brings the fewest bytes from far away."""
    vector, *filters = _filters(what)
    lanes = code.target.lanes(what.dtype.itemsize)
    _, groups, rest = groups_of(what.sizes[vector], lanes, code.target.registers)
    weights = known_bytes(what, [what.sizes[axis] for axis in "gocrs"])
    image = known_bytes(what, (what.a.strides["i"], what.sizes["i"]))
    times = (groups + (rest != 0)) * known(what.sizes[axis] for axis in filters)
    rows = known([what.sizes["i"]])
    # For one image: all filters on each row; or all rows, filter by filter; or, filter by filter,
    # all images, of which the next one is always far.
    costs = {
        (("n", "i", *filters), ()): _cost(weights, rows),
        (("n", *filters), ("i",)): _cost(weights, 1) + _cost(image, times),
        (tuple(filters), ("n", "i")): _FAR_COST * times * image,
    }
    before, behind = min(costs, key=lambda order: costs[order])
    write_tiles(code, what, vector, ("i", "j"), ("r", "s", "c"), before, behind)


def _filters(what: Contraction) -> tuple[str, str]:
    """The axis across the lanes, outputs of a group or groups of one, then the other of them."""
    return ("g", "o") if what.sizes["o"] == 1 and what.sizes["g"] != 1 else ("o", "g")


def _cost(nbytes: int, times: int) -> int:
    """What it costs to go through so many bytes again and again."""
    if nbytes <= NEAR:
        return 0
    return (1 if nbytes <= _FAR else _FAR_COST) * nbytes * times
