"""Elementwise arithmetic, comparisons, choice and conversion, with broadcasting."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..builder import Builder
from ..errors import TypeMismatch
from ..graph import Node, Value
from ..op import Arrays, Gradients, Op, register
from ..types import Array, DType, TensorType
from .broadcast import broadcast, need_float, need_number, same_dtype, sum_to
from .constant import scalar


def base_of_power(x: Array, y: Array) -> Array:
    """x, without the sign of -inf and -0 where y = 1/2.

    There NumPy's power may take the square root, which is NaN and -0; C's pow gives inf and 0.
    """
    if not np.any(y == 0.5):
        return x
    return np.where((y == 0.5) & ((x == 0) | (x == -np.inf)), np.abs(x), x)


def saturated(x: Array, to: np.dtype[Any]) -> Array:
    """Floats truncated towards zero and held within an integer dtype's range; 0 for NaN."""
    info = np.iinfo(to)
    wide = x.astype(np.promote_types(x.dtype, np.float32))  # f16 does not reach 2**16
    # Both bounds are powers of two, or 0, and so exact: the greatest integer itself may not be.
    low, beyond = float(info.min), float(info.max // 2 + 1) * 2
    below, above = wide < low, wide >= beyond
    inside = np.where(below | above | np.isnan(wide), 0, wide).astype(to)
    return np.where(below, to.type(info.min), np.where(above, to.type(info.max), inside))


class Elementwise(Op):
    """Base of ops on the elements of their operands, one by one.

    Class variables:
        function: the function of NumPy that is the reference, where there is one.
    """

    elementwise = True
    function: ClassVar[np.ufunc | None] = None

    def reference(self, *args: Any, **kwargs: Any) -> Arrays:
        return self.function(*args) if self.function else super().reference()


class Binary(Elementwise):
    """Base of ops with two broadcast operands of one dtype."""

    operands = ("x", "y")
    results = ("z",)

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        need_number(self.name, x, y)
        return TensorType(same_dtype(self.name, x, y), broadcast(x.shape, y.shape))


class FloatBinary(Binary):
    """Base of binary ops for floating-point values only."""

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        need_float(self.name, x, y)
        return super().infer(x, y)


class NumberUnary(Elementwise):
    """Base of ops with one operand of any dtype but bool."""

    def infer(self, x: TensorType) -> TensorType:
        need_number(self.name, x)
        return x


class FloatUnary(Elementwise):
    """Base of ops with one floating-point operand."""

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        return x


def fit(b: Builder, node: Node, *grads: Value) -> tuple[Value, ...]:
    """Undo the broadcast of each operand of ``node`` in its gradient."""
    return tuple(sum_to(b, grad, x.type.shape) for grad, x in zip(grads, node.operands))


@register
class Add(Binary):
    """z = x + y. ONNX Add-14."""

    name = "add"
    function = np.add

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        return fit(b, node, dz, dz)


@register
class Sub(Binary):
    """z = x - y. ONNX Sub-14."""

    name = "sub"
    function = np.subtract

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        return fit(b, node, dz, b(Neg(), dz))


@register
class Mul(Binary):
    """z = x * y. ONNX Mul-14."""

    name = "mul"
    function = np.multiply

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        x, y = node.operands
        return fit(b, node, b(Mul(), dz, y), b(Mul(), dz, x))


@register
class Div(FloatBinary):
    """z = x / y. ONNX Div-14."""

    name = "div"
    function = np.divide

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        _, y = node.operands
        dx = b(Div(), dz, y)
        return fit(b, node, dx, b(Neg(), b(Mul(), dx, node.result)))


@register
class Pow(Binary):
    """z = x ** y with the values of C's pow at 0, infinities and NaN. ONNX Pow-15.

    dx = dz * y * x**(y - 1), which is 0 where y = 0; dy = dz * z * log x, which is 0 where x = 0
    and y >= 0 (as in PyTorch). Integers wrap around; with a negative exponent those but 1 and -1
    are 0 (as in PyTorch).
    """

    name = "pow"

    def reference(self, x: Array, y: Array) -> Array:
        if x.dtype.kind == "f":
            return np.power(base_of_power(x, y), y)
        one = np.where(y % 2 == 0, x * x, x)  # for a base of 1 or -1
        vanishing = np.where(abs(x) == 1, one, 0).astype(x.dtype)
        return np.where(y < 0, vanishing, np.power(x, np.maximum(y, 0)))

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        x, y = node.operands
        zero, one = scalar(b, 0, x), scalar(b, 1, x)
        slope = b(Mul(), y, b(Pow(), x, b(Sub(), y, one)))
        dx = b(Mul(), dz, b(Where(), b(Equal(), y, zero), zero, slope))
        vanishes = b(LogicalAnd(), b(Equal(), x, zero), b(GreaterEqual(), y, zero))
        log_x = b(Log(), b(Where(), vanishes, one, x))
        return fit(b, node, dx, b(Mul(), dz, b(Mul(), node.result, log_x)))


@register
class Neg(NumberUnary):
    """y = -x. ONNX Neg-13."""

    name = "neg"
    exact = True
    function = np.negative

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Neg(), dy),)


@register
class Abs(NumberUnary):
    """y = |x|; the gradient at 0 is 0. ONNX Abs-13."""

    name = "abs"
    exact = True
    function = np.absolute

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Mul(), dy, b(Sign(), node.operands[0])),)


@register
class Sign(NumberUnary):
    """y = -1, 0 or 1, the sign of x; its gradient is 0. ONNX Sign-13."""

    name = "sign"
    exact = True
    zero_gradient = True
    function = np.sign


@register
class Exp(FloatUnary):
    """y = e**x. ONNX Exp-13."""

    name = "exp"
    function = np.exp

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Mul(), dy, node.result),)


@register
class Log(FloatUnary):
    """y = ln x. ONNX Log-13."""

    name = "log"
    function = np.log

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Div(), dy, node.operands[0]),)


@register
class Sqrt(FloatUnary):
    """y = square root of x. ONNX Sqrt-13."""

    name = "sqrt"
    function = np.sqrt

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Div(), b(Mul(), dy, scalar(b, 0.5, dy)), node.result),)


class Comparison(Elementwise):
    """Base of comparisons: bool results, no gradient."""

    operands = ("x", "y")
    results = ("z",)
    zero_gradient = True

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        need_number(self.name, x, y)
        same_dtype(self.name, x, y)
        return TensorType(DType.BOOL, broadcast(x.shape, y.shape))


@register
class Equal(Comparison):
    """z = x == y, for bools too. ONNX Equal-13."""

    name = "equal"
    function = np.equal

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        same_dtype(self.name, x, y)
        return TensorType(DType.BOOL, broadcast(x.shape, y.shape))


@register
class Less(Comparison):
    """z = x < y. ONNX Less-13."""

    name = "less"
    function = np.less


@register
class LessEqual(Comparison):
    """z = x <= y. ONNX LessOrEqual-16."""

    name = "less_equal"
    function = np.less_equal


@register
class Greater(Comparison):
    """z = x > y. ONNX Greater-13."""

    name = "greater"
    function = np.greater


@register
class GreaterEqual(Comparison):
    """z = x >= y. ONNX GreaterOrEqual-16."""

    name = "greater_equal"
    function = np.greater_equal


class _Extremum(Binary):
    """Base of maximum and minimum: where neither operand is beyond the other, at ties (PyTorch) and
    at NaN, each gets half of the gradient."""

    beyond: ClassVar[type[Comparison]]

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        x, y = node.operands
        zero, half = scalar(b, 0, dz), b(Mul(), dz, scalar(b, 0.5, dz))
        x_wins, y_wins = b(self.beyond(), x, y), b(self.beyond(), y, x)
        dx = b(Where(), x_wins, dz, b(Where(), y_wins, zero, half))
        dy = b(Where(), y_wins, dz, b(Where(), x_wins, zero, half))
        return fit(b, node, dx, dy)


@register
class Maximum(_Extremum):
    """z = max(x, y), NaN where either is. ONNX Max-13."""

    name = "maximum"
    exact = True
    beyond = Greater
    function = np.maximum


@register
class Minimum(_Extremum):
    """z = min(x, y), NaN where either is. ONNX Min-13."""

    name = "minimum"
    exact = True
    beyond = Less
    function = np.minimum


class Logical(Elementwise):
    """Base of ops on bool."""

    zero_gradient = True
    operands: ClassVar[tuple[str, ...]] = ("x", "y")
    results = ("z",)

    def infer(self, *types: TensorType) -> TensorType:
        for type_ in types:
            if type_.dtype is not DType.BOOL:
                raise TypeMismatch(f"{self.name} takes bool, got {type_}", fix="compare first")
        return TensorType(DType.BOOL, broadcast(*(type_.shape for type_ in types)))


@register
class LogicalAnd(Logical):
    """z = x and y. ONNX And-7."""

    name = "logical_and"
    function = np.logical_and


@register
class LogicalOr(Logical):
    """z = x or y. ONNX Or-7."""

    name = "logical_or"
    function = np.logical_or


@register
class LogicalXor(Logical):
    """z = either x or y. ONNX Xor-7."""

    name = "logical_xor"
    function = np.logical_xor


@register
class LogicalNot(Logical):
    """z = not x. ONNX Not-1."""

    name = "logical_not"
    operands = ("x",)
    function = np.logical_not


@register
class Where(Op):
    """z = x where condition, else y. ONNX Where-16."""

    name = "where"
    exact = True
    operands = ("condition", "x", "y")
    results = ("z",)
    elementwise = True

    def infer(self, condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
        if condition.dtype is not DType.BOOL:
            raise TypeMismatch(
                f"where: the condition must be bool, got {condition}", fix="compare first: x > 0"
            )
        shape = broadcast(condition.shape, x.shape, y.shape)
        return TensorType(same_dtype(self.name, x, y), shape)

    def reference(self, condition: Array, x: Array, y: Array) -> Array:
        return np.where(condition, x, y)

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        condition = node.operands[0]
        zero = scalar(b, 0, dz)
        dx = sum_to(b, b(Where(), condition, dz, zero), node.operands[1].type.shape)
        dy = sum_to(b, b(Where(), condition, zero, dz), node.operands[2].type.shape)
        return (None, dx, dy)


@register
class Cast(Op):
    """y = x as another dtype. ONNX Cast-13, which leaves open what is out of range:

    floats become integers by truncation towards zero, held within the range of the dtype, and NaN
    becomes 0 (LLVM's fptosi.sat and fptoui.sat); integers wrap around; a bool is x != 0, and so
    true for NaN; to a float the nearest is taken, infinity beyond the greatest.
    """

    to: DType

    name = "cast"
    elementwise = True

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.to)

    def reference(self, x: Array) -> Array:
        if x.dtype.kind == "f" and self.to.is_integer:
            return saturated(x, self.to.numpy)
        return x.astype(self.to.numpy)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        source = node.operands[0].type.dtype
        differentiable = self.to.is_float and source.is_float
        return (b(Cast(source), dy) if differentiable else None,)
