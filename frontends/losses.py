"""Losses, with the names and argument orders of ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import DType, Op
from ..ir.errors import AttributeMistake, ShapeError
from ..ir.location import here
from ..ir.ops import loss
from ..ir.tracebacks import user_facing
from .functional import one_hot
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


def is_single(x: Tensor) -> bool:
    """Whether x is one output for each sample: [N] or [N, 1, ...]."""
    return x.ndim == 1 or (x.ndim > 1 and x.shape[1] == 1)


def _check_classes(loss: str, logits: Tensor) -> None:
    """Raise ShapeError where there is one logit, whose softmax is 1 whatever the network says."""
    if is_single(logits):
        raise ShapeError(
            f"{loss} compares the outputs of several classes, the network has one: {logits.type}",
            fix="train one output by loss='binary_cross_entropy_with_logits' "
            "(nn.binary_cross_entropy_with_logits in a function), or give the network two outputs",
            loc=here(),
        )


def as_binary(x: Tensor, target: Tensor) -> Tensor:
    """The target of a binary loss or metric of x, as probabilities of x's dtype and shape.

    A floating-point target is left as it is. Labels 0 and 1, integers or bools, may lack
    dimension 1 where that of x is 1: [N] for x [N, 1]. Each run raises ShapeError for an integer
    that is neither.

    Raises:
        ShapeError: labels of another shape; nothing is broadcast.
    """
    if target.dtype.is_float:
        return target
    squeezed = (x.shape[0], *x.shape[2:]) if x.ndim > 1 and is_single(x) else x.shape
    if target.shape not in (x.shape, squeezed):
        raise ShapeError(
            f"the labels of {x.type} are {target.type}",
            fix=f"give a label 0 or 1 for each output: [{','.join(map(str, x.shape))}]",
            loc=here(),
        )
    if target.dtype is DType.BOOL:
        ones = target.cast(x.dtype)
    else:
        ones = one_hot(target, 2, x.dtype)[..., 1]  # which checks them, as a cast would not
    return ones if ones.shape == x.shape else ones.reshape(x.shape)


@user_facing
def cross_entropy(
    logits: Tensor, target: Tensor, reduction: str = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """Cross entropy of logits [N, C, ...] with class indices [N, ...] or class probabilities.

    Raises:
        ShapeError: a single class, or shapes that do not fit.
    """
    _check_classes("cross_entropy", logits)
    attributes = {"reduction": reduction, "label_smoothing": label_smoothing}
    return _loss(loss.CrossEntropy, logits, target, **attributes)


@user_facing
def kl_divergence(logits: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Kullback-Leibler divergence of the target distribution from softmax(logits).

    Raises:
        ShapeError: a single class, or shapes that do not fit.
    """
    _check_classes("kl_divergence", logits)
    return _loss(loss.KLDivergence, logits, target, reduction=reduction)


@user_facing
def binary_cross_entropy(p: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Binary cross entropy of probabilities; better from logits, see below.

    Args:
        p: the probabilities of label 1, of any shape.
        target: likewise; or labels 0 and 1 (integers, bools), [N, ...] too for p [N, 1, ...].
        reduction: "mean", "sum" or "none".
    """
    return _loss(loss.BinaryCrossEntropy, p, as_binary(p, target), reduction=reduction)


@user_facing
def binary_cross_entropy_with_logits(
    logits: Tensor, target: Tensor, reduction: str = "mean"
) -> Tensor:
    """Binary cross entropy of sigmoid(logits), computed stably.

    The target is as for :func:`binary_cross_entropy`.
    """
    goal = as_binary(logits, target)
    return _loss(loss.BinaryCrossEntropyWithLogits, logits, goal, reduction=reduction)


@user_facing
def mse_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The mean squared error."""
    return _loss(loss.MSELoss, x, target, reduction=reduction)


# The losses a Trainer knows by name, those whose targets are class indices, and for those of labels
# 0 and 1 the output above which a network says 1.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "kl_divergence": kl_divergence,
    "binary_cross_entropy": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "mse_loss": mse_loss,
}
CLASS_LOSSES = frozenset({"cross_entropy"})
BINARY_LOSSES = {"binary_cross_entropy": 0.5, "binary_cross_entropy_with_logits": 0.0}
