"""Losses: composites whose decompositions are stable and differentiable.

Names, argument order and defaults are those of ``torch.nn.functional``. ``reduction`` is "mean",
"sum" or "none".
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..builder import Builder
from ..dims import Dim, sizes
from ..errors import AttributeMistake, ShapeError, TypeMismatch
from ..graph import Node, Value
from ..op import Gradients, Op, Values, register
from ..types import Array, DType, TensorType
from .activation import LogSoftmax, Sigmoid
from .broadcast import need_float, same_dtype
from .constant import scalar, size_as
from .elementwise import (
    Abs,
    Add,
    Cast,
    Div,
    Equal,
    Exp,
    FloatUnary,
    LessEqual,
    Log,
    LogicalAnd,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Sub,
    Where,
)
from .reduce import Mean, Sum, mean_of, sum_of
from .shape import OneHot, Reshape, Transpose, check_indices

REDUCTIONS = ("mean", "sum", "none")
# The least logarithm in binary_cross_entropy, as in PyTorch.
LOG_FLOOR = -100.0


class Loss(Op):
    """Base of losses: the last step, from the loss of each element to the result."""

    reduction: str = "mean"

    results = ("loss",)

    def check(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise AttributeMistake(
                f"{self.name}: there is no reduction {self.reduction!r}",
                fix=f"use one of {', '.join(REDUCTIONS)}",
            )

    def reduced(self, losses: TensorType) -> TensorType:
        """The type of the result."""
        return losses if self.reduction == "none" else losses.with_shape(())

    def reduce(self, losses: Array) -> Array:
        """The result from the losses of the elements."""
        if self.reduction == "none":
            return losses
        return self.mean(losses) if self.reduction == "mean" else sum_of(losses, None)

    def write_reduced(self, b: Builder, losses: Value) -> Value:
        """Write the result from the losses of the elements."""
        if self.reduction == "none":
            return losses
        return self.write_mean(b, losses) if self.reduction == "mean" else b(Sum(), losses)

    def mean(self, losses: Array) -> Array:
        """The mean that reduction="mean" stands for."""
        return mean_of(losses, None)

    def write_mean(self, b: Builder, losses: Value) -> Value:
        """Write :meth:`mean`."""
        return b(Mean(), losses)


class PairLoss(Loss):
    """Base of losses of two floating-point tensors with one shape."""

    def infer(self, x: TensorType, target: TensorType) -> TensorType:
        need_float(self.name, x, target)
        same_dtype(self.name, x, target)
        if x.shape != target.shape:
            raise ShapeError(
                f"{self.name}: {self.operands[0]} is {x}, target is {target}",
                fix="reshape one of them: the shapes must be equal, nothing is broadcast",
            )
        return self.reduced(x)


class ClassLoss(Loss):
    """Base of losses of logits [N, C, ...] against class indices or class probabilities."""

    operands = ("logits", "target")

    def infer(self, logits: TensorType, target: TensorType) -> TensorType:
        need_float(self.name, logits)
        if logits.rank < 2:
            raise ShapeError(
                f"{self.name} takes logits [N, C, ...], got {logits}",
                fix="add the batch dimension with reshape",
            )
        each = logits.with_shape((logits.shape[0], *logits.shape[2:]))
        indices = each.with_dtype(DType.I64)
        if target.dtype is DType.BOOL:
            raise TypeMismatch(f"{self.name}: the target is {target}", fix="cast it to i64 or f32")
        if target.dtype.is_float:
            same_dtype(self.name, logits, target)
        elif not isinstance(logits.shape[1], int):
            raise ShapeError(f"{self.name}: the number of classes must be known, got {logits}")
        if target.shape != (logits.shape if target.dtype.is_float else each.shape):
            raise ShapeError(
                f"{self.name}: the logits are {logits}, the target is {target}",
                fix=f"give class indices {indices}, or class probabilities {logits}",
            )
        return self.reduced(each)

    def indices(self, *operands: TensorType) -> Mapping[int, Dim]:
        logits, target = operands
        return {} if target.dtype.is_float else {1: logits.shape[1]}

    def picked(self, values: Array, target: Array) -> Array:
        """values[n, target[n], ...], for class indices."""
        check_indices(target, values.shape[1])
        indices = np.expand_dims(target.astype(np.int64), 1)
        return np.take_along_axis(values, indices, axis=1)[:, 0]


def log_probabilities(logits: Array) -> Array:
    """Logarithms of the softmax over axis 1."""
    return LogSoftmax(1).reference(logits)


def write_picked(b: Builder, values: Value, target: Value) -> Value:
    """Write values[n, target[n], ...], for class indices."""
    (classes,) = sizes(values.type.shape[1:2])
    chosen = b(OneHot(classes, values.type.dtype), target)
    if values.type.rank > 2:
        last = values.type.rank - 1
        chosen = b(Transpose((0, last, *range(1, last))), chosen)
    # A choice, not a product: 0 * -inf would be NaN.
    kept = b(Where(), b(Cast(DType.BOOL), chosen), values, scalar(b, 0, values))
    return b(Sum((1,)), kept)


def write_expected(b: Builder, logs: Value, target: Value) -> Value:
    """Write the sum over axis 1 of target * logs, with 0 * -inf = 0."""
    zero, never = scalar(b, 0, logs), scalar(b, -math.inf, logs)
    both = b(LogicalAnd(), b(Equal(), target, zero), b(Equal(), logs, never))
    # The choice stands before the product, whose gradient would be 0 * -inf too.
    return b(Sum((1,)), b(Mul(), target, b(Where(), both, zero, logs)))


@register
class CrossEntropy(ClassLoss):
    """loss = -sum over classes c (axis 1) of t_c * log_softmax(logits)_c, with 0 * -inf = 0.

    Targets are class indices [N, ...] of any integer dtype, with t one-hot, or probabilities t
    shaped like the logits. Label smoothing replaces t by (1 - s) * t + s / C (Szegedy et al.
    2016, section 7). The mean is over samples and positions. ONNX SoftmaxCrossEntropyLoss-13.
    """

    label_smoothing: float = 0.0

    name = "cross_entropy"
    flops_per_element = 5

    def check(self) -> None:
        super().check()
        if not 0 <= self.label_smoothing <= 1:
            raise AttributeMistake(
                f"cross_entropy: label_smoothing is {self.label_smoothing}",
                fix="use a number from 0 to 1",
            )

    def reference(self, logits: Array, target: Array) -> Array:
        logs = log_probabilities(logits)
        if target.dtype.kind == "f":
            ruled_out = (target == 0) & (logs == -math.inf)
            likelihood = sum_of(np.where(ruled_out, 0, target * logs), (1,))
        else:
            likelihood = self.picked(logs, target)
        s = self.label_smoothing
        if s == 1:
            likelihood = np.where(likelihood == -math.inf, 0, likelihood)
        if s:
            likelihood = (1 - s) * likelihood + s * mean_of(logs, (1,))
        return self.reduce(-likelihood)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        logits, target = operands
        logs = b(LogSoftmax(1), logits)
        if target.type.dtype.is_float:
            likelihood = write_expected(b, logs, target)
        else:
            likelihood = write_picked(b, logs, target)
        if self.label_smoothing == 1:
            never = b(Equal(), likelihood, scalar(b, -math.inf, logits))
            likelihood = b(Where(), never, scalar(b, 0, logits), likelihood)
        if self.label_smoothing:
            kept = b(Mul(), likelihood, scalar(b, 1 - self.label_smoothing, logits))
            even = b(Mul(), b(Mean((1,)), logs), scalar(b, self.label_smoothing, logits))
            likelihood = b(Add(), kept, even)
        return self.write_reduced(b, b(Neg(), likelihood))


@register
class KLDivergence(ClassLoss):
    """loss = sum over classes c (axis 1) of t_c * (log t_c - log_softmax(logits)_c).

    Kullback and Leibler 1951, with 0 log 0 = 0, and with logits rather than log probabilities.
    Targets are probabilities t shaped like the logits, or class indices [N, ...] with t one-hot.
    The mean is the sum divided by N, as the divergence is defined: PyTorch's "batchmean".
    """

    name = "kl_divergence"
    flops_per_element = 7

    def mean(self, losses: Array) -> Array:
        return sum_of(losses, None) / losses.dtype.type(len(losses))

    def write_mean(self, b: Builder, losses: Value) -> Value:
        return b(Div(), b(Sum(), losses), size_as(b, losses.type.shape[0], losses.type.dtype))

    def reference(self, logits: Array, target: Array) -> Array:
        logs = log_probabilities(logits)
        if target.dtype.kind != "f":
            return self.reduce(-self.picked(logs, target))
        terms = np.where(target == 0, 0, target * (np.log(target) - logs))
        return self.reduce(sum_of(terms, (1,)))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        logits, target = operands
        logs = b(LogSoftmax(1), logits)
        if not target.type.dtype.is_float:
            return self.write_reduced(b, b(Neg(), write_picked(b, logs, target)))
        zero, one = scalar(b, 0, target), scalar(b, 1, target)
        # Both choices are needed: the inner one keeps 1/0 out of the logarithm's gradient, the
        # outer one 0 * inf out of the product's.
        absent = b(Equal(), target, zero)
        log_target = b(Log(), b(Where(), absent, one, target))
        ratio = b(Where(), absent, zero, b(Sub(), log_target, logs))
        return self.write_reduced(b, b(Sum((1,)), b(Mul(), target, ratio)))


@register
class FlooredLog(FloatUnary):
    """y = max(ln x, -100) with a finite gradient, for losses of probabilities.

    The gradient is dy / max(x, the least normal number): 1 / x of smaller ones is infinite. Where
    y is held at -100 it is 0. A negative x gives NaN: logits taken for probabilities show.
    """

    name = "floored_log"

    def reference(self, x: Array) -> Array:
        return np.maximum(np.log(x), LOG_FLOOR)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        return b(Where(), write_held(b, x), scalar(b, LOG_FLOOR, x), b(Log(), x))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x = node.operands[0]
        least = float(np.finfo(x.type.dtype.numpy).tiny)
        slope = b(Div(), dy, b(Maximum(), x, scalar(b, least, x)))
        return (b(Where(), write_held(b, x), scalar(b, 0, dy), slope),)


def write_held(b: Builder, probabilities: Value) -> Value:
    """Write where the logarithm of a probability is held at -100."""
    return b(LessEqual(), b(Abs(), probabilities), scalar(b, math.exp(LOG_FLOOR), probabilities))


@register
class BinaryCrossEntropy(PairLoss):
    """loss = -(t * log p + (1 - t) * log(1 - p)), every logarithm at least -100, as in PyTorch.

    Where a logarithm is held at -100 its gradient is 0, as behind a sigmoid that has saturated.
    Better from the start: binary_cross_entropy_with_logits.
    """

    name = "binary_cross_entropy"
    operands = ("probabilities", "target")
    flops_per_element = 8

    def reference(self, probabilities: Array, target: Array) -> Array:
        yes = np.maximum(np.log(probabilities), LOG_FLOOR)
        no = np.maximum(np.log(1 - probabilities), LOG_FLOOR)
        return self.reduce(-(target * yes + (1 - target) * no))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        probabilities, target = operands
        one = scalar(b, 1, target)
        logits = logits_of(b, probabilities)
        if logits is None:
            log = b(FlooredLog(), probabilities)
        else:
            # Far below 0 the probability is no longer a normal number: 1 / p, on the way back to
            # the logit, would be infinite, or held, where the logarithm itself has the slope 1.
            least = b(Minimum(), logits, scalar(b, 0, logits))
            log = b(Sub(), least, write_rest(b, logits))
            log = b(Where(), write_held(b, probabilities), scalar(b, LOG_FLOOR, target), log)
        yes = b(Mul(), target, log)
        other = b(FlooredLog(), b(Sub(), one, probabilities))
        no = b(Mul(), b(Sub(), one, target), other)
        return self.write_reduced(b, b(Neg(), b(Add(), yes, no)))


def logits_of(b: Builder, probabilities: Value) -> Value | None:
    """The operand of the sigmoid that gives ``probabilities``, reshaped like them; None for no
    sigmoid."""
    node = probabilities.node
    if node is None or not isinstance(node.op, (Sigmoid, Reshape)):
        return None
    (x,) = node.operands
    if isinstance(node.op, Sigmoid):
        return x
    logits = logits_of(b, x)
    return None if logits is None else b(node.op, logits)


@register
class BinaryCrossEntropyWithLogits(PairLoss):
    """loss = max(x, 0) * (1 - t) + max(-x, 0) * t + log(1 + e**-|x|), with inf * 0 = 0.

    It is binary_cross_entropy(sigmoid(x), t); for (inf, 1) and (-inf, 0), surely right, it is 0.
    """

    name = "binary_cross_entropy_with_logits"
    operands = ("logits", "target")
    flops_per_element = 7

    def reference(self, logits: Array, target: Array) -> Array:
        wrong, size = np.where(logits > 0, 1 - target, target), np.abs(logits)
        far = np.where((wrong == 0) & (size == math.inf), 0, wrong * size)
        return self.reduce(far + np.logaddexp(0, -size))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        logits, target = operands
        above = write_above(b, logits, b(Sub(), scalar(b, 1, target), target))
        below = write_above(b, b(Neg(), logits), target)
        return self.write_reduced(b, b(Add(), b(Add(), above, below), write_rest(b, logits)))


def write_above(b: Builder, x: Value, weight: Value) -> Value:
    """Write max(x, 0) * weight, with inf * 0 = 0."""
    zero = scalar(b, 0, x)
    above = b(Maximum(), x, zero)
    infinite = b(Equal(), above, scalar(b, math.inf, x))
    none = b(LogicalAnd(), infinite, b(Equal(), weight, zero))
    return b(Mul(), b(Where(), none, zero, above), weight)


def write_rest(b: Builder, x: Value) -> Value:
    """Write log(1 + e**-|x|), which is log(1 + e**x) less max(x, 0).

    At 0 the maximum passes on half of its gradient and the absolute value none: together that of
    log(1 + e**x), so the kinks cancel.
    """
    power = b(Exp(), b(Neg(), b(Abs(), x)))
    return b(Log(), b(Add(), power, scalar(b, 1, x)))


@register
class MSELoss(PairLoss):
    """loss = (x - target)**2."""

    name = "mse_loss"
    operands = ("x", "target")
    flops_per_element = 3

    def reference(self, x: Array, target: Array) -> Array:
        return self.reduce((x - target) ** 2)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, target = operands
        difference = b(Sub(), x, target)
        return self.write_reduced(b, b(Mul(), difference, difference))
