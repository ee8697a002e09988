"""Export of convolution and its backward ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir import Dim, Node
from ...ir.attributes import Pair
from ...ir.dims import sizes
from ...ir.onnx.pads import pads_of
from ...ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight, Convolution, extent
from ...ir.ops.conv_nd import Conv, ConvTranspose
from .rules import exports
from .writer import Writer


@exports(Conv2d, Conv)
def _conv(w: Writer, op: Convolution, node: Node, x: str, weight: str, bias: str = "") -> str:
    return w("Conv", x, weight, bias, pads=pads_of(op.padding), **_window(op, node))


@exports(Conv2dBackwardData, ConvTranspose)
def _backward_data(
    w: Writer, op: Conv2dBackwardData | ConvTranspose, node: Node, dy: str, weight: str
) -> str:
    return transposed_conv(w, dy, weight, op.padding, op.size, **_window(op, node))


def _window(op: Convolution, node: Node) -> dict[str, Any]:
    """What a convolution and its transpose take beside the padding."""
    kernel = sizes(node.operands[1].type.shape[2:])
    steps = {"strides": op.stride, "dilations": op.dilation}
    return {"kernel_shape": kernel, **steps, "group": op.groups}


def transposed_conv(
    w: Writer, dy: str, weight: str, padding: Sequence[Pair], size: tuple[Dim, ...], **window: Any
) -> str:
    """The transpose of a convolution of x [N, C, *size], with a ``window`` as ONNX names it.

    ConvTranspose gives S*(H' - 1) + E + output_padding rows less the pads, where E is the extent
    of the kernel, so the output padding is what the stride left over: (H + P_top + P_bottom - E)
    mod S. Where that depends on a size known only at run time, the most that it can be is written,
    and the rows that are too many are sliced off.
    """
    strides, dilations, kernel = window["strides"], window["dilations"], window["kernel_shape"]
    left = [
        _remainder(length + sum(pads) - extent(k, d), s)
        for length, pads, d, k, s in zip(size, padding, dilations, kernel, strides)
    ]
    known = [rest for rest in left if rest is not None]
    if len(known) == len(left):
        pads = pads_of(padding)
        return w("ConvTranspose", dy, weight, pads=pads, output_padding=known, **window)
    most = [s - 1 for s in strides]
    padded = w("ConvTranspose", dy, weight, output_padding=most, **window)
    return crop(w, padded, padding, size)


@exports(Conv2dBackwardWeight)
def _backward_weight(w: Writer, op: Conv2dBackwardWeight, node: Node, x: str, dy: str) -> str:
    """A convolution in which channels and batch change roles, and stride and dilation too:
    dy is the kernel that slides over x, one place for each cell of the weight.

    With groups, x [N, G*C, H, W] becomes [C, G*N, H, W], and dy [O, N, H', W'].
    """
    n, channels, *size = node.operands[0].type.shape
    if op.groups == 1:
        x = w("Transpose", x, perm=(1, 0, 2, 3))
    else:
        per_group = node.result.type.shape[1]
        split: tuple[Dim, ...] = (n, op.groups, per_group, *size)
        x = w.reshape(x, (n, channels, *size), split)
        x = w("Transpose", x, perm=(2, 1, 0, 3, 4))
        merged: tuple[Dim, ...] = (per_group, op.groups * n, *size)
        x = w.reshape(x, (per_group, op.groups, n, *size), merged)
    window = {"strides": op.dilation, "dilations": op.stride, "group": op.groups}
    turned = w("Transpose", dy, perm=(1, 0, 2, 3))
    swapped = w("Conv", x, turned, pads=pads_of(op.padding), **window)
    # Where the stride left rows of x over, there is room for more places than the kernel has.
    dw = w("Slice", swapped, w.ints([0, 0]), w.ints(op.kernel), w.ints([2, 3]))
    return w("Transpose", dw, perm=(1, 0, 2, 3))


def crop(w: Writer, x: str, pads: Sequence[Pair], size: tuple[Dim, ...]) -> str:
    """The rows and columns of x [N, C, H, W] from the padding on, as many as ``size`` says."""
    starts = [before for before, _ in pads]
    stops = [start + length for start, length in zip(starts, size)]
    return w("Slice", x, w.ints(starts), w.ints(stops), w.ints(list(range(2, 2 + len(size)))))


def _remainder(dim: Dim, divisor: int) -> int | None:
    """``dim`` mod ``divisor`` where that is known."""
    rest = dim - dim // divisor * divisor
    return rest if isinstance(rest, int) else None
