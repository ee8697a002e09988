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

from typing import ClassVar

from ..ir import Builder, Node, Value
from ..ir.ops.constant import scalar
from ..ir.ops.conv import Conv2d, Conv2dBackwardData, Convolution
from ..ir.ops.conv_nd import Conv, ConvTranspose
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
    """batch_norm(conv(x, w, b)) = conv(x, w * s, (b - mean) * s + beta)"""

    pattern = OpPattern(
        BatchNorm,
        OpPattern((Conv2d, Conv), Var("x"), Var("weight"), name="layer", rest="bias"),
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


_TRANSPOSED = OpPattern((Conv2dBackwardData, ConvTranspose), Var("x"), Var("weight"), name="layer")


class TransposeBatchNorm(Rule):
    """batch_norm(conv_transpose(x, w)) = conv_transpose(x, w * s) + (beta - mean * s)"""

    pattern = OpPattern(BatchNorm, _TRANSPOSED, *STATISTICS, name="norm")
    alone: ClassVar[tuple[str, ...]] = ("layer",)

    def check(self, match: Match) -> str | None:
        if depends_on_data(*(value for name, value in match.values.items() if name != "x")):
            return "the weights or statistics depend on data: to scale them costs time at each call"
        return None

    def replace(self, b: Builder, match: Match) -> Value:
        layer: Node = match.nodes["layer"]
        with b.at(match.root, suffix="folded"):
            scale = write_scale(b, match)
            shift = b(Sub(), match["beta"], b(Mul(), self.mean(b, match), scale))
        with b.at(layer, suffix="folded"):
            weight = _scaled_columns(b, layer, match["weight"], scale)
        with b.at(layer):
            y = b(layer.op, match["x"], weight)
        with b.at(match.root):
            return b(Add(), y, write_against(b, shift, y))

    def mean(self, b: Builder, match: Match) -> Value:
        """What is taken from each channel of the layer."""
        return match["mean"]


class BiasedTransposeBatchNorm(TransposeBatchNorm):
    """batch_norm(conv_transpose(x, w) + c) = conv_transpose(x, w * s) + (beta - (mean - c) * s)"""

    pattern = OpPattern(
        BatchNorm,
        OpPattern(Add, _TRANSPOSED, Var("y"), name="sum", commutative=True),
        *STATISTICS,
        name="norm",
    )
    alone = ("layer", "sum")

    def check(self, match: Match) -> str | None:
        layer, y = match.nodes["layer"].result, match["y"]
        if (*layer.type.shape[1:2], *(1,) * (layer.type.rank - 2)) != y.type.shape:
            return f"%{y.name} {y.type} is not one number for each channel"
        return super().check(match)

    def mean(self, b: Builder, match: Match) -> Value:
        mean = match["mean"]
        return b(Sub(), mean, b(Reshape(mean.type.shape), match["y"]))


def _scaled_columns(b: Builder, layer: Node, weight: Value, scale: Value) -> Value:
    """The weight [C, C_out/groups, K, ...] of a transposed convolution times s [C_out]."""
    assert isinstance(layer.op, Convolution)
    (channels, columns, *kernel), groups = weight.type.shape, layer.op.groups
    by_group = b(Reshape((groups, channels // groups, columns, *kernel)), weight)
    scales = b(Reshape((groups, 1, columns, *(1,) * len(kernel))), scale)
    return b(Reshape(weight.type.shape), b(Mul(), by_group, scales))


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
    rules = (
        ConvBatchNorm(),
        LinearBatchNorm(),
        TransposeBatchNorm(),
        BiasedTransposeBatchNorm(),
    )


class NormToScale(Rewrite):
    """Turns batch norms into a multiplication and an addition, with vectors of parameters."""

    name = "norm_to_scale"
    rules = (BatchNormScale(),)
