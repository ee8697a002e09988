"""Losses, with the names and argument orders of ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import Array, DType, Op
from ..ir.attributes import integer
from ..ir.errors import AttributeMistake, ShapeError, TypeMismatch, located, shown
from ..ir.location import here
from ..ir.ops import loss
from ..ir.ops.activation import LogSoftmax
from ..ir.ops.nll_loss import NLLLoss
from ..ir.remedies import as_array
from ..ir.tracebacks import user_facing
from . import choosing
from .tensor import Tensor
from .tracing import current

Weights = Tensor | Array | Sequence[float]


def _loss(make: type[Op], x: Tensor, target: Tensor, **attributes: object) -> Tensor:
    trace = current()
    path = trace.path(make.name)
    with located(path):
        op = make(**attributes)
    return trace.emit(op, x, target, path=path)


def is_single(x: Tensor) -> bool:
    """Whether x is one output for each sample: [N] or [N, 1, ...]."""
    return x.ndim == 1 or (x.ndim > 1 and x.shape[1] == 1)


# Of a single logit the softmax is 1 whatever the network says.
_SINGLE = (
    "train one output by loss='binary_cross_entropy_with_logits' "
    "(nn.binary_cross_entropy_with_logits in a function), or give the network two outputs"
)


def need_classes(what: str, logits: Tensor, fix: str) -> None:
    """Raise ShapeError where a loss or a metric of several classes is given a single output."""
    if is_single(logits):
        raise ShapeError(
            f"{what} compares the outputs of several classes, the network has one: {logits.type}",
            fix=fix,
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
        # It checks them, as a cast would not.
        ones = choosing.one_hot(target, 2, x.dtype)[..., 1]
    return ones if ones.shape == x.shape else ones.reshape(x.shape)


@user_facing
def cross_entropy(
    logits: Tensor,
    target: Tensor,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    weight: Weights | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Cross entropy of logits [N, C, ...] with class indices [N, ...] or class probabilities.

    With weights w and t the target (of indices y one-hot), smoothed, the loss of a sample is
    ``-sum over c of w_c * t_c * log_softmax(logits)_c``, and 0 where y is ``ignore_index``. The
    mean divides by the sum of w_y over the samples that count, for probabilities by their number.
    PyTorch CrossEntropyLoss.

    The logits are floating-point, and so is the result: a scalar, or [N, ...] with
    ``reduction="none"``.

    Args:
        logits: [N, C, ...].
        target: class indices [N, ...], or probabilities shaped like the logits.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: the share s of t that is spread evenly: (1 - s) * t + s / C.
        weight: [C], of each class: numbers, an array or a tensor; 1 where None.
        ignore_index: the label of samples that do not count; any int, in PyTorch -100. None
            where each counts. If none counts, the mean is 0/0, NaN.

    Raises:
        ShapeError, TypeMismatch: a single class, or operands that do not fit.
        AttributeMistake: ``ignore_index`` with probabilities, a reduction that is none.

    Examples:
        >>> loss = cauce.network(lambda x, t: nn.cross_entropy(x, t))
        >>> model = loss.init(x=("N", 2), t=cauce.ir.TensorType.make("i64", ("N",)))
        >>> cauce.compile(model, "numpy")(np.float32([[0, 0], [5, 0]]), np.int64([1, 0]))
        array(0.34993127, dtype=float32)
    """
    need_classes("cross_entropy", logits, _SINGLE)
    attributes = {"reduction": reduction, "label_smoothing": label_smoothing}
    if weight is None and ignore_index is None:
        return _loss(loss.CrossEntropy, logits, target, **attributes)
    trace = current()
    trace.check_own(logits, target)
    with trace.at(trace.path(loss.CrossEntropy.name)):
        op = loss.CrossEntropy(**attributes)  # type: ignore[arg-type]
        op.infer(logits.type, target.type)
        if target.dtype.is_float and ignore_index is not None:
            raise AttributeMistake(
                f"cross_entropy: ignore_index is a class index, the target is {target.type}",
                fix="give class indices, or probabilities of 0 for what does not count",
            )
        return _weighted_cross_entropy(op, logits, target, weight, ignore_index)


@user_facing
def nll_loss(
    log_probabilities: Tensor,
    target: Tensor,
    weight: Weights | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of class indices [N, ...] by log probabilities [N, C, ...].

    The loss of a sample is ``-w_y * log_probabilities[n, y, ...]``, and 0 where y is
    ``ignore_index``; the mean divides by the sum of w_y over the samples that count. Of logits,
    :func:`cross_entropy` is the same. PyTorch NLLLoss.

    The log probabilities are floating-point, and so is the result: a scalar, or [N, ...] with
    ``reduction="none"``.

    Args:
        log_probabilities: [N, C, ...], as :func:`log_softmax` gives them.
        target: class indices [N, ...].
        weight: [C], of each class: numbers, an array or a tensor; 1 where None.
        ignore_index: the label of samples that do not count; any int, in PyTorch -100. None
            where each counts. If none counts, the mean is 0/0, NaN.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ShapeError, TypeMismatch: a single class, or operands that do not fit.
        AttributeMistake: a reduction that is none.

    Examples:
        >>> loss = cauce.network(lambda x, t: nn.nll_loss(nn.log_softmax(x), t))
        >>> model = loss.init(x=("N", 2), t=cauce.ir.TensorType.make("i64", ("N",)))
        >>> cauce.compile(model, "numpy")(np.float32([[0, 0], [5, 0]]), np.int64([1, 0]))
        array(0.34993127, dtype=float32)
    """
    need_classes("nll_loss", log_probabilities, _SINGLE)
    trace = current()
    trace.check_own(log_probabilities, target)
    with trace.at(trace.path(NLLLoss.name)):
        ignored = None if ignore_index is None else integer(ignore_index, "ignore_index")
        op = NLLLoss(reduction, ignored)
        op.infer(log_probabilities.type, target.type)
        if weight is None:
            return trace.emit(op, log_probabilities, target)
        classes = _class_weights(weight, log_probabilities, "nll_loss")
        return trace.emit(op, log_probabilities, target, classes)


def _weighted_cross_entropy(
    op: loss.CrossEntropy,
    logits: Tensor,
    target: Tensor,
    weight: Weights | None,
    ignore_index: int | None,
) -> Tensor:
    """The formula of :func:`cross_entropy`, out of the op without weights."""
    trace, each = logits.trace, op.with_attributes(reduction="none")
    counts = share = None
    if ignore_index is not None:
        target = target.cast("i64")
        counts = ~target.eq(integer(ignore_index, "ignore_index"))
        target = choosing.where(counts, target, 0)  # whose loss is left out below
    if weight is None:
        losses = trace.emit(each, logits, target)
    else:
        classes = _class_weights(weight, logits)
        column = classes.reshape(-1, *(1,) * (logits.ndim - 2))
        hard = each.with_attributes(label_smoothing=0.0)
        if target.dtype.is_float:
            losses = trace.emit(hard, logits, target * column)
        else:
            share = choosing.gather(classes, target)
            losses = share * trace.emit(hard, logits, target)
        if op.label_smoothing:
            even = -(trace.emit(LogSoftmax(1), logits) * column).mean(dim=1)
            losses = losses * (1 - op.label_smoothing) + even * op.label_smoothing
    if counts is not None:
        losses = choosing.where(counts, losses, 0)
        share = counts.cast(logits.dtype) if share is None else choosing.where(counts, share, 0)
    if op.reduction == "none":
        return losses
    if op.reduction == "sum":
        return losses.sum()
    return losses.mean() if share is None else losses.sum() / share.sum()


def _class_weights(weight: Weights, logits: Tensor, loss: str = "cross_entropy") -> Tensor:
    """[C], one for each class of logits [N, C, ...]."""
    given = _numbers(weight, logits, "weight")
    if given.shape != logits.shape[1:2]:
        raise ShapeError(
            f"{loss}: weight has shape [{','.join(map(str, given.shape))}], "
            f"the logits {logits.type} have {logits.shape[1]} classes",
            fix="give one number for each class",
        )
    return given


def _numbers(given: Weights | float, like: Tensor, what: str) -> Tensor:
    """A tensor, or a constant of numbers with the dtype of ``like``."""
    if isinstance(given, Tensor):
        return given
    array = as_array(given, what)
    if array.dtype.kind not in "biuf":
        raise TypeMismatch(
            f"{what} takes numbers, got {shown(given)}", fix=f"write for example {what}=[1.0, 2.0]"
        )
    return like.trace.constant(array, like.dtype)


@user_facing
def kl_divergence(logits: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Kullback-Leibler divergence of the target distribution from softmax(logits).

    Logits and target, probabilities, are [N, C, ...] of one floating-point dtype; the result is a
    scalar, the mean or sum over the samples, or [N, ...] with ``reduction="none"``. Kullback and
    Leibler 1951.

    Raises:
        ShapeError: a single class, or shapes that do not fit.
        TypeMismatch: operands that are not of one floating-point dtype.
        AttributeMistake: a reduction that is none.

    Examples:
        >>> loss = cauce.network(lambda x, t: nn.kl_divergence(x, t))
        >>> model = loss.init(x=("N", 2), t=("N", 2))
        >>> cauce.compile(model, "numpy")(np.float32([[0, 0]]), np.float32([[0.9, 0.1]]))
        array(0.3680641, dtype=float32)
    """
    need_classes("kl_divergence", logits, _SINGLE)
    return _loss(loss.KLDivergence, logits, target, reduction=reduction)


@user_facing
def binary_cross_entropy(p: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Binary cross entropy of probabilities; better from logits, see below.

    The probabilities are floating-point, and so is the result: a scalar, or of their shape with
    ``reduction="none"``.

    Args:
        p: the probabilities of label 1, of any shape.
        target: likewise; or labels 0 and 1 (integers, bools), [N, ...] too for p [N, 1, ...].
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError: a target of another shape; in a run, a label that is neither 0 nor 1.
        TypeMismatch: dtypes that do not fit.
        AttributeMistake: a reduction that is none.

    Examples:
        >>> loss = cauce.network(lambda x, t: nn.binary_cross_entropy(x, t))
        >>> model = loss.init(x=("N",), t=("N",))
        >>> cauce.compile(model, "numpy")(np.float32([0.9, 0.2]), np.float32([1, 0]))
        array(0.16425204, dtype=float32)
    """
    return _loss(loss.BinaryCrossEntropy, p, as_binary(p, target), reduction=reduction)


@user_facing
def binary_cross_entropy_with_logits(
    logits: Tensor,
    target: Tensor,
    reduction: str = "mean",
    *,
    pos_weight: Weights | float | None = None,
) -> Tensor:
    """Binary cross entropy of sigmoid(logits), computed stably.

    With ``pos_weight`` p the loss of an element is
    ``-(p * t * log sigmoid(x) + (1 - t) * log(1 - sigmoid(x)))``: p above 1 counts a missed
    positive more. A number, or what broadcasts to the logits, such as one number for each of the
    last dimension. PyTorch BCEWithLogitsLoss. The target is as for :func:`binary_cross_entropy`.

    The logits are floating-point, of any shape, and so is the result: a scalar (``reduction``
    "mean" or "sum"), or of their shape with "none".

    Raises:
        ShapeError: a target of another shape; in a run, a label that is neither 0 nor 1.
        TypeMismatch: dtypes that do not fit, or a pos_weight that is no number.
        AttributeMistake: a reduction that is none.

    Examples:
        >>> loss = cauce.network(lambda x, t: nn.binary_cross_entropy_with_logits(x, t))
        >>> model = loss.init(x=("N",), t=("N",))
        >>> cauce.compile(model, "numpy")(np.float32([2, -2]), np.float32([1, 0]))
        array(0.12692805, dtype=float32)
    """
    target = as_binary(logits, target)
    op = loss.BinaryCrossEntropyWithLogits
    if pos_weight is None:
        return _loss(op, logits, target, reduction=reduction)
    trace = current()
    trace.check_own(logits, target)
    with trace.at(trace.path(op.name)):
        op(reduction).infer(logits.type, target.type)
        positive = _numbers(pos_weight, logits, "pos_weight").expand(*logits.shape)
        one, zero = (trace.constant(t, logits.dtype).expand(*logits.shape) for t in (1, 0))
        missed = target * positive * trace.emit(op("none"), logits, one)
        losses = missed + (1 - target) * trace.emit(op("none"), logits, zero)
        if reduction == "none":
            return losses
        return losses.mean() if reduction == "mean" else losses.sum()


@user_facing
def mse_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The mean squared error: the mean of (x - target)**2.

    Both are of one floating-point dtype and one shape. The result is a scalar (``reduction`` "mean"
    or "sum"), or of their shape with "none".

    Raises:
        ShapeError: shapes that differ.
        TypeMismatch: dtypes that differ, or are not floating-point.
        AttributeMistake: a reduction that is none.

    Examples:
        >>> loss = cauce.network(lambda x, t: nn.mse_loss(x, t))
        >>> model = loss.init(x=("N",), t=("N",))
        >>> cauce.compile(model, "numpy")(np.float32([1, 2]), np.float32([0, 0]))
        array(2.5, dtype=float32)
    """
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
