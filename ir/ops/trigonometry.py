"""Trigonometric and hyperbolic functions and their inverses; angles are in radians."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..graph import Node, Value
from ..op import Gradients, register
from .constant import scalar
from .elementwise import Add, Div, FloatUnary, Mul, Neg, Sqrt, Sub


class _Smooth(FloatUnary):
    """Base: dx = dy times the slope."""

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Mul(), dy, self.slope(b, node.operands[0], node.result)),)

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        """Write the derivative at x, where the function is y."""
        raise NotImplementedError


def _one_and(b: Builder, x: Value, sign: int) -> Value:
    """Write 1 + x * x, or 1 - x * x as (1 - x) * (1 + x), in which nothing is lost near 1."""
    one = scalar(b, 1, x)
    if sign > 0:
        return b(Add(), one, b(Mul(), x, x))
    return b(Mul(), b(Sub(), one, x), b(Add(), one, x))


@register
class Sin(_Smooth):
    """y = sin x, for any x. ONNX Sin-22."""

    name = "sin"
    function = np.sin

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Cos(), x)


@register
class Cos(_Smooth):
    """y = cos x, for any x. ONNX Cos-22."""

    name = "cos"
    function = np.cos

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Neg(), b(Sin(), x))


@register
class Tan(_Smooth):
    """y = tan x, for any x; its slope is 1 + y**2. ONNX Tan-22."""

    name = "tan"
    function = np.tan

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return _one_and(b, y, 1)


@register
class Asin(_Smooth):
    """y = the angle from -pi/2 to pi/2 whose sine is x; slope 1 / sqrt(1 - x**2). ONNX Asin-22."""

    name = "asin"
    function = np.arcsin

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Div(), scalar(b, 1, x), b(Sqrt(), _one_and(b, x, -1)))


@register
class Acos(_Smooth):
    """y = the angle from 0 to pi whose cosine is x; slope -1 / sqrt(1 - x**2). ONNX Acos-22."""

    name = "acos"
    function = np.arccos

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Div(), scalar(b, -1, x), b(Sqrt(), _one_and(b, x, -1)))


@register
class Atan(_Smooth):
    """y = the angle from -pi/2 to pi/2 whose tangent is x; slope 1 / (1 + x**2). ONNX Atan-22."""

    name = "atan"
    function = np.arctan

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Div(), scalar(b, 1, x), _one_and(b, x, 1))


@register
class Sinh(_Smooth):
    """y = (e**x - e**-x) / 2. ONNX Sinh-22."""

    name = "sinh"
    function = np.sinh

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Cosh(), x)


@register
class Cosh(_Smooth):
    """y = (e**x + e**-x) / 2. ONNX Cosh-22."""

    name = "cosh"
    function = np.cosh

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Sinh(), x)


@register
class Asinh(_Smooth):
    """y = log(x + sqrt(x**2 + 1)), the inverse of sinh; slope 1 / sqrt(1 + x**2). ONNX Asinh-22."""

    name = "asinh"
    function = np.arcsinh

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Div(), scalar(b, 1, x), b(Sqrt(), _one_and(b, x, 1)))


@register
class Acosh(_Smooth):
    """y = log(x + sqrt(x**2 - 1)), the inverse of cosh; slope 1 / sqrt(x**2 - 1). ONNX Acosh-22."""

    name = "acosh"
    function = np.arccosh

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Div(), scalar(b, 1, x), b(Sqrt(), b(Neg(), _one_and(b, x, -1))))


@register
class Atanh(_Smooth):
    """y = log((1 + x) / (1 - x)) / 2, the inverse of tanh; slope 1 / (1 - x**2). ONNX Atanh-22."""

    name = "atanh"
    function = np.arctanh

    def slope(self, b: Builder, x: Value, y: Value) -> Value:
        return b(Div(), scalar(b, 1, x), _one_and(b, x, -1))
