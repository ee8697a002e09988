"""Import of activations."""

from __future__ import annotations

import numpy as np

from ...ir import DType, Op, Value
from ...ir.dims import product
from ...ir.onnx.opsets import SOFTMAX_ALONG_AXIS
from ...ir.ops.activation import Clip, LeakyRelu, LogSoftmax, Relu, Sigmoid, Softmax, Tanh
from ...ir.ops.elementwise import Less, Maximum, Minimum, Mul, Where
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.shape import Reshape
from .call import Call
from .rules import Made, imports

_PLAIN: dict[str, Op] = {"Relu": Relu(), "Sigmoid": Sigmoid(), "Tanh": Tanh()}
_GREATEST = {DType.F16: 65504.0, DType.BF16: float.fromhex("0x1.fep127")}


@imports(*_PLAIN)
def _plain(n: Call) -> Made:
    """Relu, Sigmoid and Tanh since 1; Relu-14 takes integers too."""
    n.ignore("consumed_inputs")
    x = n.value(0)
    if n.op_type == "Relu" and x.type.dtype.is_integer:
        return n.b(Maximum(), x, n.scalar(0, x))
    return n.b(_PLAIN[n.op_type], x)


@imports("LeakyRelu")
def _leaky_relu(n: Call) -> Made:
    """LeakyRelu-1 to 16."""
    n.ignore("consumed_inputs")
    return n.b(LeakyRelu(n.real("alpha", 0.01)), n.value(0))


@imports("PRelu")
def _prelu(n: Call) -> Made:
    """PRelu-1 and 6: a slope [C] is one for each channel; 7: it is broadcast as in NumPy."""
    n.ignore("consumed_inputs")
    x, slope = n.value(0), n.weight(1)
    if n.opset < 7 and slope.type.rank == 1 and x.type.rank > 2:
        slope = n.b(Reshape((*slope.type.shape, *(1,) * (x.type.rank - 2))), slope)
    return n.b(Where(), n.b(Less(), x, n.scalar(0, x)), n.b(Mul(), slope, x), x)


@imports("Clip")
def _clip(n: Call) -> Made:
    """Clip-1 and 6: bounds are attributes; 11: operands; 12: integers too. Above max goes last."""
    n.ignore("consumed_inputs")
    x = n.value(0)
    bounds = [_bound(n, place, x) for place in (1, 2)]
    low, high = (bound if isinstance(bound, float) else None for bound in bounds)
    if low is not None and high is not None and x.type.dtype.is_float and low <= high:
        return n.b(Clip(low, high), x)
    for op, bound in zip((Maximum(), Minimum()), bounds):
        if bound is not None:
            x = n.b(op, x, n.scalar(bound, x) if isinstance(bound, (int, float)) else bound)
    return x


def _bound(n: Call, place: int, x: Value) -> Value | float | int | None:
    """A bound: a number where it is known. One that is left out is the farthest finite number."""
    dtype = x.type.dtype
    if n.opset >= 11 and n.has(place):
        known = n.known(place)
        if known is None or known.size != 1:
            return n.value(place)
        return known.reshape(-1)[0].item()
    name = ("min", "max")[place - 1]
    if n.opset < 11 and (found := n.attribute(name)) is not None:
        return float(np.float32(found.f))
    if not dtype.is_float:
        return None
    farthest = _GREATEST.get(dtype) or float(np.finfo(dtype.numpy).max)
    return farthest if name == "max" else -farthest


@imports("Softmax", "LogSoftmax")
def _softmax(n: Call) -> Made:
    """Softmax-1 and 11: over all dimensions from axis (1) on, as one; 13: along axis (-1)."""
    op = Softmax if n.op_type == "Softmax" else LogSoftmax
    x = n.value(0)
    if n.opset >= SOFTMAX_ALONG_AXIS:
        return n.b(op(n.integer("axis", -1)), x)
    axis = n.integer("axis", 1)
    if axis != x.type.rank:
        axis = normalize_axis(axis, x.type.rank, n.op_type)
    if axis == x.type.rank - 1:
        return n.b(op(-1), x)
    shape = x.type.shape
    flat = n.b(Reshape((product(shape[:axis]), product(shape[axis:]))), x)
    return n.b(Reshape(shape), n.b(op(-1), flat))
