"""Import of convolution and pooling in one, two and three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ...ir import Dim, Value
from ...ir.attributes import Pair
from ...ir.dims import sizes
from ...ir.onnx.pads import pairs_of, same_pads
from ...ir.ops.conv import extent
from ...ir.ops.conv_nd import conv, conv_transpose
from ...ir.ops.elementwise import Add
from ...ir.ops.pool import GlobalAvgPool2d
from ...ir.ops.pool_indices import MaxPoolIndices, MaxUnpool
from ...ir.ops.pool_nd import LpPool, avg_pool, lp_root, lp_terms, max_pool
from ...ir.ops.reduce import Max, Mean, Sum
from ...ir.ops.shape import Pad, Reshape
from .call import Call
from .rules import Made, imports

Sizes = tuple[int, ...]
_MOST_PADDED = 2**24  # cells that padding makes of one


@dataclass(frozen=True)
class Window:
    """The geometry that convolution and pooling share, an item for each spatial axis."""

    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    padding: tuple[Pair, ...]
    ceil: bool


def _window(n: Call, x: Value, kernel: Sizes) -> Window:
    """The attributes of a node whose operand is x [N, C, ...]."""
    count = len(kernel)
    if x.type.rank != count + 2 or count not in (1, 2, 3):
        raise n.refuse(
            f"a kernel of {list(kernel)} over {x.type}: cauce has it for [N, C, L], [N, C, H, W] "
            "and [N, C, D, H, W]"
        )

    def each(name: str) -> Sizes:
        found = n.ints(name) or (1,) * count
        if len(found) != count:
            raise n.refuse(f"{name} {list(found)} for a kernel of {list(kernel)}")
        return found

    stride, dilation = each("strides"), each("dilations")
    auto, pads = n.text("auto_pad", "NOTSET") or "NOTSET", n.ints("pads")
    ceil = bool(n.integer("ceil_mode", 0)) and auto == "NOTSET"
    if auto in ("SAME_UPPER", "SAME_LOWER") and n.op_type != "ConvTranspose":
        extents = map(extent, kernel, dilation)
        padding = tuple(
            same_pads(size, reach, step, auto == "SAME_UPPER")
            for size, reach, step in zip(x.type.shape[2:], extents, stride)
        )
    elif auto in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        given = pads if pads and auto == "NOTSET" else (0,) * (2 * count)
        if len(given) != 2 * count or min(given) < 0:
            raise n.refuse(f"pads {list(given)} for a kernel of {list(kernel)}")
        padding = tuple(pairs_of(given))
    else:
        raise n.refuse(f"auto_pad {auto!r} is no padding")
    if prod(1 + before + after for before, after in padding) > _MOST_PADDED:
        raise n.refuse(f"pads {[list(pair) for pair in padding]} go beyond any image")
    return Window(kernel, stride, dilation, padding, ceil)


def _kernel(n: Call, weight: Value) -> Sizes:
    """The size of the kernel, which an attribute may repeat."""
    kernel = sizes(weight.type.shape[2:])
    if (n.ints("kernel_shape") or kernel) != kernel:
        raise n.refuse(f"kernel_shape differs from that of the weight {weight.type}")
    return kernel


@imports("Conv")
def _conv(n: Call) -> Made:
    """Conv-1 to 22."""
    x, weight = n.value(0), n.weight(1)
    bias = n.weight(2) if n.has(2) else None
    w = _window(n, x, _kernel(n, weight))
    op = conv(w.stride, w.padding, w.dilation, n.integer("group", 1))
    return n.b(op, x, weight, bias)


@imports("MaxPool")
def _max_pool(n: Call) -> Made:
    """MaxPool-1; 8: indices; 10: ceil_mode and dilations; 12: bytes."""
    x, order = n.value(0), n.integer("storage_order", 0)
    w = _window(n, x, n.ints("kernel_shape") or ())
    windows = (w.kernel, w.stride, w.padding, w.ceil, w.dilation)
    y = n.b(max_pool(*windows), x)
    return (y, n.b(MaxPoolIndices(*windows, order, flat=True), x)) if n.wants(1) else y


@imports("MaxUnpool")
def _max_unpool(n: Call) -> Made:
    """MaxUnpool-9 to 22.

    Indices count the cells of what was pooled: of the least size that has so many windows, unless
    a pooling of this model tells. What output_shape has more are zeros.
    """
    x, indices = n.value(0), n.value(1)
    w = _window(n, x, n.ints("kernel_shape") or ())
    size: tuple[Dim, ...] = tuple(
        s * (length - 1) + k - sum(pads)
        for length, k, s, pads in zip(x.type.shape[2:], w.kernel, w.stride, w.padding)
    )
    wanted = n.dims(2, "output_shape")[2:] if n.has(2) else size
    pooling = indices.node
    if pooling is not None and isinstance(pooling.op, MaxPoolIndices):
        pooled = pooling.operands[0].type.shape[2:]
        size = pooled if pooled == wanted else size
    y = n.b(MaxUnpool(size, flat=True), x, indices)
    if wanted == size:
        return y
    more = [whole - own for whole, own in zip(wanted, size)]
    known = [m for m in more if isinstance(m, int) and m >= 0]
    if len(known) != len(size):
        raise n.refuse(
            f"an output_shape of {list(map(str, wanted))} where the windows cover "
            f"{list(map(str, size))}",
            "give the sizes of the inputs when loading, inputs={...}",
        )
    return n.b(Pad(((0, 0), (0, 0), *((0, m) for m in known))), y)


@imports("AveragePool")
def _average_pool(n: Call) -> Made:
    """AveragePool-1; 7: count_include_pad; 10: ceil_mode; 19: dilations."""
    x = n.value(0)
    w = _window(n, x, n.ints("kernel_shape") or ())
    counted = bool(n.integer("count_include_pad", 0))
    return n.b(avg_pool(w.kernel, w.stride, w.padding, w.ceil, counted, w.dilation), x)


@imports("LpPool")
def _lp_pool(n: Call) -> Made:
    """LpPool-1; 2: p is an int; 18: ceil_mode and dilations."""
    x = n.value(0)
    w = _window(n, x, n.ints("kernel_shape") or ())
    return n.b(LpPool(w.kernel, w.stride, w.padding, w.ceil, w.dilation, _norm(n)), x)


def _norm(n: Call) -> float:
    return n.real("p", 2.0) if n.opset < 2 else float(n.integer("p", 2))


@imports("GlobalLpPool")
def _global_lp_pool(n: Call) -> Made:
    """GlobalLpPool-1; 2: p is an int."""
    x, p = n.value(0), _norm(n)
    total = n.b(Sum(tuple(range(2, x.type.rank)), keepdims=True), lp_terms(n.b, x, p))
    return lp_root(n.b, total, p)


@imports("GlobalAveragePool")
def _global_average(n: Call) -> Made:
    """GlobalAveragePool-1."""
    x = n.value(0)
    if x.type.rank == 4:
        return n.b(GlobalAvgPool2d(), x)
    return n.b(Mean(tuple(range(2, x.type.rank)), keepdims=True), x)


@imports("GlobalMaxPool")
def _global_max(n: Call) -> Made:
    """GlobalMaxPool-1."""
    x = n.value(0)
    return n.b(Max(tuple(range(2, x.type.rank)), keepdims=True), x)


@imports("ConvTranspose")
def _conv_transpose(n: Call) -> Made:
    """ConvTranspose-1 to 22: the transpose of Conv, of a map with a size.

    size = stride * (size of x - 1) + extent + output_padding - pads; where the size is given, as
    output_shape or by auto_pad, the pads are what is left. An output_shape may have more, which
    no tap reaches: zeros. (By auto_pad there are no pads then, as in ONNX's shape inference.)
    """
    x, weight = n.value(0), n.weight(1)
    kernel = _kernel(n, weight)
    count = len(kernel)
    more = n.ints("output_padding") or (0,) * count
    wanted, auto = n.ints("output_shape") or (), n.text("auto_pad", "NOTSET")
    w = _window(n, x, kernel)
    if len(more) != count or (wanted and len(wanted) not in (count, count + 2)):
        raise n.refuse(
            f"output_padding {list(more)} and output_shape {list(wanted)} for a kernel of "
            f"{list(kernel)}"
        )
    size: list[Dim] = []
    padding: list[Pair] = []
    zeros: list[Pair] = []
    for i, (length, k, s, d) in enumerate(zip(x.type.shape[2:], w.kernel, w.stride, w.dilation)):
        reached = s * (length - 1) + extent(k, d)
        before, after = w.padding[i]
        if wanted or auto.startswith("SAME"):
            given = wanted[i - count] if wanted else length * s
            left = reached + more[i] - given
            if not isinstance(left, int):
                raise n.refuse(
                    f"an output of {given} where the whole is {reached + more[i]}",
                    "give the sizes of the inputs when loading, inputs={...}",
                )
            pads = max(left, 0)
            before = pads // 2 if auto == "SAME_UPPER" else pads - pads // 2
            after = (left if wanted else pads) - before
        extra = more[i] - after  # beyond what the kernel reaches
        beyond = max(extra - (s - 1), 0)
        # Without such, as ONNX has it: what the output padding adds the pads may cut again.
        whole = beyond == 0 and after >= 0 and more[i] < s
        padding.append((before, after if whole else max(-extra, 0)))
        size.append(reached + extra - before - beyond)
        zeros.append((0, beyond))
    op = conv_transpose(w.stride, padding, w.dilation, n.integer("group", 1), size)
    y = n.b(op, x, weight)
    if any(map(any, zeros)):
        y = n.b(Pad(((0, 0), (0, 0), *zeros)), y)
    if n.has(2):
        bias = n.weight(2)
        y = n.b(Add(), y, n.b(Reshape((*bias.type.shape, *(1,) * count)), bias))
    return y
