"""Import of losses of class indices."""

from __future__ import annotations

from ...ir import Value
from ...ir.ops.activation import LogSoftmax
from ...ir.ops.nll_loss import NLLLoss
from .call import Call
from .rules import Made, imports


@imports("NegativeLogLikelihoodLoss")
def _nll_loss(n: Call) -> Made:
    """NegativeLogLikelihoodLoss-12 to 22."""
    return _of_log_probabilities(n, n.value(0))


@imports("SoftmaxCrossEntropyLoss")
def _softmax_cross_entropy(n: Call) -> Made:
    """SoftmaxCrossEntropyLoss-12 and 13: the log probabilities are its second result."""
    logs = n.b(LogSoftmax(1), n.value(0))
    loss = _of_log_probabilities(n, logs)
    return (loss, logs) if n.wants(1) else loss


def _of_log_probabilities(n: Call, logs: Value) -> Value:
    ignored = n.attribute("ignore_index")
    op = NLLLoss(n.text("reduction", "mean"), None if ignored is None else int(ignored.i))
    weight = [n.weight(2)] if n.has(2) else []
    return n.b(op, logs, n.value(1), *weight)
