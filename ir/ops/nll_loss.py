"""The negative log likelihood of class indices, with weights, and with labels that do not count."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..builder import Builder
from ..dims import Dim
from ..errors import ShapeError, TypeMismatch
from ..graph import Value
from ..op import Values, register
from ..types import Array, DType, TensorType
from .broadcast import need_float, same_dtype
from .constant import scalar
from .elementwise import Cast, Div, Equal, LogicalNot, Mul, Neg, Where
from .loss import Loss, write_picked
from .reduce import Sum, sum_of
from .shape import Gather, check_indices


@register
class NLLLoss(Loss):
    """loss = -weight[t] * log_probabilities[n, t, ...] with t = target[n, ...], 0 where t is
    ``ignore_index``.

    log_probabilities is [N, C, ...], target holds integers [N, ...], weight is [C], 1 where left
    out. The mean is the sum divided by that of weight[t] over the targets that count; 0/0, NaN,
    where none does. ONNX NegativeLogLikelihoodLoss-22, PyTorch NLLLoss.
    """

    ignore_index: int | None = None

    name = "nll_loss"
    operands = ("log_probabilities", "target", "weight?")
    flops_per_element = 2

    def infer(
        self, log_probabilities: TensorType, target: TensorType, *weight: TensorType
    ) -> TensorType:
        logs = log_probabilities
        need_float(self.name, logs, *weight)
        same_dtype(self.name, logs, *weight)
        if logs.rank < 2 or not isinstance(logs.shape[1], int):
            raise ShapeError(
                f"nll_loss takes log probabilities [N, C, ...] with a known C, got {logs}",
                fix="add dimensions with reshape, and give the number of classes as an int",
            )
        if not target.dtype.is_integer:
            raise TypeMismatch(
                f"nll_loss: the target is {target}", fix="give class indices, such as i64"
            )
        each = logs.with_shape((logs.shape[0], *logs.shape[2:]))
        if target.shape != each.shape:
            raise ShapeError(
                f"nll_loss: the log probabilities are {logs}, the target is {target}",
                fix=f"give class indices {each.with_dtype(target.dtype)}",
            )
        for given in weight:
            if given.shape != (logs.shape[1],):
                raise ShapeError(
                    f"nll_loss: the weight is {given}, the log probabilities {logs} have "
                    f"{logs.shape[1]} classes",
                    fix="give one number for each class",
                )
        return self.reduced(each)

    def indices(self, *operands: TensorType) -> Mapping[int, Dim]:
        return {1: operands[0].shape[1]}

    def reference(self, log_probabilities: Array, target: Array, *weight: Array) -> Array:
        counts = np.full(target.shape, True)
        if self.ignore_index is not None:
            counts = target != self.ignore_index
        chosen = np.where(counts, target, 0).astype(np.int64)
        classes = log_probabilities.shape[1]
        check_indices(chosen, classes)
        weights = weight[0] if weight else np.ones(classes, log_probabilities.dtype)
        share = np.where(counts, weights[chosen], np.zeros_like(weights, shape=()))
        picked = np.take_along_axis(log_probabilities, chosen[:, None], axis=1)[:, 0]
        losses = np.where(counts, -picked * share, np.zeros_like(picked))
        if self.reduction == "mean":
            return sum_of(losses, None) / sum_of(share, None)
        return self.reduce(losses)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        logs, target, *weight = operands
        zero, counts = scalar(b, 0, logs), None
        if self.ignore_index is not None:
            target = b(Cast(DType.I64), target)  # u8 has no -100
            ignored = b(Equal(), target, scalar(b, self.ignore_index, target))
            counts = b(LogicalNot(), ignored)
            target = b(Where(), ignored, scalar(b, 0, target), target)
        losses = b(Neg(), write_picked(b, logs, target))
        share = b(Gather(0), weight[0], target) if weight else None
        if share is not None:
            losses = b(Mul(), share, losses)
        if counts is not None:
            losses = b(Where(), counts, losses, zero)
            kept = b(Cast(logs.type.dtype), counts)
            share = kept if share is None else b(Where(), counts, share, zero)
        if self.reduction != "mean" or share is None:
            return self.write_reduced(b, losses)
        return b(Div(), b(Sum(), losses), b(Sum(), share))
