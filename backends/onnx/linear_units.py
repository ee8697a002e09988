"""Export of linear units and their gates, and of the error function.

Their attributes are float32 in ONNX, which would round those of a network in float64.
"""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops.activation import Hardmax
from ...ir.ops.error_function import Erf, Erfc
from ...ir.ops.linear_units import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    Mish,
    PRelu,
    Shrink,
    Softplus,
    Softsign,
    Swish,
    ThresholdedRelu,
)
from .rules import exports, exports_as, not_in_f64
from .writer import Writer

exports_as({PRelu: "PRelu", Softsign: "Softsign"})
exports_as({Mish: "Mish"}, since=18)
exports_as({HardSwish: "HardSwish"}, applies=not_in_f64, since=14)


@exports(Erf, Erfc)
def _erf(w: Writer, op: Erf | Erfc, node: Node, x: str) -> str:
    y = w("Erf", x)
    return y if isinstance(op, Erf) else w("Sub", w.constant(1, node.result.type.dtype), y)


def _has_elu(node: Node) -> bool:
    op = node.op
    return isinstance(op, Elu) and not_in_f64(node) and (op.input_scale == 1 or _is_celu(node))


def _is_celu(node: Node) -> bool:
    """ONNX has celu in float32 alone."""
    op = node.op
    assert isinstance(op, Elu)
    in_f32 = node.result.type.dtype is DType.F32
    return in_f32 and op.scale == 1 and op.alpha > 0 and op.input_scale == 1 / op.alpha


@exports(Elu, applies=_has_elu)
def _elu(w: Writer, op: Elu, node: Node, x: str) -> str:
    if op.input_scale != 1:
        return w("Celu", x, alpha=op.alpha)
    if op.scale != 1:
        return w("Selu", x, alpha=op.alpha, gamma=op.scale)
    return w("Elu", x, alpha=op.alpha)


def _has_softplus(node: Node) -> bool:
    return isinstance(node.op, Softplus) and node.op.beta == 1


@exports(Softplus, applies=_has_softplus)
def _softplus(w: Writer, op: Softplus, node: Node, x: str) -> str:
    return w("Softplus", x)


@exports(Swish, applies=not_in_f64, since=24)
def _swish(w: Writer, op: Swish, node: Node, x: str) -> str:
    return w("Swish", x, alpha=op.alpha)


@exports(Gelu, applies=not_in_f64, since=20)
def _gelu(w: Writer, op: Gelu, node: Node, x: str) -> str:
    return w("Gelu", x, approximate=op.approximate)


@exports(HardSigmoid, applies=not_in_f64)
def _hard_sigmoid(w: Writer, op: HardSigmoid, node: Node, x: str) -> str:
    return w("HardSigmoid", x, alpha=op.alpha, beta=op.beta)


@exports(ThresholdedRelu, applies=not_in_f64)
def _thresholded_relu(w: Writer, op: ThresholdedRelu, node: Node, x: str) -> str:
    return w("ThresholdedRelu", x, alpha=op.alpha)


@exports(Shrink, applies=not_in_f64)
def _shrink(w: Writer, op: Shrink, node: Node, x: str) -> str:
    return w("Shrink", x, lambd=op.lambd, bias=op.bias)


@exports(Hardmax, applies=not_in_f64)
def _hardmax(w: Writer, op: Hardmax, node: Node, x: str) -> str:
    return w("Hardmax", x, axis=op.axis)
