"""Rules of relu and clip, each exact: bounds move nothing but what lies beyond them."""

from __future__ import annotations

from ..ir import Builder, Op, Value
from ..ir.ops.activation import Clip, Relu, Sigmoid, Softmax
from ..ir.ops.elementwise import Abs, Exp, Maximum, Sqrt
from ..ir.rewrite import Match, OpPattern, Rule, Var
from .matching import Fill, ToOperand, keeps_type

X = Var("x")
Bounds = tuple[float | None, float | None]


def bounds_of(op: Op) -> Bounds:
    """The bounds of a relu or a clip; None for none."""
    if isinstance(op, Clip):
        return (op.min, op.max)
    return (0.0, None)


def clamp(bound: float | None, low: float | None, high: float | None) -> float | None:
    """A bound held within two others."""
    if bound is None:
        return None
    bound = bound if low is None else max(bound, low)
    return bound if high is None else min(bound, high)


class ClipClip(Rule):
    """clip(clip(x, a, b), c, d) = clip(x, clip(a, c, d), clip(b, c, d)), relu being clip(x, 0)"""

    pattern = OpPattern((Clip, Relu), OpPattern((Clip, Relu), X, name="inner"), name="outer")

    def replace(self, b: Builder, match: Match) -> Value:
        a, b_ = bounds_of(match.nodes["inner"].op)
        c, d = bounds_of(match.nodes["outer"].op)
        # A missing bound of the inner clip is an infinite one: the outer's takes its place.
        low = c if a is None else clamp(a, c, d)
        high = d if b_ is None else clamp(b_, c, d)
        return b(Clip(low, high), match["x"])


class ClipNothing(ToOperand):
    """clip(x, -inf, inf) = x"""

    pattern = OpPattern(Clip, X, name="clip")

    def check(self, match: Match) -> str | None:
        low, high = bounds_of(match.nodes["clip"].op)
        if low not in (None, -float("inf")) or high not in (None, float("inf")):
            return f"it is held within {low} and {high}"
        return None


class ClipRelu(Rule):
    """clip(x, 0, inf) = relu(x)"""

    pattern = OpPattern(Clip, X, name="clip")

    def check(self, match: Match) -> str | None:
        low, high = bounds_of(match.nodes["clip"].op)
        if low != 0 or high not in (None, float("inf")):
            return f"it is held within {low} and {high}"
        return None

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Relu(), match["x"])


class MaximumRelu(Rule):
    """max(x, 0) = relu(x)"""

    pattern = OpPattern(Maximum, X, Fill(0), commutative=True)

    def check(self, match: Match) -> str | None:
        if not match["x"].type.dtype.is_float:
            return f"relu takes floating-point values, %{match['x'].name} is {match['x'].type}"
        return keeps_type(match)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Relu(), match["x"])


class ReluPositive(ToOperand):
    """relu(x) = x where x = e**y, |y|, sqrt(y), sigmoid(y) or softmax(y), which are not negative"""

    pattern = OpPattern(Relu, X)

    def check(self, match: Match) -> str | None:
        node = match["x"].node
        if node is None or not isinstance(node.op, (Exp, Abs, Sqrt, Sigmoid, Softmax)):
            return f"%{match['x'].name} may be negative"
        return None


ACTIVATION: tuple[Rule, ...] = (
    ClipClip(),
    ClipNothing(),
    ClipRelu(),
    MaximumRelu(),
    ReluPositive(),
)
