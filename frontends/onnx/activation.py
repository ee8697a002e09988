"""Import of activations."""

from __future__ import annotations

import numpy as np

from ...ir import DType, Op, Value
from ...ir.dims import product
from ...ir.onnx.opsets import SOFTMAX_ALONG_AXIS
from ...ir.ops.activation import (
    Clip,
    Hardmax,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)
from ...ir.ops.elementwise import Add, Cast, Maximum, Minimum, Mul
from ...ir.ops.error_function import Erf
from ...ir.ops.linear_units import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    Mish,
    PRelu,
    Shrink,
    Softplus,
    Softsign,
    Swish,
    ThresholdedRelu,
)
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.shape import Reshape
from .call import Call
from .rules import Made, imports

_PLAIN: dict[str, Op] = {
    "Relu": Relu(),
    "Sigmoid": Sigmoid(),
    "Tanh": Tanh(),
    "Erf": Erf(),
    "HardSwish": HardSwish(),
    "Mish": Mish(),
    "Softplus": Softplus(),
    "Softsign": Softsign(),
}
_GREATEST = {DType.F16: 65504.0, DType.BF16: float.fromhex("0x1.fep127")}


@imports(*_PLAIN)
def _plain(n: Call) -> Made:
    """Relu, Sigmoid, Tanh, Softplus and Softsign since 1; Relu-14 takes integers too; Erf-9,
    HardSwish-14, Mish-18."""
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
    """PRelu-1 and 6: a slope [C] is one for each channel; 7: it is broadcast as in NumPy; 9:
    integers too."""
    n.ignore("consumed_inputs")
    x, slope = n.value(0), n.weight(1)
    if x.type.dtype.is_integer:
        # As max(x, 0) + slope * min(x, 0), all of it in integers.
        zero = n.scalar(0, x)
        below = n.b(Mul(), slope, n.b(Minimum(), x, zero))
        return n.b(Add(), n.b(Maximum(), x, zero), below)
    if n.opset < 7 and slope.type.rank == 1 and x.type.rank > 2:
        slope = n.b(Reshape((*slope.type.shape, *(1,) * (x.type.rank - 2))), slope)
    return n.b(PRelu(), x, slope)


@imports("Elu", "Selu", "Celu")
def _elu(n: Call) -> Made:
    """Elu-1 to 22, Selu-1 to 22, Celu-12: alpha (e**(x / alpha) - 1) below 0."""
    n.ignore("consumed_inputs")
    x = n.value(0)
    if n.op_type == "Selu":
        # The defaults of Selu-1 are 1.6732 and 1.0507.
        first = n.opset < 6
        alpha = n.real("alpha", 1.6732 if first else 1.67326319217681884765625)
        return n.b(Elu(alpha, n.real("gamma", 1.0507 if first else 1.05070102214813232421875)), x)
    alpha = n.real("alpha", 1.0)
    if n.op_type == "Elu":
        return n.b(Elu(alpha), x)
    if not alpha > 0:
        raise n.refuse(f"alpha is {alpha}, and cauce's celu takes a positive one")
    return n.b(Elu(alpha, 1.0, 1 / alpha), x)


@imports("Gelu")
def _gelu(n: Call) -> Made:
    """Gelu-20."""
    return n.b(Gelu(n.text("approximate", "none")), n.value(0))


@imports("Swish")
def _swish(n: Call) -> Made:
    """Swish-24."""
    return n.b(Swish(n.real("alpha", 1.0)), n.value(0))


@imports("HardSigmoid")
def _hard_sigmoid(n: Call) -> Made:
    """HardSigmoid-1 to 22: alpha is 0.2, where PyTorch has 1/6."""
    n.ignore("consumed_inputs")
    return n.b(HardSigmoid(n.real("alpha", 0.2), n.real("beta", 0.5)), n.value(0))


@imports("ThresholdedRelu")
def _thresholded_relu(n: Call) -> Made:
    """ThresholdedRelu-1 to 22."""
    return n.b(ThresholdedRelu(n.real("alpha", 1.0)), n.value(0))


@imports("Shrink")
def _shrink(n: Call) -> Made:
    """Shrink-9: integers too, which are computed in f64."""
    op, x = Shrink(n.real("lambd", 0.5), n.real("bias", 0.0)), n.value(0)
    dtype = x.type.dtype
    if dtype.is_float:
        return n.b(op, x)
    if dtype.itemsize == 8:
        raise n.refuse(f"a threshold for {x.type}", "cast it to f32 before")
    return n.b(Cast(dtype), n.b(op, n.b(Cast(DType.F64), x)))


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


_ALONG_AXIS = {"Softmax": Softmax, "LogSoftmax": LogSoftmax, "Hardmax": Hardmax}


@imports(*_ALONG_AXIS)
def _softmax(n: Call) -> Made:
    """Softmax-1 and 11: over all dimensions from axis (1) on, as one; 13: along axis (-1)."""
    op = _ALONG_AXIS[n.op_type]
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
