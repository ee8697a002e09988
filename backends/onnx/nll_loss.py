"""Export of the negative log likelihood."""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops.nll_loss import NLLLoss
from .rules import exports
from .writer import Writer


@exports(NLLLoss)
def _nll_loss(w: Writer, op: NLLLoss, node: Node, logs: str, target: str, *weight: str) -> str:
    if node.operands[1].type.dtype not in (DType.I32, DType.I64):
        target = w.cast(target, DType.I64)
    ignored = {} if op.ignore_index is None else {"ignore_index": op.ignore_index}
    return w("NegativeLogLikelihoodLoss", logs, target, *weight, reduction=op.reduction, **ignored)
