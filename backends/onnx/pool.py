"""Export of max and average pooling over windows of a fixed size.

Ceil mode is written as more padding after the input (see ``ir/ops/pool.py``): what the runtimes
make of the attribute ceil_mode differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Dim, DType, Node
from ...ir.attributes import Padding
from ...ir.onnx.pads import pads_of
from ...ir.ops import pool as ops
from .conv import crop, transposed_conv
from .rules import HALVES_IN_F32, exports, exports_as, not_in_f64
from .writer import Writer

_NONE: Padding = ((0, 0), (0, 0))

exports_as({ops.GlobalAvgPool2d: "GlobalAveragePool"}, applies=not_in_f64)


@exports(ops.MaxPool2d)
def _max_pool2d(w: Writer, op: ops.MaxPool2d, node: Node, x: str) -> str:
    x, attributes, _ = _max_windows(w, op, node, x)
    return w("MaxPool", x, **attributes)


@exports(ops.MaxPool2dBackward, carriers=HALVES_IN_F32)
def _max_pool2d_backward(w: Writer, op: ops.MaxPool2dBackward, node: Node, x: str, dy: str) -> str:
    """The second result of MaxPool tells where the first maximum of each window is, as a flat
    index into x [N, C, H, W]."""
    x, attributes, border = _max_windows(w, op, node, x)
    places = w.results(2, "MaxPool", x, **attributes)[1]
    line = w.ints([-1])
    size = w("Shape", w("Reshape", x, line))
    zeros = w("Expand", w.constant(0, node.result.type.dtype), size)
    flat_places, flat_dy = w("Reshape", places, line), w("Reshape", dy, line)
    added = w("ScatterElements", zeros, flat_places, flat_dy, axis=0, reduction="add")
    dx = w("Reshape", added, w("Shape", x))
    return dx if border == _NONE else crop(w, dx, border, node.result.type.shape[2:])


@exports(ops.MaxPool2dSelect)
def _max_pool2d_select(w: Writer, op: ops.MaxPool2dSelect, node: Node, x: str, g: str) -> str:
    x, attributes, border = _max_windows(w, op, node, x)
    places = w.results(2, "MaxPool", x, **attributes)[1]
    if border != _NONE:
        g = _bordered(w, g, border, 0.0, node.result.type.dtype)
    return w("Gather", w("Reshape", g, w.ints([-1])), places, axis=0)


def _max_windows(
    w: Writer, op: ops.MaxWindows, node: Node, x: str
) -> tuple[str, dict[str, Any], Padding]:
    """x, the attributes of MaxPool, and the border of -inf that x was given where ONNX Runtime
    has no such padding: it takes less than the kernel size, even where that is dilated."""
    reach = (op.reach(0), op.reach(1))
    attributes: dict[str, Any] = {
        "kernel_shape": op.kernel_size,
        "strides": op.stride,
        "dilations": op.dilation,
    }
    if all(max(pads) < kernel for pads, kernel in zip(reach, op.kernel_size)):
        return x, {**attributes, "pads": pads_of(reach)}, _NONE
    return _bordered(w, x, reach, -np.inf, node.operands[0].type.dtype), attributes, reach


def _bordered(w: Writer, x: str, pads: Padding, value: float, dtype: DType) -> str:
    (top, bottom), (left, right) = pads
    borders = w.ints([0, 0, top, left, 0, 0, bottom, right])
    return w("Pad", x, borders, w.constant(value, dtype), mode="constant")


@exports(ops.AvgPool2d)
def _avg_pool2d(w: Writer, op: ops.AvgPool2d, node: Node, x: str) -> str:
    """What ceil mode adds never counts; so where padding counts it becomes part of the input."""
    reach = (op.reach(0), op.reach(1))
    pads, counted = reach, op.count_include_pad
    if counted and reach != op.padding:
        if op.padding != _NONE:
            x = _bordered(w, x, op.padding, 0.0, node.operands[0].type.dtype)
        (_, bottom), (_, right) = op.padding
        pads, counted = ((0, reach[0][1] - bottom), (0, reach[1][1] - right)), False
    return w(
        "AveragePool",
        x,
        kernel_shape=op.kernel_size,
        strides=op.stride,
        pads=pads_of(pads),
        count_include_pad=int(counted),
    )


@exports(ops.AvgPool2dBackward)
def _avg_pool2d_backward(w: Writer, op: ops.AvgPool2dBackward, node: Node, dy: str) -> str:
    """Each window gives dy / the number of its cells to its cells: a transposed convolution of
    every channel by itself, [N*C, 1, H', W'], with a kernel of ones."""
    dtype = node.result.type.dtype
    shape, wide = node.operands[0].type.shape, node.result.type.shape
    rows, columns = (_divisors(w, op, axis, shape[2 + axis], wide[2 + axis]) for axis in (0, 1))
    areas = w("Mul", w("Unsqueeze", rows, w.ints([1])), columns)
    share = w("Div", dy, w.cast(areas, dtype))
    images = shape[0] * shape[1]
    share = w.reshape(share, shape, (images, 1, *shape[2:]))
    ones = w.constant(np.ones((1, 1, *op.kernel_size)), dtype)
    window = {"kernel_shape": op.kernel_size, "strides": op.stride or op.kernel_size}
    reach = (op.reach(0), op.reach(1))
    dx = transposed_conv(w, share, ones, reach, wide[2:], dilations=(1, 1), group=1, **window)
    return w.reshape(dx, (images, 1, *wide[2:]), wide)


def _divisors(w: Writer, op: ops.AvgPool2dBackward, axis: int, count: Dim, size: Dim) -> str:
    """The number of cells that count in each window along an axis, i64[count]."""
    kernel, stride, (before, after), _ = op.geometry(axis)
    starts = w("Mul", w.range(count), w.ints([stride]))
    starts = w("Sub", starts, w.ints([before]))
    stops = w(
        "Min", w("Add", starts, w.ints([kernel])), w.size(size + after * op.count_include_pad)
    )
    return w("Sub", stops, starts if op.count_include_pad else w("Max", starts, w.ints([0])))
