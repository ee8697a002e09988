"""Import of what takes and puts elements by their indices, of the greatest ones, and of counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir import Dim, DimExpr, DType, Literal, Value
from ...ir.dims import ceil_div
from ...ir.ops.constant import Constant, size_as
from ...ir.ops.elementwise import Add, Cast, Equal, Less, Mul, Where
from ...ir.ops.indexing import (
    Arange,
    GatherElements,
    GatherNd,
    ScatterElements,
    ScatterNd,
    TopK,
    Trilu,
)
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.shape import Gather, Reshape, Slice
from .call import Call
from .rules import Known, Made, imports
from .sizes import least

# Numbers that are known and longer than this are written as arithmetic, not one by one.
_LONG = 2**12
# No diagonal lies beyond this one.
_FAR = 2**40


def from_first(n: Call, place: int, size: Dim) -> Value:
    """Indices among ``size``, negative ones counted from the last, as indices from the first."""
    found = n.operand(place)
    if isinstance(found, Known) and not found.symbolic and isinstance(size, int):
        rows = np.where(found.array < 0, found.array + size, found.array)
        return n.b(Constant(Literal(rows, found.dtype)))
    indices = n.value(place)
    if isinstance(found, Known) and not np.any(found.array < 0):
        return indices
    return _moved_up(n, indices, size_as(n.b, size, indices.type.dtype))


def _moved_up(n: Call, indices: Value, sizes: Value) -> Value:
    below = n.b(Less(), indices, n.scalar(0, indices))
    return n.b(Where(), below, n.b(Add(), indices, sizes), indices)


def _along(n: Call) -> tuple[Value, int, Value]:
    """x, the axis, and the indices along it."""
    x = n.value(0)
    axis = normalize_axis(n.integer("axis", 0), x.type.rank, n.op_type)
    return x, axis, from_first(n, 1, x.type.shape[axis])


@imports("Gather")
def _gather(n: Call) -> Made:
    """Gather-1; 11: indices may count from the last."""
    x, axis, indices = _along(n)
    return n.b(Gather(axis), x, indices)


@imports("GatherElements")
def _gather_elements(n: Call) -> Made:
    """GatherElements-11 and 13."""
    x, axis, indices = _along(n)
    return n.b(GatherElements(axis), x, indices)


@imports("Scatter", "ScatterElements")
def _scatter_elements(n: Call) -> Made:
    """Scatter-9, since 11 ScatterElements; 16: reduction add and mul; 18: min and max."""
    x, axis, indices = _along(n)
    op = ScatterElements(axis, n.text("reduction", "none"))
    return n.b(op, x, indices, n.value(2))


def _of_several(n: Call, first: int) -> tuple[Value, Value]:
    """x, and indices each of which tells a place along several axes, ``first`` and more."""
    x, indices = n.value(0), n.value(1)
    depth = indices.type.shape[-1] if indices.type.rank else 0
    if not isinstance(depth, int):
        raise n.unknown(f"how many axes the indices {indices.type} tell is not known", depth)
    if not 1 <= depth <= x.type.rank - first:
        raise n.refuse(f"the indices {indices.type} do not tell places in {x.type}")
    sizes = n.constant(Known.of(list(x.type.shape[first : first + depth])))
    if indices.type.dtype is not DType.I64:
        indices = n.b(Cast(DType.I64), indices)
    found = n.operand(1)
    if isinstance(found, Known) and not np.any(found.array < 0):
        return x, indices
    return x, _moved_up(n, indices, sizes)


@imports("GatherND")
def _gather_nd(n: Call) -> Made:
    """GatherND-11; 12: batch_dims."""
    batch = n.integer("batch_dims", 0)
    return n.b(GatherNd(batch), *_of_several(n, batch))


@imports("ScatterND")
def _scatter_nd(n: Call) -> Made:
    """ScatterND-11; 16: reduction add and mul; 18: min and max."""
    op = ScatterNd(n.text("reduction", "none"))
    return n.b(op, *_of_several(n, 0), n.value(2))


@imports("TopK")
def _topk(n: Call) -> Made:
    """TopK-1: k is an attribute; 10: an operand; 11: largest and sorted, which it always is."""
    n.ignore("sorted")
    if n.opset < 10:
        k: Dim = n.integer("k", 1)
    else:
        (k,) = n.dims(1, "k")
    op = TopK(k, n.integer("axis", -1), bool(n.integer("largest", 1)))
    return n.b.results(op, n.value(0))


@imports("OneHot")
def _one_hot(n: Call) -> Made:
    """OneHot-9; 11: indices may count from the last. One that is out of range has no 1."""
    indices, values = n.value(0), n.value(2)
    (depth,) = n.dims(1, "depth")
    rank = indices.type.rank + 1
    axis = normalize_axis(n.integer("axis", -1), rank, n.op_type)
    if indices.type.dtype is not DType.I64:
        indices = n.b(Cast(DType.I64), indices)
    indices = _moved_up(n, indices, size_as(n.b, depth, DType.I64))
    shape = indices.type.shape
    column = n.b(Reshape((*shape[:axis], 1, *shape[axis:])), indices)
    places = n.b(Reshape((depth, *(1,) * (rank - 1 - axis))), n.b(Arange(depth)))
    off, on = (n.b(Reshape(()), n.b(Slice((0,), (i,), (i + 1,)), values)) for i in (0, 1))
    return n.b(Where(), n.b(Equal(), column, places), on, off)


@imports("Trilu")
def _trilu(n: Call) -> Made:
    """Trilu-14."""
    (diagonal,) = n.integers(1, "k") if n.has(1) else (0,)
    held = min(max(diagonal, -_FAR), _FAR)
    return n.b(Trilu(bool(n.integer("upper", 1)), held), n.value(0))


@imports("Range")
def _range(n: Call) -> Made:
    """Range-11: start + i * delta for i below (limit - start) / delta, rounded up."""
    bounds = (n.numbers(i, what).reshape(-1)[0] for i, what in enumerate(_BOUNDS))
    start, limit, delta = map(_whole, bounds)
    first = n.operand(0)
    dtype = first.dtype if isinstance(first, Known) else first.type.dtype
    if delta == 0:
        raise n.refuse("a range in steps of 0")
    count: Dim
    if any(isinstance(bound, DimExpr) for bound in (start, limit, delta)):
        if isinstance(delta, DimExpr):
            raise n.unknown(f"steps of {delta} are not known", delta)
        if isinstance(delta, float) or float in (type(start), type(limit)):
            raise n.unknown(f"how many steps of {delta} lead from {start} to {limit}", limit, start)
        way = limit - start if delta > 0 else start - limit
        count = ceil_div(way, abs(int(delta)))
        if (least(way) or 0) < 0 or least(way) is None:
            raise n.unknown(f"whether {way} is negative is not known", way)
    else:
        count = length = max(math.ceil((limit - start) / delta), 0)
        if length <= _LONG:
            wide = np.float64 if dtype.is_float else dtype.numpy
            elements = start + delta * np.arange(length, dtype=wide)
            return Known("", dtype.round(elements), dtype)
    places = n.b(Arange(count, dtype))
    steps = places if delta == 1 else n.b(Mul(), places, n.scalar(delta, places))
    if isinstance(start, DimExpr):
        return n.b(Add(), steps, size_as(n.b, start, dtype))
    return steps if start == 0 else n.b(Add(), steps, n.scalar(start, steps))


_BOUNDS = ("start", "limit", "delta")


def _whole(bound: Any) -> Any:
    """A bound of a range as an int where it is whole."""
    if isinstance(bound, DimExpr) or not np.issubdtype(type(bound), np.floating):
        return bound if isinstance(bound, DimExpr) else int(bound)
    return int(bound) if float(bound).is_integer() else float(bound)
