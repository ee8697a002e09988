"""Samples of linear units and their gates, and of the error function."""

from __future__ import annotations

from cauce.ir.ops.error_function import Erf, Erfc
from cauce.ir.ops.linear_units import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    Mish,
    PRelu,
    Shrink,
    Softplus,
    Softsign,
    Swish,
    ThresholdedRelu,
)

from .sample import Draw, Sample, samples


@samples(Erf, Erfc, Mish)
def smooth(draw: Draw) -> Sample:
    return Sample(draw.op(), (2 * draw.normal(draw.shape(0, 3)),), (0,))


@samples(Softplus, Swish)
def steep(draw: Draw) -> Sample:
    return Sample(draw.op(draw.choice(1.0, 0.5, 3.0)), (2 * draw.normal(draw.shape(0, 3)),), (0,))


@samples(Gelu)
def gelu(draw: Draw) -> Sample:
    return Sample(Gelu(draw.choice("none", "tanh")), (2 * draw.normal(draw.shape(0, 3)),), (0,))


@samples(PRelu)
def prelu(draw: Draw) -> Sample:
    x = draw.away(draw.shape(0, 4), 0.0)
    shape = tuple(1 if draw.flag() else size for size in x.shape)
    slope = draw.normal(shape[draw.choice(0, len(shape) // 2, len(shape)) :])
    return Sample(PRelu(), (x, slope), (0, 1))


@samples(Elu)
def elu(draw: Draw) -> Sample:
    op = Elu(draw.choice(1.0, 0.3, -0.5), draw.choice(1.0, 1.05), draw.choice(1.0, 2.0))
    return Sample(op, (2 * draw.away(draw.shape(0, 3), 0.0),), (0,))


@samples(Softsign)
def softsign(draw: Draw) -> Sample:
    return Sample(Softsign(), (draw.away(draw.shape(0, 3), 0.0),), (0,))


@samples(HardSigmoid)
def hard_sigmoid(draw: Draw) -> Sample:
    alpha, beta = draw.choice((0.2, 0.5), (1 / 6, 0.5), (0.5, 0.6))
    x = draw.away(draw.shape(0, 3), -beta / alpha, (1 - beta) / alpha)
    return Sample(HardSigmoid(alpha, beta), (x,), (0,))


@samples(HardSwish)
def hard_swish(draw: Draw) -> Sample:
    return Sample(HardSwish(), (2 * draw.away(draw.shape(0, 3), -1.5, 1.5),), (0,))


@samples(ThresholdedRelu)
def thresholded_relu(draw: Draw) -> Sample:
    alpha = draw.choice(1.0, 0.0, -0.5)
    return Sample(ThresholdedRelu(alpha), (draw.away(draw.shape(0, 3), alpha),), (0,))


@samples(Shrink)
def shrink(draw: Draw) -> Sample:
    lambd, bias = draw.choice((0.5, 0.0), (0.25, 0.25), (0.3, -1.0))
    return Sample(Shrink(lambd, bias), (draw.away(draw.shape(0, 3), lambd, -lambd),), (0,))
