"""Division with a remainder, bits and shifts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..builder import Builder
from ..dims import Dim
from ..errors import TypeMismatch
from ..graph import Node, Value
from ..op import Gradients, Op, Values, product_sum, register
from ..types import Array, TensorType
from .broadcast import broadcast, same_dtype
from .elementwise import Binary, Div, Elementwise, Mul, Sub, fit
from .linear import product_type
from .reduce import Sum
from .shape import Reshape


def need_integer(op: str, *types: TensorType) -> None:
    """Raise TypeMismatch unless all ``types`` are integers."""
    for type_ in types:
        if not type_.dtype.is_integer:
            raise TypeMismatch(f"{op} takes integers, got {type_}", fix="cast it to i64 first")


class _IntegerBinary(Elementwise):
    """Base of binary ops for integers only."""

    operands = ("x", "y")
    results = ("z",)
    zero_gradient = True

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        need_integer(self.name, x, y)
        return TensorType(same_dtype(self.name, x, y), broadcast(x.shape, y.shape))


@register
class TruncDiv(_IntegerBinary):
    """z = x / y truncated towards zero, for integers; 0 where y = 0. ONNX Div-14.

    The least integer divided by -1 is itself: integers wrap around.
    """

    name = "trunc_div"

    def reference(self, x: Array, y: Array) -> Array:
        divisor = np.where(y == 0, y.dtype.type(1), y)
        floor = x // divisor
        inexact = (floor * divisor != x) & ((x < 0) != (divisor < 0))
        return np.where(y == 0, x.dtype.type(0), floor + inexact.astype(x.dtype))


class _Remainder(Binary):
    """Base of remainders: dx = dz; dy = dz * (z - x) / y, the quotient without its fraction."""

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        x, y = node.operands
        quotient = b(Div(), b(Sub(), node.result, x), y)
        return fit(b, node, dz, b(Mul(), dz, quotient))


@register
class Remainder(_Remainder):
    """z = x - y * floor(x / y), with the sign of y, as Python's ``%``. ONNX Mod-13 with fmod=0.

    Where y = 0 it is 0 for integers, and NaN for floats.
    """

    name = "remainder"
    function = np.remainder


@register
class Fmod(_Remainder):
    """z = x - y * trunc(x / y), exactly, with the sign of x: C's fmod. ONNX Mod-13 with fmod=1.

    Where y = 0 it is 0 for integers, and NaN for floats.
    """

    name = "fmod"
    function = np.fmod


@register
class BitwiseAnd(_IntegerBinary):
    """z = the bits that both x and y have. ONNX BitwiseAnd-18."""

    name = "bitwise_and"
    function = np.bitwise_and


@register
class BitwiseOr(_IntegerBinary):
    """z = the bits that x or y has. ONNX BitwiseOr-18."""

    name = "bitwise_or"
    function = np.bitwise_or


@register
class BitwiseXor(_IntegerBinary):
    """z = the bits that one of x and y has, and the other has not. ONNX BitwiseXor-18."""

    name = "bitwise_xor"
    function = np.bitwise_xor


@register
class BitwiseNot(Elementwise):
    """y = the bits that x has not. ONNX BitwiseNot-18."""

    name = "bitwise_not"
    zero_gradient = True
    function = np.invert

    def infer(self, x: TensorType) -> TensorType:
        need_integer(self.name, x)
        return x


@register
class LeftShift(_IntegerBinary):
    """z = x * 2**y, wrapping around: 0 where y is not below the number of bits. ONNX BitShift-11.

    A negative y counts as such a great one (NumPy).
    """

    name = "left_shift"
    function = np.left_shift


@register
class RightShift(_IntegerBinary):
    """z = floor(x / 2**y): 0, or -1 for x < 0, where y is not below the number of bits.

    ONNX BitShift-11. A negative y counts as such a great one (NumPy).
    """

    name = "right_shift"
    function = np.right_shift


@register
class IntegerMatMul(Op):
    """z = x @ y of integers, which wrap around; dimensions are those of matmul. ONNX MatMul-13."""

    name = "integer_matmul"
    operands = ("x", "y")
    results = ("z",)
    zero_gradient = True

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        need_integer(self.name, x, y)
        return product_type(self.name, x, y)

    def reference(self, x: Array, y: Array) -> Array:
        return np.matmul(x, y)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        """The products of all rows and columns, which are summed as they are made."""
        x, y = operands
        rows = b(Reshape((*x.type.shape, 1)), x)
        *lead, depth, columns = y.type.shape
        return b(Sum((-2,)), b(Mul(), rows, b(Reshape((*lead, 1, depth, columns)), y)))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return 2 * product_sum(results) * operands[0].shape[-1]
