"""Import of convolution and pooling. What has one spatial dimension gets a second of size 1."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Dim, Value
from ...ir.attributes import Padding, Pair
from ...ir.dims import sizes
from ...ir.onnx.pads import pairs_of, same_pads
from ...ir.ops.conv import Conv2d, Conv2dBackwardData, extent
from ...ir.ops.elementwise import Add
from ...ir.ops.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from ...ir.ops.reduce import Max, Mean
from ...ir.ops.shape import Reshape
from .call import Call
from .rules import Made, imports


@dataclass(frozen=True)
class Window:
    """The geometry that convolution and pooling share."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: Padding
    ceil: bool = False


def _as_image(n: Call, x: Value) -> Value:
    """x [N, C, L] as [N, C, 1, L], and [N, C, H, W] as it is."""
    if x.type.rank == 4:
        return x
    if x.type.rank != 3:
        raise n.refuse(
            f"its operand {x.type} has {x.type.rank} dimensions, and cauce has it for "
            "[N, C, L] and [N, C, H, W]"
        )
    lead, last = x.type.shape[:2], x.type.shape[2]
    return n.b(Reshape((*lead, 1, last)), x)


def _as_before(n: Call, y: Value, x: Value) -> Value:
    """The result for ``x``, with as many dimensions as it has."""
    if x.type.rank == 4:
        return y
    return n.b(Reshape((*y.type.shape[:2], y.type.shape[3])), y)


def _window(n: Call, x: Value, kernel: tuple[int, ...]) -> Window:
    """The attributes of a node whose operand is the image ``x`` [N, C, H, W]."""
    count = len(kernel)
    if count not in (1, 2):
        raise n.refuse(f"a kernel of {list(kernel)}: cauce has one and two dimensions")

    def pair(name: str) -> Pair:
        found = n.ints(name) or (1,) * count
        if len(found) != count:
            raise n.refuse(f"{name} {list(found)} for a kernel of {list(kernel)}")
        first, last = (1, *found)[-2:]
        return first, last

    stride, dilation = pair("strides"), pair("dilations")
    first, last = (1, *kernel)[-2:]
    auto, pads = n.text("auto_pad", "NOTSET") or "NOTSET", n.ints("pads")
    ceil = bool(n.integer("ceil_mode", 0)) and auto == "NOTSET"
    padding: Padding
    if auto in ("SAME_UPPER", "SAME_LOWER") and n.op_type != "ConvTranspose":
        rows, columns = (
            same_pads(size, extent(k, d), s, auto == "SAME_UPPER")
            for size, k, d, s in zip(x.type.shape[2:], (first, last), dilation, stride)
        )
        padding = ((0, 0) if count == 1 else rows, columns)
    elif auto in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        given = pads if pads and auto == "NOTSET" else (0,) * (2 * count)
        if len(given) != 2 * count or min(given) < 0:
            raise n.refuse(f"pads {list(given)} for a kernel of {list(kernel)}")
        above, beside = [(0, 0), *pairs_of(given)][-2:]
        padding = (above, beside)
    else:
        raise n.refuse(f"auto_pad {auto!r} is no padding")
    return Window((first, last), stride, dilation, padding, ceil)


def _kernel(n: Call, weight: Value) -> tuple[int, ...]:
    """The size of the kernel, which an attribute may repeat."""
    kernel = sizes(weight.type.shape[2:])
    if (n.ints("kernel_shape") or kernel) != kernel:
        raise n.refuse(f"kernel_shape differs from that of the weight {weight.type}")
    return kernel


@imports("Conv")
def _conv(n: Call) -> Made:
    """Conv-1 to 22."""
    source, weight = n.value(0), n.weight(1)
    bias = n.weight(2) if n.has(2) else None
    kernel = _kernel(n, weight)
    x = _as_image(n, source)
    w = _window(n, x, kernel)
    op = Conv2d(w.stride, w.padding, w.dilation, n.integer("group", 1))
    return _as_before(n, n.b(op, x, _as_image(n, weight), bias), source)


@imports("MaxPool")
def _max_pool(n: Call) -> Made:
    """MaxPool-1; 8: indices; 10: ceil_mode and dilations."""
    n.only(1)
    n.ignore("storage_order")
    source = n.value(0)
    x = _as_image(n, source)
    w = _window(n, x, n.ints("kernel_shape") or ())
    y = n.b(MaxPool2d(w.kernel, w.stride, w.padding, w.ceil, w.dilation), x)
    return _as_before(n, y, source)


@imports("AveragePool")
def _average_pool(n: Call) -> Made:
    """AveragePool-1; 7: count_include_pad; 10: ceil_mode; 19: dilations."""
    source = n.value(0)
    x = _as_image(n, source)
    w = _window(n, x, n.ints("kernel_shape") or ())
    if w.dilation != (1, 1):
        raise n.refuse(f"dilations {list(w.dilation)}: cauce averages over whole windows")
    counted = bool(n.integer("count_include_pad", 0))
    y = n.b(AvgPool2d(w.kernel, w.stride, w.padding, w.ceil, counted), x)
    return _as_before(n, y, source)


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
    """ConvTranspose-1 to 22: the transpose of Conv, of a map with size (H, W).

    size = stride * (H' - 1) + extent + output_padding - pads; where the size is given, as
    output_shape or by auto_pad, the pads are what is left.
    """
    source, weight = n.value(0), n.weight(1)
    kernel = _kernel(n, weight)
    count = len(kernel)
    x, more = _as_image(n, source), (0, *(n.ints("output_padding") or (0,) * count))[-2:]
    wanted, auto = n.ints("output_shape"), n.text("auto_pad", "NOTSET")
    w = _window(n, x, kernel)
    if any(m >= s for m, s in zip(more, w.stride)):
        raise n.refuse(f"output_padding {list(more)} is not below the strides {list(w.stride)}")
    size: list[Dim] = []
    padding = list(w.padding)
    for i, (length, k, s, d) in enumerate(zip(x.type.shape[2:], w.kernel, w.stride, w.dilation)):
        whole = s * (length - 1) + extent(k, d) + more[i]
        given: Dim | None = None
        if count == 2 or i == 1:
            if wanted:
                given = wanted[i - 2]
            elif auto.startswith("SAME"):
                given = length * s
        if given is not None:
            left = whole - given
            if not isinstance(left, int) or left < 0:
                raise n.refuse(f"an output of {given} where the whole is {whole}")
            less, larger = left // 2, left - left // 2
            padding[i] = (less, larger) if auto == "SAME_UPPER" else (larger, less)
        size.append(whole - sum(padding[i]))
    op = Conv2dBackwardData(
        w.stride, (padding[0], padding[1]), w.dilation, n.integer("group", 1), size=tuple(size)
    )
    y = n.b(op, x, _as_image(n, weight))
    if n.has(2):
        bias = n.weight(2)
        y = n.b(Add(), y, n.b(Reshape((*bias.type.shape, 1, 1)), bias))
    return _as_before(n, y, source)
