"""Linear units and their gates: activations made of others, element by element.

Backends compute each in one pass, and autodiff goes through the parts, but where its gradient is
written out: there the parts would lose digits, or give NaN for infinities.
"""

from __future__ import annotations

import math

import numpy as np

from ..builder import Builder
from ..errors import AttributeMistake, ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, Values, register
from ..types import Array, TensorType
from .activation import Clip, Sigmoid, Tanh
from .broadcast import broadcast, need_float, same_dtype
from .constant import scalar
from .elementwise import (
    Abs,
    Add,
    Div,
    Equal,
    Exp,
    FloatUnary,
    Greater,
    Less,
    LessEqual,
    Log,
    Maximum,
    Mul,
    Neg,
    Sub,
    Where,
)
from .error_function import Erfc


class _Unit(FloatUnary):
    """Base of the units with attributes that are numbers."""

    def check(self) -> None:
        for name, value in self.attributes():
            if isinstance(value, float) and not math.isfinite(value):
                raise AttributeMistake(
                    f"{self.name}: {name} must be a finite number, got {value}",
                    fix=f"leave it out, or write for example {name}=1.0",
                )


def _positive(b: Builder, x: Value) -> Value:
    """Write where x > 0."""
    return b(Greater(), x, scalar(b, 0, x))


def _not_above(b: Builder, x: Value) -> Value:
    """Write x where it is not above 0, else 0; NaN stays."""
    return b(Where(), _positive(b, x), scalar(b, 0, x), x)


def _times(b: Builder, x: Value, factor: float) -> Value:
    return x if factor == 1 else b(Mul(), x, scalar(b, factor, x))


@register
class PRelu(Op):
    """y = x where x > 0, else slope * x; the slope broadcasts to x. ONNX PRelu-16.

    He et al. 2015, "Delving deep into rectifiers", equation 1. The gradients at 0 are those of
    slope * x.
    """

    name = "prelu"
    operands = ("x", "slope")
    elementwise = True

    def infer(self, x: TensorType, slope: TensorType) -> TensorType:
        need_float(self.name, x, slope)
        same_dtype(self.name, x, slope)
        if broadcast(x.shape, slope.shape) != x.shape:
            raise ShapeError(
                f"prelu: the slope {slope} does not broadcast to x {x}",
                fix="give one slope for all, or [C,1,1] for the channels of an image",
            )
        return x

    def reference(self, x: Array, slope: Array) -> Array:
        return np.where(x > 0, x, slope * x)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, slope = operands
        # A choice before the product as well: its gradient would be 0 * infinity.
        return b(Where(), _positive(b, x), x, b(Mul(), slope, _not_above(b, x)))


@register
class Elu(_Unit):
    """y = scale * x where x > 0, else scale * alpha * (e**(input_scale * x) - 1).

    With a scale of its own it is selu (Klambauer et al. 2017), with input_scale = 1/alpha celu
    (Barron 2017). Clevert et al. 2015, equation 15; ONNX Elu-22, Selu-22 and Celu-12.
    """

    alpha: float = 1.0
    scale: float = 1.0
    input_scale: float = 1.0

    name = "elu"

    def check(self) -> None:
        super().check()
        if not self.input_scale > 0:
            raise AttributeMistake(
                f"elu: input_scale must be positive, got {self.input_scale}",
                fix="leave it out; of celu it is 1 / alpha, with alpha > 0",
            )

    def reference(self, x: Array) -> Array:
        below = self.scale * self.alpha * np.expm1(self.input_scale * np.minimum(x, 0))
        return np.where(x > 0, self.scale * x, below)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        # e**z - 1 = 2 t / (1 - t) with t = tanh(z/2), where nothing cancels for z <= 0.
        t = b(Tanh(), _times(b, _not_above(b, x), self.input_scale / 2))
        ratio = b(Div(), t, b(Sub(), scalar(b, 1, x), t))
        below = _times(b, ratio, 2 * self.scale * self.alpha)
        return b(Where(), _positive(b, x), _times(b, x, self.scale), below)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x = node.operands[0]
        power = b(Exp(), _times(b, _not_above(b, x), self.input_scale))
        below = _times(b, power, self.scale * self.alpha * self.input_scale)
        slope = b(Where(), _positive(b, x), scalar(b, self.scale, x), below)
        return (b(Mul(), dy, slope),)


@register
class Softplus(_Unit):
    """y = log(1 + e**(beta * x)) / beta, without overflow. ONNX Softplus-22 (beta = 1)."""

    beta: float = 1.0

    name = "softplus"

    def check(self) -> None:
        super().check()
        if not self.beta > 0:
            raise AttributeMistake(
                f"softplus: beta must be positive, got {self.beta}", fix="use for example 1"
            )

    def reference(self, x: Array) -> Array:
        return np.logaddexp(0, self.beta * x).astype(x.dtype) / x.dtype.type(self.beta)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        z = _times(b, operands[0], self.beta)
        small = b(Exp(), b(Neg(), b(Abs(), z)))
        y = b(Add(), b(Maximum(), z, scalar(b, 0, z)), write_log1p(b, small))
        return y if self.beta == 1 else b(Div(), y, scalar(b, self.beta, y))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Mul(), dy, b(Sigmoid(), _times(b, node.operands[0], self.beta))),)


def write_log1p(b: Builder, x: Value) -> Value:
    """Write log(1 + x) for x from 0 to 1, to the last digits of small ones.

    With u = 1 + x rounded it is x log(u) / (u - 1), or x where u = 1: the quotient hardly changes
    from x to u - 1, which is exact. Kahan, as in Goldberg 1991, "What every computer scientist
    should know about floating-point arithmetic", theorem 4.
    """
    one = scalar(b, 1, x)
    u = b(Add(), x, one)
    return b(Where(), b(Equal(), u, one), x, b(Mul(), b(Log(), u), b(Div(), x, b(Sub(), u, one))))


@register
class Mish(FloatUnary):
    """y = x * tanh(log(1 + e**x)). Misra 2019; ONNX Mish-22."""

    name = "mish"

    def reference(self, x: Array) -> Array:
        return x * np.tanh(np.logaddexp(0, x)).astype(x.dtype)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        top, rest = self._gate(b, x)
        return b(Mul(), x, b(Div(), top, b(Add(), top, rest)))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x = node.operands[0]
        top, rest = self._gate(b, x)
        total, one = b(Add(), top, rest), scalar(b, 1, x)
        gate, left = b(Div(), top, total), b(Div(), rest, total)
        # d tanh s = (1 - tanh s) (1 + tanh s) ds, with 1 - tanh s = left and ds = sigmoid x dx.
        bend = b(Mul(), b(Mul(), left, b(Add(), one, gate)), b(Sigmoid(), x))
        return (b(Mul(), dy, b(Add(), gate, b(Mul(), x, bend))),)

    @staticmethod
    def _gate(b: Builder, x: Value) -> tuple[Value, Value]:
        """Write n and m with tanh(log(1 + e**x)) = n / (n + m), in powers of s = e**-|x|:
        s (s + 2) and 2 where x < 0, else 1 + 2 s and 2 s**2. Nothing overflows or cancels."""
        zero, one, two = (scalar(b, number, x) for number in (0, 1, 2))
        s = b(Exp(), b(Neg(), b(Abs(), x)))
        below = b(Less(), x, zero)
        top = b(Where(), below, b(Mul(), s, b(Add(), s, two)), b(Add(), b(Mul(), s, two), one))
        return top, b(Where(), below, two, b(Mul(), two, b(Mul(), s, s)))


@register
class Swish(_Unit):
    """y = x * sigmoid(alpha * x); with alpha = 1 it is silu. ONNX Swish-24.

    Elfwing et al. 2017, "Sigmoid-weighted linear units"; Ramachandran et al. 2017.
    """

    alpha: float = 1.0

    name = "swish"

    def reference(self, x: Array) -> Array:
        return x * Sigmoid().reference(x * x.dtype.type(self.alpha))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        return b(Mul(), x, b(Sigmoid(), _times(b, x, self.alpha)))


@register
class Gelu(_Unit):
    """y = x * (1 + erf(x / sqrt 2)) / 2, x times the normal distribution function at x.

    With approximate="tanh" it is x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x**3))) / 2. Neither
    sum is computed as such, which would lose all digits below 0. Hendrycks and Gimpel 2016; ONNX
    Gelu-20.
    """

    approximate: str = "none"

    name = "gelu"

    def check(self) -> None:
        if self.approximate not in ("none", "tanh"):
            raise AttributeMistake(
                f"gelu: approximate must be 'none' or 'tanh', got {self.approximate!r}",
                fix="leave it out for the function itself",
            )

    def reference(self, x: Array) -> Array:
        if self.approximate == "none":
            return x * (Erfc().reference(-math.sqrt(0.5) * x) / 2)
        return x * Sigmoid().reference(math.sqrt(8 / math.pi) * (x + 0.044715 * x * x * x))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        if self.approximate == "none":
            return b(Mul(), x, _times(b, b(Erfc(), _times(b, x, -math.sqrt(0.5))), 0.5))
        # (1 + tanh u) / 2 = sigmoid 2u
        cubic = b(Add(), _times(b, b(Mul(), x, x), 0.044715), scalar(b, 1, x))
        return b(Mul(), x, b(Sigmoid(), _times(b, b(Mul(), x, cubic), math.sqrt(8 / math.pi))))


@register
class Softsign(FloatUnary):
    """y = x / (1 + |x|). ONNX Softsign-22."""

    name = "softsign"

    def reference(self, x: Array) -> Array:
        return x / (1 + np.abs(x))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        return b(Div(), x, b(Add(), b(Abs(), x), scalar(b, 1, x)))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x = node.operands[0]
        size = b(Add(), b(Abs(), x), scalar(b, 1, x))
        return (b(Div(), b(Div(), dy, size), size),)


@register
class HardSigmoid(_Unit):
    """y = alpha * x + beta held within [0, 1], with the gradient 0 at 0 and at 1.

    The defaults are ONNX's (HardSigmoid-22); PyTorch's are 1/6 and 1/2.
    """

    alpha: float = 0.2
    beta: float = 0.5

    name = "hard_sigmoid"

    def reference(self, x: Array) -> Array:
        return np.clip(self.alpha * x + self.beta, 0, 1)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        line = b(Add(), _times(b, x, self.alpha), scalar(b, self.beta, x))
        return b(Clip(0.0, 1.0, open=True), line)


@register
class HardSwish(FloatUnary):
    """y = x * clip(x/6 + 1/2, 0, 1). ONNX HardSwish-22; Howard et al. 2019, section 5.2."""

    name = "hard_swish"

    def reference(self, x: Array) -> Array:
        return x * HardSigmoid(1 / 6, 0.5).reference(x)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        return b(Mul(), x, b(HardSigmoid(1 / 6, 0.5), x))


@register
class ThresholdedRelu(_Unit):
    """y = 0 where x <= alpha, else x, NaN too. Konda et al. 2014; ONNX ThresholdedRelu-22."""

    alpha: float = 1.0

    name = "thresholded_relu"
    exact = True

    def reference(self, x: Array) -> Array:
        return np.where(x <= self.alpha, np.zeros_like(x), x)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        return b(Where(), b(LessEqual(), x, scalar(b, self.alpha, x)), scalar(b, 0, x), x)


@register
class Shrink(_Unit):
    """y = x + bias where x < -lambd, 0 where x <= lambd, else x - bias, NaN for NaN.

    ONNX Shrink-9; PyTorch's softshrink with bias = lambd, its hardshrink with bias = 0.
    """

    lambd: float = 0.5
    bias: float = 0.0

    name = "shrink"

    def reference(self, x: Array) -> Array:
        bias = x.dtype.type(self.bias)
        inner = np.where(x <= self.lambd, np.zeros_like(x), x - bias)
        return np.where(x < -self.lambd, x + bias, inner)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        bias, zero = scalar(b, self.bias, x), scalar(b, 0, x)
        inside = b(LessEqual(), x, scalar(b, self.lambd, x))
        inner = b(Where(), inside, zero, b(Sub(), x, bias))
        return b(Where(), b(Less(), x, scalar(b, -self.lambd, x)), b(Add(), x, bias), inner)
