"""Export of adaptive pooling, which ONNX has no op for.

A pooled window is a product of one span of rows and one of columns, whose bounds are constants
where H and W are known, and computed at run time where they are not.
"""

from __future__ import annotations

from ...ir import Dim, DType, Node
from ...ir.dims import ceil_div
from ...ir.ops import adaptive_pool as ops
from .rules import HALVES_IN_F32, exports
from .writer import Writer


@exports(ops.AdaptiveMaxPool2d, ops.AdaptiveAvgPool2d)
def _pool(w: Writer, op: ops.AdaptiveWindows, node: Node, x: str) -> str:
    """Reduce the rows of every window, then the columns."""
    op_type = "ReduceMax" if isinstance(op, ops.AdaptiveMaxPool2d) else "ReduceMean"
    for axis in (0, 1):
        size, along = node.operands[0].type.shape[2 + axis], 2 + axis
        parts = []
        for start, stop in op.bounds(axis, size):
            whole = (start, stop) == (0, size)
            span = x if whole else w("Slice", x, w.ints([start]), w.ints([stop]), w.ints([along]))
            parts.append(w.reduce(op_type, span, [along], keepdims=True))
        x = w("Concat", *parts, axis=2 + axis)
    return x


@exports(ops.AdaptiveMaxPool2dSelect)
def _max_select(w: Writer, op: ops.AdaptiveMaxPool2dSelect, node: Node, x: str, g: str) -> str:
    shape = node.operands[0].type.shape
    flat = (*shape[:2], shape[2] * shape[3])
    places = _first_maxima(w, op, shape, w.reshape(x, shape, flat))
    chosen = w("GatherElements", w.reshape(g, shape, flat), places, axis=2)
    return w.reshape(chosen, (*shape[:2], _windows(op)), node.result.type.shape)


@exports(ops.AdaptiveMaxPool2dBackward, carriers=HALVES_IN_F32)
def _max_backward(w: Writer, op: ops.AdaptiveMaxPool2dBackward, node: Node, x: str, dy: str) -> str:
    shape, small = node.operands[0].type.shape, node.operands[1].type.shape
    flat = (*shape[:2], shape[2] * shape[3])
    x = w.reshape(x, shape, flat)
    places = _first_maxima(w, op, shape, x)
    zeros = w("Expand", w.constant(0, node.result.type.dtype), w("Shape", x))
    flat_dy = w.reshape(dy, small, (*small[:2], _windows(op)))
    dx = w("ScatterElements", zeros, places, flat_dy, axis=2, reduction="add")
    return w.reshape(dx, flat, shape)


def _windows(op: ops.AdaptiveWindows) -> int:
    return op.output_size[0] * op.output_size[1]


def _first_maxima(w: Writer, op: ops.AdaptiveWindows, shape: tuple[Dim, ...], x: str) -> str:
    """The flat places a*W + b of the first maximum of each window of x [N, C, H*W], i64[N, C, L].

    A table [L, M] lists the cells of the L windows in row-major order; where a window has fewer
    than M, its last row and column are repeated, which no first maximum is affected by.
    """
    rows, columns = (_cells(w, op, axis, shape[2 + axis]) for axis in (0, 1))
    first_of_row = w("Mul", rows, w.size(shape[3]))
    # [k_h, 1, M_h, 1] + [1, k_w, 1, M_w]
    table = w(
        "Add",
        w("Unsqueeze", first_of_row, w.ints([1, 3])),
        w("Unsqueeze", columns, w.ints([0, 2])),
    )
    table = w("Reshape", table, w.ints([_windows(op), -1]))
    place = w("ArgMax", w("Gather", x, table, axis=2), axis=3, keepdims=0)
    length = w.length(table, 1)
    line = w("Add", place, w("Mul", w.range(_windows(op)), length))
    return w("Gather", w("Reshape", table, w.ints([-1])), line, axis=0)


def _cells(w: Writer, op: ops.AdaptiveWindows, axis: int, size: Dim) -> str:
    """The cells of every span along an axis, i64[k, M]: start, start + 1, ..., at most the last.

    A span has at most M = ceil(size / k) + 1 cells.
    """
    bounds = op.bounds(axis, size)
    column = w.ints([1])
    starts = w("Unsqueeze", w.ints([start for start, _ in bounds]), column)
    lasts = w("Unsqueeze", w.ints([stop - 1 for _, stop in bounds]), column)
    return w("Min", w("Add", starts, w.range(ceil_div(size, len(bounds)) + 1)), lasts)


@exports(ops.AdaptiveAvgPool2dBackward)
def _avg_backward(w: Writer, op: ops.AdaptiveAvgPool2dBackward, node: Node, dy: str) -> str:
    """With A [k, H] holding 1 / the number of its cells in the span of each row, y = A x B^T, and
    so dx = A^T dy B."""
    dtype = node.result.type.dtype
    rows, columns = (_averages(w, op, axis, op.size[axis], dtype) for axis in (0, 1))
    return w("MatMul", w("MatMul", w("Transpose", rows, perm=(1, 0)), dy), columns)


def _averages(w: Writer, op: ops.AdaptiveWindows, axis: int, size: Dim, dtype: DType) -> str:
    """A of the formula for one axis: 1 / (stop - start) where start <= cell < stop, [k, size]."""
    bounds = op.bounds(axis, size)
    column = w.ints([1])
    starts = w("Unsqueeze", w.ints([start for start, _ in bounds]), column)
    stops = w("Unsqueeze", w.ints([stop for _, stop in bounds]), column)
    cells = w.range(size)
    inside = w("And", w("LessOrEqual", starts, cells), w("Less", cells, stops))
    return w("Div", w.cast(inside, dtype), w.cast(w("Sub", stops, starts), dtype))
