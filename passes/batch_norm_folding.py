"""Batch normalisation with given statistics, folded into the weights before it.

With s = gamma / sqrt(variance + epsilon), ``y = (x - mean) * s + beta`` is linear in x, so a
convolution or matrix product before it takes it up: its weights are scaled by s for each output
channel, and its bias b becomes (b - mean) * s + beta. All this is written as nodes on parameters,
which a backend runs once for each set of weights, so that code never depends on weights.

A batch norm *before* a convolution is not folded: a padded convolution reads zeros beyond the
border, where the folded shift (beta - mean * s) would have to be taken away again.

What is left becomes one multiplication and one addition with the same s: :class:`NormToScale`.
"""

from __future__ import annotations

from ..ir import Builder, Node, Value
from ..ir.ops.constant import scalar
from ..ir.ops.conv import Conv2d
from ..ir.ops.elementwise import Add, Div, Mul, Sqrt, Sub
from ..ir.ops.linear import Linear
from ..ir.ops.normalize import BatchNorm, write_against
from ..ir.ops.shape import Reshape
from ..ir.pass_manager import Rewrite
from ..ir.rewrite import Match, OpPattern, Rule, Var
from .properties import depends_on_data

STATISTICS = tuple(map(Var, BatchNorm.operands[1:]))


def write_scale(b: Builder, match: Match) -> Value:
    """Write s = gamma / sqrt(variance + epsilon) of the batch norm that the pattern matched."""
    variance = match["variance"]
    epsilon = scalar(b, match.op("norm", BatchNorm).epsilon, variance)
    return b(Div(), match["gamma"], b(Sqrt(), b(Add(), variance, epsilon)))


class _IntoWeight(Rule):
    """Base of rules that fold a batch norm into the layer before it, matched as ``layer``."""

    alone = ("layer",)

    def check(self, match: Match) -> str | None:
        names = ("weight", *(name for name in match.values if name.startswith("bias")))
        if depends_on_data(*(match[name] for name in (*names, *BatchNorm.operands[1:]))):
            return "the weights or statistics depend on data: to scale them costs time at each call"
        return None

    def replace(self, b: Builder, match: Match) -> Value:
        layer: Node = match.nodes["layer"]
        weight = match["weight"]
        with b.at(match.root, suffix="folded"):
            scale = write_scale(b, match)
            shift = b(Mul(), match["mean"], scale)
            if "bias0" in match.values:
                shift = b(Mul(), b(Sub(), match["mean"], match["bias0"]), scale)
            bias = b(Sub(), match["beta"], shift)
        with b.at(layer, suffix="folded"):
            rows = b(Reshape((*scale.type.shape, *(1,) * (weight.type.rank - 1))), scale)
            weight = b(Mul(), weight, rows)
        with b.at(layer):
            return b(layer.op, match["x"], weight, bias)


class ConvBatchNorm(_IntoWeight):
    """batch_norm(conv2d(x, w, b)) = conv2d(x, w * s, (b - mean) * s + beta)"""

    pattern = OpPattern(
        BatchNorm,
        OpPattern(Conv2d, Var("x"), Var("weight"), name="layer", rest="bias"),
        *STATISTICS,
        name="norm",
    )


class LinearBatchNorm(_IntoWeight):
    """batch_norm(linear(x, w, b)) = linear(x, w * s, (b - mean) * s + beta) for x [N, features]"""

    pattern = OpPattern(
        BatchNorm,
        OpPattern(Linear, Var("x"), Var("weight"), name="layer", rest="bias"),
        *STATISTICS,
        name="norm",
    )

    def check(self, match: Match) -> str | None:
        if match["x"].type.rank != 2:
            return f"the channels of {match.root.result.type} are not the features of the layer"
        return super().check(match)


class BatchNormScale(Rule):
    """batch_norm(x) = x * s + (beta - mean * s)"""

    pattern = OpPattern(BatchNorm, Var("x"), *STATISTICS, name="norm")

    def replace(self, b: Builder, match: Match) -> Value:
        x = match["x"]
        with b.at(match.root, suffix="folded"):
            scale = write_scale(b, match)
            shift = b(Sub(), match["beta"], b(Mul(), match["mean"], scale))
            scale, shift = write_against(b, scale, x), write_against(b, shift, x)
            scaled = b(Mul(), x, scale)
        return b(Add(), scaled, shift)


class FoldBatchNorm(Rewrite):
    """Folds batch norms into the convolutions and linear layers before them."""

    name = "fold_batch_norm"
    rules = (ConvBatchNorm(), LinearBatchNorm())


class NormToScale(Rewrite):
    """Turns batch norms into a multiplication and an addition, with vectors of parameters."""

    name = "norm_to_scale"
    rules = (BatchNormScale(),)
