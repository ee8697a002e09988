"""Metrics written into the graph: functions (logits, target) -> scalar, as losses are."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.attributes import number, positive
from ..ir.errors import AttributeMistake, ShapeError
from ..ir.location import here
from ..ir.tracebacks import user_facing
from . import choosing
from .losses import as_binary, need_classes
from .tensor import Tensor

# A single output is the greatest whatever it is.
_SINGLE = (
    "write metrics={'accuracy': binary_accuracy(0.0)} for logits, (0.5) for probabilities, with "
    "binary_accuracy from cauce.frontends.batch_metrics"
)


@user_facing
def accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """The share of samples whose greatest logit is that of their class.

    At ties the first class counts as the greatest.

    Args:
        logits: [N, C, ...].
        target: class indices [N, ...], or probabilities [N, C, ...], whose greatest is the class.

    Raises:
        ShapeError: a single class, which would always be the greatest: see :func:`binary_accuracy`.
    """
    need_classes("accuracy", logits, _SINGLE)
    return logits.argmax(dim=1).eq(_classes(logits, target)).cast(logits.dtype).mean()


@user_facing
def binary_accuracy(threshold: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """The metric: the share of outputs that lie on the side of the threshold of their labels.

    An output above the threshold says 1, one that is not says 0, and NaN is never right. The
    arguments of the metric are the outputs x, of any shape, and labels 0 and 1 (integers, bools),
    [N, ...] too for x [N, 1, ...]; or probabilities shaped like x, of which those above 0.5 are 1.

    Args:
        threshold: 0 for logits, 0.5 for probabilities.

    Raises:
        AttributeMistake: a threshold that is no number.
        ShapeError: by the metric, labels of another shape; nothing is broadcast.
    """
    bound = number(threshold, "threshold")

    def metric(x: Tensor, target: Tensor) -> Tensor:
        goal = as_binary(x, target)
        if goal.shape != x.shape:
            raise ShapeError(
                f"binary_accuracy: the output is {x.type}, the target is {target.type}",
                fix="reshape one of them: the shapes must be equal, nothing is broadcast",
                loc=here(),
            )
        right = choosing.where(goal > 0.5, (x > bound).cast(x.dtype), (x <= bound).cast(x.dtype))
        return right.mean()

    return metric


@user_facing
def top_k(k: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The metric: the share of samples whose class is among those of the k greatest logits.

    A class is among them unless k logits or more are above its own: at ties a sample counts as
    right. A logit that is NaN counts as above all others, and as below all where it is the class's
    own. The arguments of the metric are those of :func:`accuracy`.

    Raises:
        AttributeMistake: k below 1, or, by the metric, above the number of classes.
        ShapeError: by the metric, a single class.
    """
    k = positive(k, "k")

    def metric(logits: Tensor, target: Tensor) -> Tensor:
        need_classes("top_k", logits, _SINGLE)
        classes = logits.channels
        if not isinstance(classes, int):
            raise ShapeError(
                f"top_k must know the number of classes, the logits are {logits.type}",
                fix="give the network's output a known number of channels",
                loc=here(),
            )
        if k > classes:
            raise AttributeMistake(
                f"top_k: k is {k}, but there are {classes} classes",
                fix=f"choose k below {classes}, at which every sample counts as right",
                loc=here(),
            )
        last = logits.permute(0, *range(2, logits.ndim), 1)
        own = choosing.one_hot(_classes(logits, target), classes, "bool")
        # Not logits * own: infinity times 0 is NaN.
        logit = choosing.where(own, last, 0.0).sum(dim=-1, keepdim=True)
        not_above = (last <= logit).cast("i32").sum(dim=-1)
        return (not_above > classes - k).cast(logits.dtype).mean()

    return metric


def _classes(logits: Tensor, target: Tensor) -> Tensor:
    """The class of each sample; shapes that would broadcast against the logits are refused."""
    indices = (logits.shape[0], *logits.shape[2:])
    wanted = logits.shape if target.dtype.is_float else indices
    if target.shape != wanted:
        raise ShapeError(
            f"the logits are {logits.type}, the target is {target.type}",
            fix="give class indices "
            f"[{','.join(map(str, indices))}], or probabilities shaped like the logits",
            loc=here(),
        )
    return target.argmax(dim=1) if target.dtype.is_float else target
