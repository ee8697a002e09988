"""Matrix products, linear layers and convolutions, as contractions.

The vectors of a convolution run over channels: over the outputs of a group, or, where each group
has one channel (depthwise), over the groups. Tiles in registers are some columns by some vectors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ...ir import Dim, TensorType
from ...ir.dims import ceil_div
from ...ir.layout import Layout
from ...ir.ops import conv, linear
from .code import Access, Finish, NodeCode, Shape, Stage, emits
from .contractions import Contraction, Operand, Plan, write_contraction
from .copies import row_operand
from .emitter import V
from .layouts import OUTPUTS_LAST, vectors_of
from .maps import write_map
from .phases import phases
from .spaces import row_major

Steps = dict[str, Dim]

# Bytes that stay in a second-level cache while others stream by, and in a third-level cache; what
# lies beyond costs that many times more.
_NEAR, _FAR = 768 * 1024, 8 * 1024 * 1024
_FAR_COST = 4

# Into how many the batch is cut where a weight of no more bytes is differentiated.
_PARTS, _SMALL = 8, 512 * 1024


def write_tiles(
    code: NodeCode,
    what: Contraction,
    vector: str,
    inner: tuple[str, ...],
    summed: tuple[str, ...],
    before: tuple[str, ...],
    behind: tuple[str, ...] = (),
) -> None:
    """Write a contraction with tiles of columns along ``inner`` by vectors along ``vector``.

    Groups of vectors come first; what is left of the axis is written as a launch of its own.

    Args:
        inner: the axis of the columns; before it, the axis of their rows, if they have any.
        before: the parallel axes, beside the vectors and columns, outside of the groups of vectors.
        behind: those inside.
    """
    lanes = code.target.lanes(what.dtype.itemsize)
    count = what.sizes[vector]
    arrays = (what.result, what.a, what.b, *what.others)
    vectors, full, rest = _groups(count, lanes, code.target.registers)

    def write(
        vectors: int, arrays: Sequence[Operand], sizes: Steps, before: tuple[str, ...]
    ) -> None:
        tile = _columns(
            [(axis, what.sizes[axis]) for axis in inner], code.target.registers, vectors
        )
        tiled = [axis for axis, _ in tile]
        around = tuple(axis for axis in (*before, *behind) if axis not in tiled)
        if "t" in sizes:
            tile += (("t", vectors),)
        result, a, b, *others = arrays
        part = replace(
            what,
            sizes={**what.sizes, **sizes},
            result=result,
            a=a,
            b=b,
            others=tuple(others),
        )
        rounds = _rounds(what.sizes, tile[0], behind) if "t" in sizes else None
        write_contraction(code, part, Plan(around, vector, tile, summed, rounds))

    if full:
        split = [array.split(vector, lanes, vectors) for array in arrays]
        write(vectors, split, {"u": full, "t": vectors, vector: lanes}, (*before, "u"))
    if rest != 0:
        left = [array.after(vector, full * vectors * lanes) for array in arrays]
        write(1, left, {vector: rest}, before)


def _groups(count: Dim, lanes: int, registers: int) -> tuple[int, int, Dim]:
    """Vectors in a group, how many whole groups there are, and how many elements are left."""
    if not isinstance(count, int):
        return 1, 0, count
    vectors = vectors_of(count, lanes, registers)
    return vectors, *divmod(count, vectors * lanes)


def _write_convolution(code: NodeCode, what: Contraction) -> None:
    """Write a convolution in the order of loops that brings the fewest bytes from far away."""
    vector, *filters = _filters(what)
    lanes = code.target.lanes(what.dtype.itemsize)
    _, groups, rest = _groups(what.sizes[vector], lanes, code.target.registers)
    weights = _known_bytes(what, [what.sizes[axis] for axis in "gocrs"])
    image = _known_bytes(what, (what.a.strides["i"], what.sizes["i"]))
    times = (groups + (rest != 0)) * _known(what.sizes[axis] for axis in filters)
    rows = _known([what.sizes["i"]])
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
    if nbytes <= _NEAR:
        return 0
    return (1 if nbytes <= _FAR else _FAR_COST) * nbytes * times


def _known(sizes: Iterable[Dim]) -> int:
    """The product of the known ones."""
    return math.prod(size for size in sizes if isinstance(size, int))


def _known_bytes(what: Contraction, sizes: Iterable[Dim]) -> int:
    return _known(sizes) * what.dtype.itemsize


def _columns(
    axes: Sequence[tuple[str, Dim]], registers: int, vectors: int
) -> tuple[tuple[str, int], ...]:
    """Columns of a tile by ``vectors``: as many as the registers hold beside the operands.

    Where the number of columns is known the tiles are as equal as they can be, else a power of two.
    Several rows make a tile together where they are short, so that what lies across the lanes is
    read less often.
    """
    *above, (axis, size) = axes
    most = max(1, (registers - vectors - 2) // vectors)
    if not isinstance(size, int):
        return ((axis, 1 << (most.bit_length() - 1)),)
    for rows, count in above:
        if isinstance(count, int) and min(count, most // max(1, size)) > 1:
            return ((rows, _even(count, most // size)), (axis, size))
    return ((axis, _even(size, most)),)


def _rounds(
    sizes: Mapping[str, Dim], tiled: tuple[str, int], behind: tuple[str, ...]
) -> tuple[str, int] | None:
    """The innermost axis inside of the groups of vectors, and its rounds, if there are some."""
    if not behind:
        return None
    axis, size = behind[-1], sizes[behind[-1]]
    rounds = -(-size // tiled[1] if axis == tiled[0] else -size) if isinstance(size, int) else 1
    return (axis, rounds) if rounds > 1 else None


def _even(size: int, most: int) -> int:
    """The length of pieces of no more than ``most`` that are as equal as they can be."""
    return -(-size // -(-size // most)) if size else 1


def _others(
    code: NodeCode, arrays: Sequence[Access], bias: bool
) -> tuple[Sequence[Access], Finish | None]:
    """The arrays that the end of each sum reads, a bias first, and what it makes of them."""
    epilogue = code.epilogue
    if epilogue is None and not bias:
        return arrays, None

    def finish(stage: Stage, lanes: int, total: V, values: Sequence[V]) -> V:
        if bias:
            total, values = stage.f.op("fadd", total, values[0]), values[1:]
        return total if epilogue is None else epilogue.apply(stage, lanes, total, values)

    return (*arrays, *(epilogue.operands if epilogue else ())), finish


# ---- matrix products ---------------------------------------------------------------------------


@emits(linear.MatMul)
def matmul(code: NodeCode) -> None:
    """x [..., m, k] times y [..., k, n], the leading axes broadcast."""
    x, y = code.operand_types
    z = code.node.result.type
    lead = z.shape[:-2]
    names = [f"b{axis}" for axis in range(len(lead))]
    sizes: Steps = dict(zip(names, lead))
    sizes |= {"m": z.shape[-2], "n": z.shape[-1], "k": x.shape[-1]}

    def over(access: Access, shape: Shape, rows: str, columns: str) -> Operand:
        wide = access.over(shape, (*lead, *shape[-2:]))
        strides = dict(zip((*names, rows, columns), wide.strides))
        return Operand(access.slot, access.dtype, strides, access.start, access.block, access.apart)

    arrays, finish = _others(code, (), bias=False)
    axes = (*names, "m", "n")

    def along(access: Access) -> Operand:
        return Operand(access.slot, access.dtype, dict(zip(axes, access.strides)), access.start)

    what = Contraction(
        z.dtype,
        sizes,
        along(code.result_access()),
        over(_rows(code, 0), x.shape, "m", "k"),
        over(code.operand_access(1), y.shape, "k", "n"),
        tuple(map(along, arrays)),
        finish,
    )
    parts = _parts(code, what) if isinstance(sizes["k"], int) else 1
    if parts == 1:
        write_tiles(code, what, "n", ("m",), ("k",), tuple(names))
        return
    chunk = ceil_div(sizes["k"], parts)
    slot = code.scratch(z.nbytes * parts)
    sums = [Access(slot, z.dtype, row_major(z.shape), start=z.size * part) for part in range(parts)]
    one = along(sums[0])
    what = replace(
        what,
        sizes={**sizes, "p": parts, "k": chunk},
        result=replace(one, strides={**one.strides, "p": z.size}),
        a=_cut(what.a, "k", chunk),
        b=_cut(what.b, "k", chunk),
        others=(),
        finish=None,
        part=("p", "k", sizes["k"]),
    )
    write_tiles(code, what, "n", ("m",), ("k",), ("p", *names))

    def total(stage: Stage, lanes: int, values: Sequence[V]) -> V:
        value = _sum(stage, values[:parts])
        return value if finish is None else finish(stage, lanes, value, values[parts:])

    write_map(code, z.shape, (*sums, *arrays), code.result_access(), total)


def _parts(code: NodeCode, what: Contraction) -> int:
    """Into how many parts the sum is cut: each has a piece of the matrix that stays near.

    One, where the matrix is read once, or all that a tile reads of it stays near.
    """
    sizes, lanes = what.sizes, code.target.lanes(what.dtype.itemsize)
    vectors, *_ = _groups(sizes["n"], lanes, code.target.registers)
    ((_, rows),) = _columns([("m", sizes["m"])], code.target.registers, vectors)
    nbytes = _known_bytes(what, [sizes["k"]]) * vectors * lanes
    once = isinstance(sizes["m"], int) and sizes["m"] <= rows
    return 1 if once or nbytes <= _NEAR else -(-nbytes // (_NEAR // 2))


def _cut(operand: Operand, axis: str, size: Dim) -> Operand:
    """With p counting pieces of an axis."""
    return replace(operand, strides={**operand.strides, "p": operand.strides[axis] * size})


def _sum(stage: Stage, values: Sequence[V]) -> V:
    value = values[0]
    for other in values[1:]:
        value = stage.f.op("fadd", value, other)
    return value


def _rows(code: NodeCode, place: int) -> Access:
    """An operand in row order, copied where it lies otherwise."""
    type_ = code.operand_types[place]
    return Access(row_operand(code, place), type_.dtype, row_major(type_.shape))


# ---- convolutions ------------------------------------------------------------------------------


@emits(conv.Conv2d)
def conv2d(code: NodeCode) -> None:
    """Convolution of an image that lies within the zeros that it reads."""
    op = code.node.op
    assert isinstance(op, conv.Conv2d)
    x, weight, *bias = code.operand_types
    y = code.node.result.type
    biases = [code.operand_access(2)] if bias else []
    over = [replace(access, strides=(0, access.strides[0], 0, 0)) for access in biases]
    arrays, finish = _others(code, over, bool(bias))
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

    Each part of the batch is summed for itself, so that its images stay in the cache while all
    taps go over them; the number of parts depends on the size of the weight alone.
    """
    op = code.node.op
    assert isinstance(op, conv.Conv2dBackwardWeight)
    x, dy = code.operand_types
    weight = code.node.result.type
    batch = x.shape[0]
    small = isinstance(weight.nbytes, int) and weight.nbytes <= _SMALL
    parts = _PARTS if small else 1
    slot = code.scratch(weight.nbytes * parts)
    one = Access.of(slot, replace(weight, layout=Layout(OUTPUTS_LAST)))
    sums = [replace(one, start=weight.size * part) for part in range(parts)]
    reads = _reads(op, code.operand_access(0), x.shape[1])
    slopes = _outputs(op, code.operand_access(1), dy.shape[1])
    chunk = ceil_div(batch, parts)

    result = _weights(op, one, weight)
    what = Contraction(
        x.dtype,
        {**_sizes(op, chunk, dy, weight), "p": parts},
        replace(result, strides={**result.strides, "p": weight.size}),
        _cut(reads, "n", chunk),
        _cut(slopes, "n", chunk),
        part=("p", "n", batch),
    )
    vector, *filters = _filters(what)
    write_tiles(code, what, vector, ("c",), ("n", "i", "j"), ("p", *filters, "r", "s"))

    write_map(
        code,
        weight.shape,
        sums,
        code.result_access(),
        lambda stage, lanes, values: _sum(stage, values),
    )


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
    arrays, finish = _others(code, (), bias=False)
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
