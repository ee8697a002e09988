"""Export of activations."""

from __future__ import annotations

import math

from ...ir import DType, Node
from ...ir.ops.activation import Clip, LeakyRelu, LogSoftmax, Relu, Sigmoid, Softmax, Tanh
from .rules import exports, exports_as
from .writer import Writer

exports_as({Relu: "Relu", Sigmoid: "Sigmoid", Tanh: "Tanh"})


@exports(LeakyRelu)
def _leaky_relu(w: Writer, op: LeakyRelu, node: Node, x: str) -> str:
    dtype = node.operands[0].type.dtype
    if dtype is not DType.F64:
        return w("LeakyRelu", x, alpha=op.negative_slope)
    # The attribute alpha is a float32, which would round the slope.
    slope, zero = w.constant(op.negative_slope, dtype), w.constant(0, dtype)
    return w("Where", w("Greater", x, zero), x, w("Mul", x, slope))


@exports(Clip)
def _clip(w: Writer, op: Clip, node: Node, x: str) -> str:
    dtype = node.operands[0].type.dtype
    if op.min is None and op.max is None:
        return w("Identity", x)
    # A bound that is left out is the greatest number to ONNX: it would move infinities.
    least = -math.inf if op.min is None else op.min
    most = math.inf if op.max is None else op.max
    return w("Clip", x, w.constant(least, dtype), w.constant(most, dtype))


@exports(Softmax, LogSoftmax)
def _softmax(w: Writer, op: Softmax | LogSoftmax, node: Node, x: str) -> str:
    return w(type(op).__name__, x, axis=op.axis)
