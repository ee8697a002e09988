"""Matrix products, linear layers and convolutions, as contractions."""

from __future__ import annotations

from ...ir import Dim, TensorType
from ...ir.ops import conv, linear
from .code import NodeCode, emits
from .contractions import Contraction, Operand, Plan, divisor, write_contraction
from .copies import write_copy, write_fill
from .maps import Access, write_map
from .spaces import Shape, broadcast_strides, row_major


@emits(linear.MatMul)
def matmul(code: NodeCode) -> None:
    """x [..., m, k] times y [..., k, n], the leading axes broadcast."""
    x, y = code.operand_types
    (z,) = code.result_types
    lead = z.shape[:-2]
    names = [f"b{axis}" for axis in range(len(lead))]
    sizes: dict[str, Dim] = dict(zip(names, lead))
    sizes |= {"m": z.shape[-2], "n": z.shape[-1], "k": x.shape[-1]}
    a = {**_batch(names, x, lead), "m": x.shape[-1], "k": 1}
    b = {**_batch(names, y, lead), "k": y.shape[-1], "n": 1}
    strides = row_major(z.shape)
    result = {**dict(zip(names, strides)), "m": strides[-2], "n": 1}
    what = Contraction(
        z.dtype,
        sizes,
        (*names, "m", "n"),
        Operand(code.result(), result),
        Operand(code.operand(0), a),
        Operand(code.operand(1), b),
    )
    write_contraction(code, what, Plan("n", (("m", divisor(sizes["m"], 8)),), ("k",)))


def _batch(names: list[str], type_: TensorType, lead: Shape) -> dict[str, Dim]:
    matrix = type_.shape[-2] * type_.shape[-1]
    steps = broadcast_strides(type_.shape[:-2], lead)
    return {name: step * matrix for name, step in zip(names, steps)}


@emits(conv.Conv2d)
def conv2d(code: NodeCode) -> None:
    """Convolution of the padded input; the bias is added by a map afterwards."""
    op = code.node.op
    assert isinstance(op, conv.Conv2d)
    x, weight = code.operand_types[:2]
    (y,) = code.result_types
    padded, slot = _padded(code, op, x, code.operand(0))
    sums = code.result() if len(code.operand_types) == 2 else code.scratch(y.nbytes)
    sizes = _sizes(op, x.shape[0], y, weight)
    what = Contraction(
        x.dtype,
        sizes,
        ("n", "g", "o", "i", "j"),
        Operand(sums, _output_strides(op, y.shape)),
        Operand(slot, _input_strides(op, padded)),
        Operand(code.operand(1), _weight_strides(op, weight)),
    )
    write_contraction(
        code,
        what,
        Plan("j", (("i", divisor(sizes["i"], 2)), ("o", divisor(sizes["o"], 4))), ("c", "r", "s")),
    )
    if len(code.operand_types) == 3:
        bias = code.operand_types[2]
        column = broadcast_strides((*bias.shape, 1, 1), y.shape)
        write_map(
            code,
            y.shape,
            [
                Access(sums, y.dtype, row_major(y.shape)),
                Access(code.operand(2), y.dtype, column),
            ],
            Access(code.result(), y.dtype, row_major(y.shape)),
            lambda stage, lanes, values: stage.f.op("fadd", values[0], values[1]),
        )


@emits(conv.Conv2dBackwardWeight)
def conv2d_backward_weight(code: NodeCode) -> None:
    """The sum over batch and pixels, of the padded input times dy."""
    op = code.node.op
    assert isinstance(op, conv.Conv2dBackwardWeight)
    x, dy = code.operand_types
    (weight,) = code.result_types
    padded, slot = _padded(code, op, x, code.operand(0))
    sizes = _sizes(op, x.shape[0], dy, weight)
    what = Contraction(
        x.dtype,
        sizes,
        ("g", "o", "c", "r", "s"),
        Operand(code.result(), _weight_strides(op, weight)),
        Operand(slot, _input_strides(op, padded)),
        Operand(code.operand(1), _output_strides(op, dy.shape)),
    )
    tile = (("c", divisor(sizes["c"], 4)), ("o", divisor(sizes["o"], 4)))
    write_contraction(code, what, Plan(None, tile, ("n", "i", "j"), across="j"))


@emits(conv.Conv2dBackwardData)
def conv2d_backward_data(code: NodeCode) -> None:
    """dy spread out by the stride and given borders, convolved with the flipped weight.

    dx[a] = sum over r of spread[a + D*(K - 1) - r*D + ...] * weight[r]: with the kernel turned
    round this is a convolution of stride 1 over dy with stride - 1 zeros between its elements.
    """
    op = code.node.op
    assert isinstance(op, conv.Conv2dBackwardData)
    dy, weight = code.operand_types
    (dx,) = code.result_types
    kernel = conv.kernel_of(code.node.operands[1])
    batch, channels = dy.shape[:2]
    extents = [d * (k - 1) + 1 for d, k in zip(op.dilation, kernel)]
    size = tuple(dx.shape[2 + i] + extents[i] - 1 for i in range(2))
    spread: Shape = (batch, channels, *size)
    slot = code.scratch(dy.with_shape(spread).nbytes)
    write_fill(code, dy.dtype, slot, dy.with_shape(spread).size, 0)
    own = row_major(spread)
    # Output i of the convolution read the input from i*S - P on: it lies at i*S + extent - 1 - P.
    start: Dim = 0
    space = list(dy.shape)
    strides = [*own[:2], own[2] * op.stride[0], own[3] * op.stride[1]]
    source_start: Dim = 0
    for i, extent in enumerate(extents):
        first = extent - 1 - op.padding[i][0]
        # With more padding than the kernel reaches, the first outputs read borders alone.
        skipped = max(0, -(first // op.stride[i]))
        space[2 + i] = _kept(dy.shape[2 + i], first, op.stride[i], size[i], skipped)
        start = start + (first + skipped * op.stride[i]) * own[2 + i]
        source_start = source_start + skipped * row_major(dy.shape)[2 + i]
    write_copy(
        code,
        dy.dtype,
        tuple(space),
        code.operand(0),
        row_major(dy.shape),
        slot,
        tuple(strides),
        source_start=source_start,
        result_start=start,
    )
    sizes: dict[str, Dim] = {
        "n": batch,
        "g": op.groups,
        "o": weight.shape[0] // op.groups,
        "c": weight.shape[1],
        "i": dx.shape[2],
        "j": dx.shape[3],
        "r": kernel[0],
        "s": kernel[1],
    }
    forward = _weight_strides(op, weight)
    turned = {**forward, "r": -1 * forward["r"], "s": -1 * forward["s"]}
    last = forward["r"] * (kernel[0] - 1) + forward["s"] * (kernel[1] - 1)
    group = sizes["o"] * own[1]
    reads = {
        "n": own[0],
        "g": group,
        "o": own[1],
        "i": own[2],
        "j": own[3],
        "r": own[2] * op.dilation[0],
        "s": own[3] * op.dilation[1],
    }
    target = row_major(dx.shape)
    writes = {
        "n": target[0],
        "g": target[1] * sizes["c"],
        "c": target[1],
        "i": target[2],
        "j": target[3],
    }
    what = Contraction(
        dy.dtype,
        sizes,
        ("n", "g", "c", "i", "j"),
        Operand(code.result(), writes),
        Operand(slot, reads),
        Operand(code.operand(1), turned, last),
    )
    tile = (("i", divisor(sizes["i"], 2)), ("c", divisor(sizes["c"], 4)))
    write_contraction(code, what, Plan("j", tile, ("o", "r", "s")))


def _kept(count: Dim, first: int, stride: int, size: Dim, skipped: int) -> Dim:
    """How many elements, after those skipped, lie within ``size`` when placed ``stride`` apart."""
    room = (size - 1 - first) // stride + 1
    if isinstance(count, int) and isinstance(room, int):
        return max(0, min(count, room) - skipped)
    # Symbolic: the geometry of a convolution never leaves more elements than there is room for
    # unless the padding at the end is beyond the kernel's reach.
    return count - skipped


def _padded(code: NodeCode, op: conv.ConvBase, x: TensorType, slot: int) -> tuple[Shape, int]:
    """The shape of the padded input and its buffer, written first where there is padding."""
    (top, bottom), (left, right) = op.padding
    if not any((top, bottom, left, right)):
        return x.shape, slot
    shape: Shape = (*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right)
    padded = x.with_shape(shape)
    copy = code.scratch(padded.nbytes)
    strides = row_major(shape)
    write_fill(code, x.dtype, copy, padded.size, 0)
    start = top * strides[2] + left * strides[3]
    write_copy(code, x.dtype, x.shape, slot, row_major(x.shape), copy, strides, result_start=start)
    return shape, copy


def _sizes(op: conv.ConvBase, batch: Dim, y: TensorType, weight: TensorType) -> dict[str, Dim]:
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


def _output_strides(op: conv.ConvBase, shape: Shape) -> dict[str, Dim]:
    n, o, i, j = row_major(shape)
    return {"n": n, "g": o * (shape[1] // op.groups), "o": o, "i": i, "j": j}


def _input_strides(op: conv.ConvBase, shape: Shape) -> dict[str, Dim]:
    n, c, h, w = row_major(shape)
    return {
        "n": n,
        "g": c * (shape[1] // op.groups),
        "c": c,
        "i": h * op.stride[0],
        "j": w * op.stride[1],
        "r": h * op.dilation[0],
        "s": w * op.dilation[1],
    }


def _weight_strides(op: conv.ConvBase, weight: TensorType) -> dict[str, Dim]:
    o, c, r, s = row_major(weight.shape)
    return {"g": o * (weight.shape[0] // op.groups), "o": o, "c": c, "r": r, "s": s}
