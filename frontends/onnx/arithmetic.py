"""Integers known while importing, sizes over symbols included: the arithmetic of shapes."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from ...ir import Array, Dim, DimExpr, DType
from ...ir.onnx.tensors import dtype_of
from .call import Call
from .rules import Known, folds
from .sizes import equal, least


@folds("Add")
def _add(n: Call, x: Array, y: Array) -> object:
    return x + y


@folds("Sub")
def _sub(n: Call, x: Array, y: Array) -> object:
    return x - y


@folds("Mul")
def _mul(n: Call, x: Array, y: Array) -> object:
    return x * y


@folds("Neg")
def _neg(n: Call, x: Array) -> object:
    return -x


@folds("Div")
def _div(n: Call, x: Array, y: Array) -> object:
    """Towards zero: the floor where neither is negative."""

    def quotient(top: Dim, bottom: Dim) -> Dim:
        if bottom == 0:
            raise n.refuse("a known integer is divided by 0")
        if isinstance(top, int) and isinstance(bottom, int):
            whole = abs(top) // abs(bottom)
            return whole if (top < 0) == (bottom < 0) else -whole
        if (least(top) or 0) < 0 or (least(bottom) or 0) < 1 or least(top) is None:
            raise n.unknown(f"the sign of {top} / {bottom} is not known", top, bottom)
        return top // bottom

    return np.frompyfunc(quotient, 2, 1)(x, y)


@folds("Equal")
def _equal(n: Call, x: Array, y: Array) -> object:
    return Known.of(np.frompyfunc(lambda a, b: equal(n, a, b), 2, 1)(x, y), DType.BOOL)


@folds("Where")
def _where(n: Call, condition: Array, x: Array, y: Array) -> object:
    chosen = n.operand(1)
    assert isinstance(chosen, Known)
    return Known.of(np.where(condition.astype(np.bool_), x, y), chosen.dtype)


@folds("Cast")
def _cast(n: Call, x: Array) -> object:
    """To integers, and of sizes over symbols to floats, which bound ranges.

    The importer falls back on the graph for others.
    """
    to = dtype_of(n.integer("to", 0), "Cast")
    symbolic = any(isinstance(element, DimExpr) for element in x.flat)
    if not to.is_integer and not (symbolic and to.is_float):
        return NotImplemented
    return Known.of(x, to)


@folds("Concat")
def _concat(n: Call, *parts: Array) -> object:
    return np.concatenate(parts, n.integer("axis", 1))


@folds("Gather")
def _gather(n: Call, x: Array, indices: Array) -> object:
    return np.take(x, indices.astype(np.int64), n.integer("axis", 0))


@folds("Squeeze")
def _squeeze(n: Call, x: Array, *axes: Array) -> object:
    return np.squeeze(x, n.listed("axes", 1, 13))


@folds("Unsqueeze")
def _unsqueeze(n: Call, x: Array, *axes: Array) -> object:
    return np.expand_dims(x, n.listed("axes", 1, 13) or ())


@folds("Reshape")
def _reshape(n: Call, x: Array, *shape: Array) -> object:
    n.ignore("allowzero")
    wanted = n.listed("shape", 1, 5) or ()
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(wanted)])


@folds("Slice")
def _slice(n: Call, x: Array, *bounds: Array) -> object:
    starts, ends = n.listed("starts", 1, 10) or (), n.listed("ends", 2, 10) or ()
    axes = n.listed("axes", 3, 10) or tuple(range(len(starts)))
    steps = (n.integers(4, "steps") if n.has(4) else None) or (1,) * len(starts)
    index: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # NumPy counts a negative end from the last; ONNX holds it at the first.
        stop = None if step < 0 and end < -x.shape[axis] else end
        index[axis] = slice(start, stop, step)
    return x[tuple(index)]


@folds("ReduceProd")
def _reduce_prod(n: Call, x: Array) -> object:
    """Of all elements of a list."""
    n.ignore("axes")
    if x.ndim != 1:
        return NotImplemented
    total = reduce(lambda a, b: a * b, x.tolist(), 1)
    return [total] if n.integer("keepdims", 1) else total
