"""Losses, with the names and argument orders of ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Op
from ..ir.errors import AttributeMistake
from ..ir.location import here
from ..ir.ops import loss
from ..ir.tracebacks import user_facing
from .tensor import Tensor
from .tracing import current


def _loss(make: type[Op], x: Tensor, target: Tensor, **attributes: object) -> Tensor:
    trace = current()
    path = trace.path(make.name)
    try:
        op = make(**attributes)
    except AttributeMistake as error:
        error.at(path, here())
        raise
    return trace.emit(op, x, target, path=path)


@user_facing
def cross_entropy(
    logits: Tensor, target: Tensor, reduction: str = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """Cross entropy of logits [N, C, ...] with class indices [N, ...] or class probabilities."""
    attributes = {"reduction": reduction, "label_smoothing": label_smoothing}
    return _loss(loss.CrossEntropy, logits, target, **attributes)


@user_facing
def kl_divergence(logits: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Kullback-Leibler divergence of the target distribution from softmax(logits)."""
    return _loss(loss.KLDivergence, logits, target, reduction=reduction)


@user_facing
def binary_cross_entropy(p: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Binary cross entropy of probabilities; better from logits, see below."""
    return _loss(loss.BinaryCrossEntropy, p, target, reduction=reduction)


@user_facing
def binary_cross_entropy_with_logits(
    logits: Tensor, target: Tensor, reduction: str = "mean"
) -> Tensor:
    """Binary cross entropy of sigmoid(logits), computed stably."""
    return _loss(loss.BinaryCrossEntropyWithLogits, logits, target, reduction=reduction)


@user_facing
def mse_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The mean squared error."""
    return _loss(loss.MSELoss, x, target, reduction=reduction)


# The losses a Trainer knows by name, and whether their targets are class indices.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "kl_divergence": kl_divergence,
    "binary_cross_entropy": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "mse_loss": mse_loss,
}
CLASS_LOSSES = frozenset({"cross_entropy"})
