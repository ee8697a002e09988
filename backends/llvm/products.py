"""Matrix products, linear layers and convolutions, as contractions.

The vectors of a convolution run over channels: over the outputs of a group, or, where each group
has one channel (depthwise), over the groups. Tiles in registers are some columns by two vectors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...ir import Dim, DType, TensorType
from ...ir.ops import conv, linear
from .code import Access, NodeCode, emits
from .contractions import Contraction, Operand, Plan, divisor, write_contraction
from .copies import row_operand, write_copy, write_fill
from .layouts import CHANNELS_LAST, OUTPUTS_LAST, Reorder, blocked_strides, strides
from .maps import write_map
from .spaces import Shape, broadcast_strides

Steps = dict[str, Dim]

# Bytes of weights that stay in a second-level cache while images stream by.
_NEAR = 512 * 1024


@emits(linear.MatMul)
def matmul(code: NodeCode) -> None:
    """x [..., m, k] times y [..., k, n], the leading axes broadcast."""
    x, y = code.operand_types
    (z,) = code.result_types
    lead = z.shape[:-2]
    names = [f"b{axis}" for axis in range(len(lead))]
    sizes: Steps = dict(zip(names, lead))
    sizes |= {"m": z.shape[-2], "n": z.shape[-1], "k": x.shape[-1]}
    a = {**_batch(names, x, lead), "m": x.shape[-1], "k": 1}
    b = {**_batch(names, y, lead), "k": y.shape[-1], "n": 1}
    steps = code.result_access().strides
    result = {**dict(zip(names, steps)), "m": steps[-2], "n": steps[-1]}
    what = Contraction(
        z.dtype,
        sizes,
        (*names, "m", "n"),
        Operand(code.result(), result),
        Operand(row_operand(code, 0), a),
        Operand(row_operand(code, 1), b),
    )
    vector = "n" if steps[-1] == 1 else None
    write_contraction(code, what, Plan(vector, (("m", divisor(sizes["m"], 8)),), ("k",)))


def _batch(names: Sequence[str], type_: TensorType, lead: Shape) -> Steps:
    matrix = type_.shape[-2] * type_.shape[-1]
    steps = broadcast_strides(type_.shape[:-2], lead)
    return {name: step * matrix for name, step in zip(names, steps)}


@dataclass(frozen=True)
class _Convolution:
    """A convolution as sums: y[n, g, o, i, j] = sum over c, r, s of x times weight.

    ``x`` is the padded input, addressed at the places that an output reads.
    """

    sizes: Steps
    x: Operand
    y: Operand
    weight: Operand


def _write_sums(code: NodeCode, dtype: DType, what: _Convolution) -> None:
    """Write the contraction of a convolution with the best plan for its shape."""
    lanes = code.target.lanes(dtype.itemsize)
    x, y, weight = what.x, what.y, what.weight
    vector, sizes, pairs = _vectors(what.sizes, lanes)
    tile = [("j", _columns(sizes["j"], _accumulators(code, 2 if pairs else 1)))]
    if pairs:
        x, y = _split(x, vector, lanes), _split(y, vector, lanes)
        weight = weight if "u" in weight.strides else _split(weight, vector, lanes)
        tile.append(("t", 2))
    # What is larger, images or weights, is gone through once; the other is near at hand.
    heavy = _known_size(sizes, "gocrsut") * dtype.itemsize > _NEAR
    images, filters = ("n", "i", "j"), ("g", "o", *pairs)
    parallel = (*filters, *images) if heavy else (*images, *filters)
    across = vector if y.strides[vector] == 1 else None
    contraction = Contraction(dtype, sizes, parallel, y, x, weight)
    write_contraction(code, contraction, Plan(across, tuple(tile), ("r", "s", "c")))


def _vectors(sizes: Steps, lanes: int) -> tuple[str, Steps, tuple[str, ...]]:
    """The axis across the lanes, and the sizes and further axes where it comes in pairs of vectors.

    Two vectors lie beside one another: t is which of them, the axis itself the lanes, and u counts
    the pairs.
    """
    vector = "g" if sizes["o"] == 1 and sizes["g"] != 1 else "o"
    count = sizes[vector]
    if not isinstance(count, int) or count % (2 * lanes):
        return vector, sizes, ()
    return vector, {**sizes, "u": count // (2 * lanes), "t": 2, vector: lanes}, ("u", "t")


def _known_size(sizes: Mapping[str, Dim], axes: str) -> int:
    """The product of the known sizes of some axes."""
    found = (sizes.get(axis, 1) for axis in axes)
    return math.prod(size for size in found if isinstance(size, int))


def _accumulators(code: NodeCode, vectors: int) -> int:
    """How many columns by ``vectors`` fit the registers, beside the operands."""
    return max(1, (code.target.registers - vectors - 2) // vectors)


def _columns(size: Dim, most: int) -> int:
    """Columns of a tile: as equal as they can be, none of them more than ``most``."""
    if not isinstance(size, int):
        return 1
    pieces = -(-size // most)
    return -(-size // pieces)


def _split(operand: Operand, axis: str, lanes: int) -> Operand:
    step = operand.strides.get(axis, 0)
    return replace(operand, strides={**operand.strides, "t": step * lanes, "u": step * (2 * lanes)})


@emits(conv.Conv2d)
def conv2d(code: NodeCode) -> None:
    """Convolution of the padded input; the bias is added by a map afterwards."""
    op = code.node.op
    assert isinstance(op, conv.Conv2d)
    x, weight = code.operand_types[:2]
    (y,) = code.result_types
    padded = _padded(code, op, x, code.operand_access(0))
    result = code.result_access()
    sums = result
    if len(code.operand_types) == 3:
        # The sums lie channels-last whatever the result does.
        steps = strides(y.shape, CHANNELS_LAST)
        sums = Access(code.scratch(y.nbytes), y.dtype, steps)
    what = _Convolution(
        _sizes(op, x.shape[0], y, weight),
        _reads(op, padded, x.shape[1]),
        _outputs(op, sums, y.shape[1]),
        _packed_weights(code, op, weight),
    )
    _write_sums(code, x.dtype, what)
    if sums is not result:
        bias = code.operand_access(2)
        column = replace(bias, strides=(0, bias.strides[0], 0, 0))
        write_map(
            code,
            y.shape,
            [sums, column],
            result,
            lambda stage, lanes, values: stage.f.op("fadd", values[0], values[1]),
            CHANNELS_LAST,
        )


@emits(conv.Conv2dBackwardWeight)
def conv2d_backward_weight(code: NodeCode) -> None:
    """The sum over batch and pixels, of the padded input times dy."""
    op = code.node.op
    assert isinstance(op, conv.Conv2dBackwardWeight)
    x, dy = code.operand_types
    (weight,) = code.result_types
    lanes = code.target.lanes(x.dtype.itemsize)
    padded = _padded(code, op, x, code.operand_access(0))
    steps = strides(weight.shape, OUTPUTS_LAST)
    sums = Access(code.scratch(weight.nbytes), weight.dtype, steps)
    vector, sizes, pairs = _vectors(_sizes(op, x.shape[0], dy, weight), lanes)
    result = _weights(op, sums, weight)
    reads = _reads(op, padded, x.shape[1])
    slopes = _outputs(op, code.operand_access(1), dy.shape[1])
    tile = [("c", _columns(sizes["c"], _accumulators(code, 2 if pairs else 1)))]
    if pairs:
        result, reads, slopes = (_split(part, vector, lanes) for part in (result, reads, slopes))
        tile.append(("t", 2))
    parallel = ("g", "o", "r", "s", "c", *pairs)
    what = Contraction(x.dtype, sizes, parallel, result, reads, slopes)
    write_contraction(code, what, Plan(vector, tuple(tile), ("n", "i", "j")))
    write_copy(code, weight.shape, sums, code.result_access())


@emits(conv.Conv2dBackwardData)
def conv2d_backward_data(code: NodeCode) -> None:
    """dy spread out by the stride and given borders, convolved with the flipped weight.

    With the kernel turned round, dx is a convolution of stride 1 over dy with stride - 1 zeros
    between its elements.
    """
    op = code.node.op
    assert isinstance(op, conv.Conv2dBackwardData)
    dy, weight = code.operand_types
    (dx,) = code.result_types
    kernel = conv.kernel_of(code.node.operands[1])
    extents = [d * (k - 1) + 1 for d, k in zip(op.dilation, kernel)]
    size = tuple(dx.shape[2 + i] + extents[i] - 1 for i in range(2))
    shape: Shape = (*dy.shape[:2], *size)
    spread = Access(
        code.scratch(dy.with_shape(shape).nbytes), dy.dtype, strides(shape, CHANNELS_LAST)
    )
    write_fill(code, dy.dtype, spread.slot, dy.with_shape(shape).size, 0)
    # Output i of the convolution read the input from i*S - P on: it lies at i*S + extent - 1 - P.
    source = code.operand_access(0)
    steps, start = list(spread.strides), spread.start
    space, source_start = list(dy.shape), source.start
    for i, extent in enumerate(extents):
        first = extent - 1 - op.padding[i][0]
        # With more padding than the kernel reaches, the first outputs read borders alone.
        skipped = max(0, -(first // op.stride[i]))
        space[2 + i] = _kept(dy.shape[2 + i], first, op.stride[i], size[i], skipped)
        start = start + (first + skipped * op.stride[i]) * spread.strides[2 + i]
        source_start = source_start + skipped * source.strides[2 + i]
        steps[2 + i] = steps[2 + i] * op.stride[i]
    write_copy(
        code,
        tuple(space),
        replace(source, start=source_start),
        replace(spread, strides=tuple(steps), start=start),
        CHANNELS_LAST,
    )
    # The roles of the weight's channels are exchanged: the sum runs over its outputs.
    own = _packed_weights(code, op, weight)
    o, c, r, s = (own.strides[axis] for axis in "ocrs")
    pairs = {axis: step for axis, step in own.strides.items() if axis in "ut"}
    outputs, inputs = weight.shape[0] // op.groups, weight.shape[1]
    sizes: Steps = {
        "n": dy.shape[0],
        "g": op.groups,
        "o": inputs,
        "c": outputs,
        "i": dx.shape[2],
        "j": dx.shape[3],
        "r": kernel[0],
        "s": kernel[1],
    }
    turned = Operand(
        own.slot,
        {"g": o * outputs, "o": c, "c": o, "r": -1 * r, "s": -1 * s, **pairs},
        own.start + r * (kernel[0] - 1) + s * (kernel[1] - 1),
    )
    n, channel, row, column = spread.strides
    reads = Operand(
        spread.slot,
        {
            "n": n,
            "g": channel * outputs,
            "c": channel,
            "i": row,
            "j": column,
            "r": row * op.dilation[0],
            "s": column * op.dilation[1],
        },
    )
    result = code.result_access()
    what = _Convolution(sizes, reads, _outputs(op, result, dx.shape[1]), turned)
    _write_sums(code, dy.dtype, what)


def _kept(count: Dim, first: int, stride: int, size: Dim, skipped: int) -> Dim:
    """How many elements, after those skipped, lie within ``size`` when placed ``stride`` apart."""
    room = (size - 1 - first) // stride + 1
    if isinstance(count, int) and isinstance(room, int):
        return max(0, min(count, room) - skipped)
    # Symbolic: the geometry of a convolution never leaves more elements than there is room for
    # unless the padding at the end is beyond the kernel's reach.
    return count - skipped


def _padded(code: NodeCode, op: conv.ConvBase, x: TensorType, source: Access) -> Access:
    """The padded input: written channels-last where there is padding, else x as it lies."""
    (top, bottom), (left, right) = op.padding
    if not any((top, bottom, left, right)):
        return source
    shape: Shape = (*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right)
    padded = x.with_shape(shape)
    copy = Access(code.scratch(padded.nbytes), x.dtype, strides(shape, CHANNELS_LAST))
    write_fill(code, x.dtype, copy.slot, padded.size, 0)
    start = top * copy.strides[2] + left * copy.strides[3]
    write_copy(code, x.shape, source, replace(copy, start=start), CHANNELS_LAST)
    return copy


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
    return Operand(y.slot, {"n": n, "g": o * (channels // op.groups), "o": o, "i": i, "j": j})


def _reads(op: conv.ConvBase, x: Access, channels: Dim) -> Operand:
    n, c, h, w = x.strides
    steps: Mapping[str, Dim] = {
        "n": n,
        "g": c * (channels // op.groups),
        "c": c,
        "i": h * op.stride[0],
        "j": w * op.stride[1],
        "r": h * op.dilation[0],
        "s": w * op.dilation[1],
    }
    return Operand(x.slot, steps, x.start)


def _packed_weights(code: NodeCode, op: conv.ConvBase, type_: TensorType) -> Operand:
    """The weight operand as it lies: in one order, or in blocks for pairs of vectors."""
    value = code.node.operands[1]
    assert value.node is None or isinstance(value.node.op, Reorder)
    block = code.blocks.get(value.name, 0)
    if not block:
        return _weights(op, code.operand_access(1), type_)
    order = code.orders[value.name]
    steps, apart = blocked_strides(type_.shape, order, block)
    operand = _weights(op, Access(code.operand(1), type_.dtype, steps), type_)
    more: Steps = {"t": block // 2, "u": apart}
    return replace(operand, strides={**operand.strides, **more})


def _weights(op: conv.ConvBase, weight: Access, type_: TensorType) -> Operand:
    o, c, r, s = weight.strides
    return Operand(
        weight.slot, {"g": o * (type_.shape[0] // op.groups), "o": o, "c": c, "r": r, "s": s}
    )
