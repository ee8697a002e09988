"""Samples of batch normalisation."""

from __future__ import annotations

from cauce.ir.ops.normalize import BatchNorm, BatchNormTrain, BatchNormTrainBackward

from .sample import Draw, Sample, samples

EPSILONS = (1e-5, 1e-3, 0.1)


@samples(BatchNorm)
def batch_norm(draw: Draw) -> Sample:
    x = draw.normal(draw.shape(2, 4))
    gamma, beta, mean = (draw.normal(x.shape[1:2]) for _ in range(3))
    variance = draw.positive(x.shape[1:2])
    return Sample(BatchNorm(draw.choice(*EPSILONS)), (x, gamma, beta, mean, variance), (*range(5),))


@samples(BatchNormTrain)
def batch_norm_train(draw: Draw) -> Sample:
    # Several elements a channel and all apart: near zero variance the slopes are too steep for
    # finite differences.
    x = draw.distinct((draw.int(2, 4), *draw.shape(1, 3)), gap=0.5)
    gamma, beta = (draw.normal(x.shape[1:2]) for _ in range(2))
    return Sample(BatchNormTrain(draw.choice(*EPSILONS)), (x, gamma, beta), (0, 1, 2))


@samples(BatchNormTrainBackward)
def batch_norm_train_backward(draw: Draw) -> Sample:
    x = draw.normal(draw.shape(2, 4))
    gamma, mean = (draw.normal(x.shape[1:2]) for _ in range(2))
    variance = draw.positive(x.shape[1:2])
    operands = (x, gamma, mean, variance, draw.normal(x.shape))
    return Sample(BatchNormTrainBackward(draw.choice(*EPSILONS)), operands, (*range(5),))
