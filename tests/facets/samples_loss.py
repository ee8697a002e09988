"""Samples of losses."""

from __future__ import annotations

from cauce.ir.ops.loss import (
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    CrossEntropy,
    FlooredLog,
    KLDivergence,
    MSELoss,
)
from cauce.ir.ops.nll_loss import NLLLoss

from .sample import Draw, Sample, samples


def reduction(draw: Draw) -> str:
    return draw.choice("mean", "sum", "none")


@samples(CrossEntropy)
def cross_entropy(draw: Draw) -> Sample:
    op = CrossEntropy(reduction(draw), draw.choice(0.0, 0.1, 1.0))
    return against_classes(draw, op)


@samples(KLDivergence)
def kl_divergence(draw: Draw) -> Sample:
    return against_classes(draw, KLDivergence(reduction(draw)))


def against_classes(draw: Draw, op: CrossEntropy | KLDivergence) -> Sample:
    logits = draw.normal(draw.shape(2, 4))
    if draw.flag():
        return Sample(op, (logits, draw.probabilities(logits.shape, axis=1)), (0, 1))
    n, classes, *rest = logits.shape
    labels = draw.integers((n, *rest), 0, classes - 1, draw.choice("int64", "int32", "uint8"))
    return Sample(op, (logits, labels), (0,))


@samples(BinaryCrossEntropy)
def binary_cross_entropy(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    operands = (draw.uniform(shape, 0.05, 0.95), draw.uniform(shape))
    return Sample(BinaryCrossEntropy(reduction(draw)), operands, (0, 1))


@samples(BinaryCrossEntropyWithLogits, MSELoss)
def pair(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    operands = (2 * draw.normal(shape), draw.uniform(shape))
    return Sample(draw.op(reduction(draw)), operands, (0, 1))


@samples(FlooredLog)
def floored_log(draw: Draw) -> Sample:
    return Sample(FlooredLog(), (draw.positive(draw.shape(0, 4)),), (0,))


@samples(NLLLoss)
def nll_loss(draw: Draw) -> Sample:
    logs = draw.normal(draw.shape(2, 4))
    n, classes, *rest = logs.shape
    labels = draw.integers((n, *rest), 0, classes - 1, draw.choice("int64", "int32", "uint8"))
    ignored = draw.choice(None, 0, -100)
    if ignored == -100 and labels.dtype != "uint8":
        labels[draw.booleans(labels.shape)] = -100
    # One counts at least.
    labels.reshape(-1)[0] = classes - 1
    ignored = None if classes == 1 and ignored == 0 else ignored
    op = NLLLoss(reduction(draw), ignored)
    if draw.flag():
        return Sample(op, (logs, labels, draw.positive((classes,))), (0, 2))
    return Sample(op, (logs, labels), (0,))
