"""Scales and shifts of parameters, one for each channel, folded into the layer before them.

So is a batch norm that a converter has written out. As in ``batch_norm_folding``, what is folded is
written as nodes on parameters, which a backend runs once for each set of weights.
"""

from __future__ import annotations

from ..ir import Builder, Node, Value
from ..ir.ops.conv import Conv2d
from ..ir.ops.conv_nd import Conv, ConvTranspose
from ..ir.ops.elementwise import Add, Div, Mul, Neg, Sub
from ..ir.ops.linear import Linear
from ..ir.ops.shape import Expand, Reshape
from ..ir.pass_manager import Rewrite
from ..ir.rewrite import Match, OpPattern, Rule, Var
from .matching import Fill
from .properties import depends_on_data

LAYER = OpPattern((Conv2d, Conv, Linear), Var("x"), Var("weight"), name="layer", rest="bias")


class _PerChannel(Rule):
    """Base of rules for an operand that is one number for each channel of ``layer``, or for all."""

    alone = ("layer",)

    def check(self, match: Match) -> str | None:
        layer, operand = match.nodes["layer"], match["y"]
        weights = [value for name, value in match.values.items() if name != "x"]
        if depends_on_data(*weights):
            return "the weights, or what they would take up, depend on data"
        if match.root.result.type != layer.result.type:
            return f"the result {match.root.result.type} is larger than {layer.result.type}"
        rank, axis = layer.result.type.rank, channel_axis(layer)
        places = range(rank - operand.type.rank, rank)
        spread = [d for place, d in zip(places, operand.type.shape) if d != 1 and place != axis]
        return f"%{operand.name} {operand.type} differs within a channel" if spread else None

    def vector(self, b: Builder, match: Match) -> Value:
        """The operand as [C]."""
        (channels, *_), operand = match["weight"].type.shape, match["y"]
        if operand.type.size != channels:
            flat = b(Reshape(()), operand) if operand.type.rank else operand
            return b(Expand((channels,)), flat)
        return operand if operand.type.rank == 1 else b(Reshape((channels,)), operand)


def channel_axis(layer: Node) -> int:
    """Which dimension of the result counts the rows of the weight."""
    return layer.result.type.rank - 1 if isinstance(layer.op, Linear) else 1


class LayerShift(_PerChannel):
    """conv(x, w, b) + c = conv(x, w, b + c), and so for - c and for linear"""

    pattern = OpPattern((Add, Sub), LAYER, Var("y"), name="shift", commutative=True)

    def check(self, match: Match) -> str | None:
        if isinstance(match.root.op, Sub) and match.root.operands[0] is match["y"]:
            return "the result is taken from a constant, not the other way round"
        return super().check(match)

    def replace(self, b: Builder, match: Match) -> Value:
        layer = match.nodes["layer"]
        with b.at(match.root, suffix="folded"):
            bias = self.vector(b, match)
            if "bias0" in match.values:
                bias = b(match.root.op, match["bias0"], bias)
            elif isinstance(match.root.op, Sub):
                bias = b(Neg(), bias)
        with b.at(layer):
            return b(layer.op, match["x"], match["weight"], bias)


class LayerScale(_PerChannel):
    """conv(x, w, b) * s = conv(x, w * s, b * s), and so for / s and for linear"""

    pattern = OpPattern((Mul, Div), LAYER, Var("y"), name="scale", commutative=True)

    def check(self, match: Match) -> str | None:
        if isinstance(match.root.op, Div) and match.root.operands[0] is match["y"]:
            return "a constant is divided by the result, not the other way round"
        return super().check(match)

    def replace(self, b: Builder, match: Match) -> Value:
        layer, op, weight = match.nodes["layer"], match.root.op, match["weight"]
        bias = None
        with b.at(match.root, suffix="folded"):
            scale = self.vector(b, match)
            if "bias0" in match.values:
                bias = b(op, match["bias0"], scale)
        with b.at(layer, suffix="folded"):
            rows = b(Reshape((*scale.type.shape, *(1,) * (weight.type.rank - 1))), scale)
            weight = b(op, weight, rows)
        with b.at(layer):
            return b(layer.op, match["x"], weight, bias)


class ZeroBias(Rule):
    """conv(x, w, 0) = conv(x, w), and so for a transposed convolution and for linear"""

    pattern = OpPattern(
        (Conv2d, Conv, ConvTranspose, Linear), Var("x"), Var("weight"), Fill(0), name="layer"
    )

    def replace(self, b: Builder, match: Match) -> Value:
        return b(match.root.op, match["x"], match["weight"])


class FoldScales(Rewrite):
    """Folds scales and shifts into the layers before them."""

    name = "fold_scales"
    rules = (LayerShift(), LayerScale())


class FoldShifts(Rewrite):
    """Makes what is added to a layer its bias, and leaves out a bias of zeros."""

    name = "fold_shifts"
    rules = (LayerShift(), ZeroBias())
