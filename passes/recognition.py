"""Ops that a converter has written out, recognised by what they are made of.

What an activation multiplies is a product: its factors may come in any order, with the constant at
any place. Constants are as exact as their dtype has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import Builder, Node, Value
from ..ir.ops.activation import Clip, Sigmoid
from ..ir.ops.elementwise import Add, Div, Mul, Sqrt, Sub
from ..ir.ops.error_function import Erf
from ..ir.ops.linear_units import Gelu, HardSigmoid, HardSwish, Swish
from ..ir.ops.pool import GlobalAvgPool2d
from ..ir.ops.reduce import Mean, normalize_axes
from ..ir.ops.sample_norm import LayerNorm
from ..ir.pass_manager import Rewrite
from ..ir.rewrite import Match, OpPattern, Pattern, Rule, Var, only_reader
from .matching import array_of

X = Var("x")


def number_of(value: Value) -> float | None:
    """The number that all elements of a constant of one element are; None for others."""
    array = array_of(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def is_near(number: float | None, wanted: float, like: Value) -> bool:
    """Whether a constant was ``wanted`` before it was rounded to the dtype of ``like``."""
    tolerance = {8: 1e-14, 4: 1e-6, 2: 1e-2}[like.type.dtype.itemsize]
    return number is not None and math.isclose(number, wanted, rel_tol=tolerance)


class Number:
    """Matches a constant of one element near ``number``; any such constant where None."""

    def __init__(self, number: float | None, name: str | None = None) -> None:
        self.number, self.name = number, name

    def match(self, value: Value, match: Match) -> bool:
        found = number_of(value)
        if found is None or not value.type.dtype.is_float:
            return False
        if self.number is not None and not is_near(found, self.number, value):
            return False
        return self.name is None or match.values.setdefault(self.name, value) is value


class Product(OpPattern):
    """Matches x times a gate that is computed from x, times a constant.

    Args:
        gate: the pattern of the gate, with ``x`` in it.
        factor: the constant, which is left out where it is 1.
    """

    def __init__(self, gate: Pattern, factor: float = 1.0) -> None:
        super().__init__((Mul, Div))
        self.gate, self.factor = gate, factor

    def match_node(self, node: Node, match: Match) -> bool:
        if not isinstance(node.op, (Mul, Div)) or not node.result.type.dtype.is_float:
            return False
        found = _factors(node)
        if found is None:
            return False
        (first, second), factor = found
        if not is_near(factor, self.factor, node.result):
            return False
        for x, gate in ((first, second), (second, first)):
            trial = Match(match.root, {"x": x})
            alone = gate.node is not None and only_reader(gate.node)
            if alone and x.type == node.result.type and self.gate.match(gate, trial):
                match.values, match.nodes = trial.values, trial.nodes
                return True
        return False


def _factors(node: Node) -> tuple[Sequence[Value], float] | None:
    """The two factors of a product that are no constants, and the constant; None for others."""
    values, factor = [node.result], 1.0
    found: list[Value] = []
    while values:
        value = values.pop()
        number, made = number_of(value), value.node
        if number is not None:
            factor *= number
        elif made is None or not isinstance(made.op, (Mul, Div)) or not _inside(made, node):
            found.append(value)
        elif isinstance(made.op, Mul):
            values += made.operands
        elif divisor := number_of(made.operands[1]):
            values.append(made.operands[0])
            factor /= divisor
        else:
            found.append(value)
        if len(found) > 2:
            return None
    return (found, factor) if len(found) == 2 else None


def _inside(made: Node, root: Node) -> bool:
    return made is root or only_reader(made)


class SwishProduct(Rule):
    """x * sigmoid(x) = swish(x)"""

    pattern = Product(OpPattern(Sigmoid, X))

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Swish(), match["x"])


class HardSigmoidLine(Rule):
    """clip(x * alpha + beta, 0, 1) = hard_sigmoid(x)"""

    pattern = OpPattern(
        Clip,
        OpPattern(
            Add,
            OpPattern(Mul, X, Number(None, "alpha"), name="slope", commutative=True),
            Number(None, "beta"),
            name="line",
            commutative=True,
        ),
        name="clip",
    )
    alone = ("line", "slope")

    def check(self, match: Match) -> str | None:
        clip = match.op("clip", Clip)
        if (clip.min, clip.max) != (0, 1):
            return f"it is held within {clip.min} and {clip.max}"
        return None if match["x"].type == match.root.result.type else "a constant is larger than x"

    def replace(self, b: Builder, match: Match) -> Value:
        alpha, beta = (number_of(match[name]) for name in ("alpha", "beta"))
        assert alpha is not None and beta is not None
        return b(HardSigmoid(alpha, beta), match["x"])


class HardSigmoidSixth(Rule):
    """clip(x + beta, 0, six) / six = hard_sigmoid(x) with alpha = 1/six, and beta/six for beta"""

    pattern = OpPattern(
        (Mul, Div),
        OpPattern(
            Clip,
            OpPattern(Add, X, Number(None, "beta"), name="line", commutative=True),
            name="clip",
        ),
        Number(None, "six"),
        commutative=True,
    )
    alone = ("line", "clip")

    def check(self, match: Match) -> str | None:
        clip, six = match.op("clip", Clip), number_of(match["six"])
        assert six is not None
        if isinstance(match.root.op, Div):
            if match.root.operands[1] is not match["six"]:
                return "a constant is divided by it"
        else:
            six = 1 / six if six else math.inf
        if clip.min != 0 or not is_near(clip.max, six, match.root.result):
            return f"it is held within {clip.min} and {clip.max}, not 0 and {six}"
        return None if match["x"].type == match.root.result.type else "a constant is larger than x"

    def replace(self, b: Builder, match: Match) -> Value:
        beta, six = number_of(match["beta"]), match.op("clip", Clip).max
        assert beta is not None and six is not None
        return b(HardSigmoid(1 / six, beta / six), match["x"])


class _Sixths:
    """Matches hard_sigmoid(x) with the slope 1/6 and 1/2 at 0."""

    _pattern = OpPattern(HardSigmoid, X, name="gate")

    def match(self, value: Value, match: Match) -> bool:
        if not self._pattern.match(value, match):
            return False
        gate = match.op("gate", HardSigmoid)
        return is_near(gate.alpha, 1 / 6, value) and is_near(gate.beta, 0.5, value)


class HardSwishProduct(Rule):
    """x * hard_sigmoid(x) = hard_swish(x) for alpha = 1/6 and beta = 1/2"""

    pattern = Product(_Sixths())

    def replace(self, b: Builder, match: Match) -> Value:
        return b(HardSwish(), match["x"])


class _UpToSix:
    """Matches clip(x + 3, 0, 6)."""

    _pattern = OpPattern(
        Clip, OpPattern(Add, X, Number(3), name="line", commutative=True), name="clip"
    )

    def match(self, value: Value, match: Match) -> bool:
        if not self._pattern.match(value, match) or not only_reader(match.nodes["line"]):
            return False
        clip = match.op("clip", Clip)
        return clip.min == 0 and clip.max == 6


class HardSwishSixths(Rule):
    """x * clip(x + 3, 0, 6) / 6 = hard_swish(x)"""

    pattern = Product(_UpToSix(), 1 / 6)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(HardSwish(), match["x"])


class GeluProduct(Rule):
    """x * (1 + erf(x / sqrt 2)) / 2 = gelu(x)"""

    pattern = Product(
        OpPattern(
            Add,
            OpPattern(
                Erf,
                OpPattern((Mul, Div), X, Number(None, "root"), name="scaled", commutative=True),
                name="erf",
            ),
            Number(1),
            commutative=True,
        ),
        0.5,
    )
    alone = ("erf", "scaled")

    def check(self, match: Match) -> str | None:
        scaled, root = match.nodes["scaled"], number_of(match["root"])
        by_root = isinstance(scaled.op, Div) and scaled.operands[1] is match["root"]
        wanted = math.sqrt(2) if by_root else math.sqrt(0.5)
        return (
            None if is_near(root, wanted, match["x"]) else f"x is scaled by {root}, not by {wanted}"
        )

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Gelu(), match["x"])


class LayerNormWritten(Rule):
    """(x - mean x) / sqrt(mean of (x - mean x)**2 + epsilon) * gamma + beta = layer_norm(x)"""

    _centred = OpPattern(Sub, X, OpPattern(Mean, X, name="mean"), name="centred")
    pattern = OpPattern(
        Add,
        OpPattern(
            Mul,
            OpPattern(
                Div,
                _centred,
                OpPattern(
                    Sqrt,
                    OpPattern(
                        Add,
                        OpPattern(
                            Mean,
                            OpPattern(Mul, _centred, _centred, name="squares"),
                            name="variance",
                        ),
                        Number(None, "epsilon"),
                        name="sum",
                        commutative=True,
                    ),
                    name="root",
                ),
                name="normal",
            ),
            Var("gamma"),
            name="scaled",
            commutative=True,
        ),
        Var("beta"),
        commutative=True,
    )
    alone = ("mean", "squares", "variance", "sum", "root", "normal", "scaled")

    def check(self, match: Match) -> str | None:
        x = match["x"].type
        for name in ("mean", "variance"):
            mean = match.op(name, Mean)
            if not mean.keepdims or normalize_axes(mean.axes, x.rank, "mean") != (x.rank - 1,):
                return f"%{match.nodes[name].result.name} is not the mean along the last axis"
        return None if match.root.result.type == x else f"gamma or beta is larger than {x}"

    def replace(self, b: Builder, match: Match) -> Value:
        epsilon = number_of(match["epsilon"])
        assert epsilon is not None
        return b(LayerNorm(-1, epsilon), match["x"], match["gamma"], match["beta"])


class MeanImage(Rule):
    """mean(x, rows and columns) = global_avg_pool2d(x) for x [N, C, H, W], keeping dimensions"""

    pattern = OpPattern(Mean, X, name="mean")

    def check(self, match: Match) -> str | None:
        mean, x = match.op("mean", Mean), match["x"].type
        if x.rank == 4 and mean.keepdims and normalize_axes(mean.axes, 4, "mean") == (2, 3):
            return None
        return f"it is a mean of {x} over other axes, or without them"

    def replace(self, b: Builder, match: Match) -> Value:
        return b(GlobalAvgPool2d(), match["x"])


class Recognize(Rewrite):
    """Puts ops in the place of what converters write for them."""

    name = "recognize"
    rules = (
        HardSigmoidLine(),
        HardSigmoidSixth(),
        HardSwishProduct(),
        HardSwishSixths(),
        SwishProduct(),
        GeluProduct(),
        LayerNormWritten(),
        MeanImage(),
    )
