"""Normalisation by the size of neighbours: local response norm, and division by a vector norm."""

from __future__ import annotations

import numpy as np

from ..attributes import positive
from ..builder import Builder
from ..dims import product
from ..errors import AttributeMistake, ShapeError
from ..graph import Value
from ..op import Op, Values, register
from ..types import Array, TensorType
from .broadcast import need_float
from .constant import scalar
from .elementwise import Abs, Add, Div, Equal, Mul, Pow, Sqrt, Where
from .pool import AvgPool2d
from .reduce import Sum, normalize_axis, sum_of
from .shape import Reshape


@register
class LocalResponseNorm(Op):
    """y = x / (k + alpha * mean)**beta, where mean is that of x**2 over ``size`` channels about c.

    x is [N, C, ...]. The window of channel c holds ``before`` channels before it and size - 1 -
    before after it; channels that there are not count as 0. ``before`` is (size - 1) // 2 where
    None, as in ONNX; in PyTorch it is size // 2, which differs for even sizes. Krizhevsky et al.
    2012, section 3.3; ONNX LRN-13, whose bias is k.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    before: int | None = None

    name = "local_response_norm"

    def check(self) -> None:
        positive(self.size, "size")
        if self.before is None:
            vars(self)["before"] = (self.size - 1) // 2
        if not 0 <= self.sides[0] < self.size:
            raise AttributeMistake(
                f"{self.name}: {self.before} channels before the own one of a window of "
                f"{self.size}",
                fix="leave it out, or use size // 2 as PyTorch does",
            )

    @property
    def sides(self) -> tuple[int, int]:
        """How many channels of a window lie before, and after, the one that it is of."""
        before = self.before or 0
        return before, self.size - 1 - before

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        if x.rank < 2:
            raise ShapeError(
                f"{self.name} takes x [N, C, ...], got {x}", fix="add dimensions with reshape"
            )
        return x

    def reference(self, x: Array) -> Array:
        before, after = self.sides
        squares = np.zeros_like(x)
        for c in range(x.shape[1]):
            window = x[:, max(c - before, 0) : c + after + 1]
            squares[:, c] = sum_of(window * window, (1,))
        return x / (self.k + self.alpha / self.size * squares) ** self.beta

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        n, c, *rest = x.type.shape
        squares = b(Reshape((n, 1, c, product(tuple(rest)))), b(Mul(), x, x))
        pool = AvgPool2d((self.size, 1), (1, 1), (self.sides, (0, 0)))
        mean = b(Reshape(x.type.shape), b(pool, squares))
        base = b(Add(), b(Mul(), mean, scalar(b, self.alpha, x)), scalar(b, self.k, x))
        return b(Div(), x, _write_power(b, base, self.beta))


def _write_power(b: Builder, base: Value, exponent: float) -> Value:
    """Write base**exponent, for a base that is not negative; by roots where they suffice."""
    if exponent == 1:
        return base
    if exponent not in (0.5, 0.75):
        return b(Pow(), base, scalar(b, exponent, base))
    root = b(Sqrt(), base)
    return root if exponent == 0.5 else b(Mul(), root, b(Sqrt(), root))


@register
class LpNorm(Op):
    """y = x / |x|_p along one axis, and 0 where the norm is 0. ONNX LpNormalization-22.

    |x|_1 = sum of |x|, |x|_2 = sqrt(sum of x**2).
    """

    axis: int = -1
    p: int = 2

    name = "lp_norm"
    flops_per_element = 3

    def check(self) -> None:
        if self.p not in (1, 2):
            raise AttributeMistake(f"lp_norm: p must be 1 or 2, got {self.p}", fix="use p=2")

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        normalize_axis(self.axis, x.rank, self.name)
        return x

    def reference(self, x: Array) -> Array:
        total = sum_of(np.abs(x) ** self.p, (self.axis,), keepdims=True)
        norm = total if self.p == 1 else np.sqrt(total)
        return x / np.where(norm == 0, 1, norm)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        sizes = b(Abs(), x) if self.p == 1 else b(Mul(), x, x)
        total = b(Sum((self.axis,), keepdims=True), sizes)
        # The choice before the root: its slope at 0 is infinite.
        total = b(Where(), b(Equal(), total, scalar(b, 0, x)), scalar(b, 1, x), total)
        return b(Div(), x, total if self.p == 1 else b(Sqrt(), total))
