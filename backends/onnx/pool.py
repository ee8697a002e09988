"""Export of pooling over windows of a fixed size.

Ceil mode is written as more padding after the input (see ``ir/ops/pool.py``): what the runtimes
make of the attribute ceil_mode differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Dim, DType, Node
from ...ir.attributes import Pair
from ...ir.dims import product
from ...ir.onnx.pads import pads_of
from ...ir.ops import pool as ops
from ...ir.ops import pool_nd
from ...ir.ops.pool_indices import MaxPool2dIndices, MaxPoolIndices
from .conv import crop, transposed_conv
from .rules import HALVES_IN_F32, exports, exports_as, not_in_f64
from .writer import Writer

exports_as({ops.GlobalAvgPool2d: "GlobalAveragePool"}, applies=not_in_f64)


def _reach(op: ops.FixedWindows) -> tuple[Pair, ...]:
    """The padding of each axis, with what ceil mode adds after the input."""
    return tuple(op.reach(axis) for axis in range(op.axes))


def _within(node: Node) -> bool:
    """ONNX Runtime has the padding: it takes less than the kernel size."""
    op = node.op
    assert isinstance(op, ops.FixedWindows)
    return all(max(pads) < kernel for pads, kernel in zip(_reach(op), op.kernel_size))


def _some(pads: Sequence[Pair]) -> bool:
    """Whether there is any padding."""
    return any(map(any, pads))


def _whole_windows(node: Node) -> bool:
    """The rule is right but for dilated windows in other than two dimensions."""
    op = node.op
    assert isinstance(op, ops.Counting)
    return op.axes == 2 or set(op.dilations()) == {1}


def _whole_norm(node: Node) -> bool:
    """ONNX Runtime is exact for whole p, and has no dilations."""
    op = node.op
    assert isinstance(op, pool_nd.LpPool)
    return not_in_f64(node) and op.p == int(op.p) and set(op.dilation) == {1}


@exports(ops.MaxPool2d, pool_nd.MaxPool)
def _max_pool(w: Writer, op: ops.MaxPool2d | pool_nd.MaxPool, node: Node, x: str) -> str:
    x, attributes, _ = _max_windows(w, op, node, x)
    return w("MaxPool", x, **attributes)


@exports(pool_nd.LpPool, applies=_whole_norm)
def _lp_pool(w: Writer, op: pool_nd.LpPool, node: Node, x: str) -> str:
    attributes = {"kernel_shape": op.kernel_size, "strides": op.strides(), "p": int(op.p)}
    return w("LpPool", x, pads=pads_of(_reach(op)), **attributes)


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
    return dx if not border else crop(w, dx, border, node.result.type.shape[2:])


@exports(ops.MaxPool2dSelect)
def _max_pool2d_select(w: Writer, op: ops.MaxPool2dSelect, node: Node, x: str, g: str) -> str:
    x, attributes, border = _max_windows(w, op, node, x)
    places = w.results(2, "MaxPool", x, **attributes)[1]
    if border:
        g = _bordered(w, g, border, 0.0, node.result.type.dtype)
    return w("Gather", w("Reshape", g, w.ints([-1])), places, axis=0)


def _max_windows(
    w: Writer, op: ops.FixedWindows, node: Node, x: str
) -> tuple[str, dict[str, Any], tuple[Pair, ...]]:
    """x, the attributes of MaxPool, and the border of -inf that x was given where ONNX Runtime
    has no such padding: it takes less than the kernel size, even where that is dilated."""
    reach = _reach(op)
    attributes: dict[str, Any] = {
        "kernel_shape": op.kernel_size,
        "strides": op.stride,
        "dilations": op.dilations(),
    }
    if _within(node):
        return x, {**attributes, "pads": pads_of(reach)}, ()
    dtype = node.operands[0].type.dtype
    return _bordered(w, x, reach, ops.lowest(dtype), dtype), attributes, reach


def _bordered(w: Writer, x: str, pads: Sequence[Pair], value: float, dtype: DType) -> str:
    borders = w.ints(pads_of([(0, 0), (0, 0), *pads]))
    return w("Pad", x, borders, w.constant(value, dtype), mode="constant")


@exports(ops.AvgPool2d, pool_nd.AvgPool, applies=_whole_windows)
def _avg_pool(w: Writer, op: ops.AvgPool2d | pool_nd.AvgPool, node: Node, x: str) -> str:
    """What ceil mode adds never counts; so where padding counts it becomes part of the input."""
    if set(op.dilation) != {1}:
        return _dilated_average(w, op, node, x)
    reach = _reach(op)
    pads, counted = reach, op.count_include_pad
    if counted and reach != op.padding:
        if _some(op.padding):
            x = _bordered(w, x, op.padding, 0.0, node.operands[0].type.dtype)
        pads = tuple((0, wide[1] - own[1]) for wide, own in zip(reach, op.padding))
        counted = False
    return w(
        "AveragePool",
        x,
        kernel_shape=op.kernel_size,
        strides=op.stride,
        pads=pads_of(pads),
        count_include_pad=int(counted),
    )


def _dilated_average(w: Writer, op: ops.Counting, node: Node, x: str) -> str:
    """AveragePool has dilations from opset 19 on alone. The sum of a dilated window is a
    convolution of every channel by itself, [N*C, 1, H, W], with a kernel of ones."""
    dtype = node.result.type.dtype
    shape, small = node.operands[0].type.shape, node.result.type.shape
    images = shape[0] * shape[1]
    x = w.reshape(x, shape, (images, 1, *shape[2:]))
    ones = w.constant(np.ones((1, 1, *op.kernel_size)), dtype)
    window = {"strides": op.stride, "dilations": op.dilations(), "pads": pads_of(_reach(op))}
    total = w("Conv", x, ones, kernel_shape=op.kernel_size, **window)
    total = w.reshape(total, (images, 1, *small[2:]), small)
    return w("Div", total, _areas(w, op, small, shape, dtype))


@exports(ops.AvgPool2dBackward)
def _avg_pool2d_backward(w: Writer, op: ops.AvgPool2dBackward, node: Node, dy: str) -> str:
    """Each window gives dy / the number of its cells to its cells: a transposed convolution of
    every channel by itself, [N*C, 1, H', W'], with a kernel of ones."""
    dtype = node.result.type.dtype
    shape, wide = node.operands[0].type.shape, node.result.type.shape
    share = w("Div", dy, _areas(w, op, shape, wide, dtype))
    images = shape[0] * shape[1]
    share = w.reshape(share, shape, (images, 1, *shape[2:]))
    ones = w.constant(np.ones((1, 1, *op.kernel_size)), dtype)
    window = {"kernel_shape": op.kernel_size, "strides": op.stride, "dilations": op.dilation}
    dx = transposed_conv(w, share, ones, _reach(op), wide[2:], group=1, **window)
    return w.reshape(dx, (images, 1, *wide[2:]), wide)


def _areas(
    w: Writer, op: ops.Counting, y: tuple[Dim, ...], x: tuple[Dim, ...], dtype: DType
) -> str:
    """The number of cells that count in each window, [H', W']."""
    rows, columns = (_divisors(w, op, axis, y[2 + axis], x[2 + axis]) for axis in (0, 1))
    return w.cast(w("Mul", w("Unsqueeze", rows, w.ints([1])), columns), dtype)


def _divisors(w: Writer, op: ops.Counting, axis: int, count: Dim, size: Dim) -> str:
    """The number of cells that count in each window along an axis, i64[count]."""
    _, stride, (before, after), step = op.geometry(axis)
    starts = w("Mul", w.range(count), w.ints([stride]))
    starts = w("Sub", starts, w.ints([before]))
    end = w("Add", starts, w.ints([op.extent(axis)]))
    stops = w("Min", end, w.size(size + after * op.count_include_pad))
    if step == 1:
        return w("Sub", stops, starts if op.count_include_pad else w("Max", starts, w.ints([0])))
    if not op.count_include_pad:  # the first cell inside: start, or start mod step where below 0
        starts = w("Max", starts, w("Mod", starts, w.ints([step])))
    cells = w("Div", w("Add", w("Sub", stops, starts), w.ints([step - 1])), w.ints([step]))
    return w("Max", cells, w.ints([1]))


@exports(MaxPoolIndices, applies=_within)
def _max_pool_indices(w: Writer, op: MaxPoolIndices, node: Node, x: str) -> str:
    """The second result of MaxPool, which counts on from plane to plane."""
    _, attributes, _ = _max_windows(w, op, node, x)
    place = w.results(2, "MaxPool", x, storage_order=op.storage_order, **attributes)[1]
    plane = product(node.operands[0].type.shape[2:])
    return place if op.flat else w("Mod", place, w.size(plane))


@exports(MaxPool2dIndices)
def _max_pool2d_indices(w: Writer, op: MaxPool2dIndices, node: Node, x: str) -> str:
    """The second result of MaxPool is a flat index into all of x, which may have a border."""
    height, width = node.operands[0].type.shape[2:]
    x, attributes, border = _max_windows(w, op, node, x)
    places = w.results(2, "MaxPool", x, **attributes)[1]
    (top, bottom), (left, right) = border or ((0, 0), (0, 0))
    across = w.size(width + left + right)
    place = w("Mod", places, w.size((height + top + bottom) * (width + left + right)))
    if not border:
        return place
    row = w("Sub", w("Div", place, across), w.ints([top]))
    column = w("Sub", w("Mod", place, across), w.ints([left]))
    return w("Add", w("Mul", row, w.size(width)), column)
