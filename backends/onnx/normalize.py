"""Export of norms.

Batch norm with the statistics of the batch is decomposed: ONNX's own training mode updates the
running variance by the biased one. In float64 all are: epsilon is a float32 in ONNX.
"""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops.normalize import BatchNorm
from ...ir.ops.response_norm import LocalResponseNorm, LpNorm
from ...ir.ops.sample_norm import GroupNorm, LayerNorm, MeanVarianceNorm, RMSNorm
from .rules import exports, not_in_f64
from .writer import Writer


@exports(BatchNorm, applies=not_in_f64)
def _batch_norm(
    w: Writer, op: BatchNorm, node: Node, x: str, gamma: str, beta: str, mean: str, variance: str
) -> str:
    return w("BatchNormalization", x, gamma, beta, mean, variance, epsilon=op.epsilon)


def _in_f32(node: Node) -> bool:
    """ONNX Runtime has the operator in float32, and the statistics of ONNX are float32."""
    return node.results[0].type.dtype is DType.F32


@exports(LayerNorm, applies=_in_f32, since=17)
def _layer_norm(w: Writer, op: LayerNorm, node: Node, x: str, *factors: str) -> tuple[str, ...]:
    made = w.results(3, "LayerNormalization", x, *factors, axis=op.axis, epsilon=op.epsilon)
    return tuple(made)


@exports(RMSNorm, applies=_in_f32, since=23)
def _rms_norm(w: Writer, op: RMSNorm, node: Node, x: str, gamma: str) -> str:
    return w("RMSNormalization", x, gamma, axis=op.axis, epsilon=op.epsilon)


def _has_group_norm(node: Node) -> bool:
    """Of images as instance norm, which ONNX has in each opset; else before 21 it scales groups."""
    op = node.op
    return isinstance(op, GroupNorm) and _in_f32(node) and _is_instance_norm(node)


def _is_instance_norm(node: Node) -> bool:
    op, x = node.op, node.operands[0].type
    assert isinstance(op, GroupNorm)
    return x.rank > 2 and op.num_groups in (None, x.shape[1])


@exports(GroupNorm, applies=_has_group_norm)
def _group_norm(w: Writer, op: GroupNorm, node: Node, x: str, gamma: str, beta: str) -> str:
    return w("InstanceNormalization", x, gamma, beta, epsilon=op.epsilon)


@exports(MeanVarianceNorm, applies=_in_f32)
def _mean_variance_norm(w: Writer, op: MeanVarianceNorm, node: Node, x: str) -> str:
    return w("MeanVarianceNormalization", x, axes=op.axes)


def _has_lrn(node: Node) -> bool:
    op, x = node.op, node.operands[0].type
    assert isinstance(op, LocalResponseNorm)
    # ONNX Runtime takes images, and windows that have a centre.
    return _in_f32(node) and x.rank == 4 and op.size % 2 == 1 and op.before == op.size // 2


@exports(LocalResponseNorm, applies=_has_lrn)
def _local_response_norm(w: Writer, op: LocalResponseNorm, node: Node, x: str) -> str:
    return w("LRN", x, size=op.size, alpha=op.alpha, beta=op.beta, bias=op.k)


@exports(LpNorm)
def _lp_norm(w: Writer, op: LpNorm, node: Node, x: str) -> str:
    return w("LpNormalization", x, axis=op.axis, p=op.p)
