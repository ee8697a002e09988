"""Export of batch normalisation; with the statistics of the batch it is decomposed.

ONNX's own training mode updates the running variance by the biased one.
"""

from __future__ import annotations

from ...ir import Node
from ...ir.ops.normalize import BatchNorm
from .rules import exports, not_in_f64
from .writer import Writer


@exports(BatchNorm, applies=not_in_f64)
def _batch_norm(
    w: Writer, op: BatchNorm, node: Node, x: str, gamma: str, beta: str, mean: str, variance: str
) -> str:
    return w("BatchNormalization", x, gamma, beta, mean, variance, epsilon=op.epsilon)
