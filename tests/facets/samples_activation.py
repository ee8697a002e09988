"""Samples of activations."""

from __future__ import annotations

from cauce.ir.ops.activation import (
    Clip,
    Hardmax,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)

from .sample import Draw, Sample, samples


@samples(Relu)
def relu(draw: Draw) -> Sample:
    return Sample(Relu(), (draw.away(draw.shape(0, 4), 0.0),), (0,))


@samples(LeakyRelu)
def leaky_relu(draw: Draw) -> Sample:
    slope = draw.choice(0.01, 0.2, 1.5)
    return Sample(LeakyRelu(slope), (draw.away(draw.shape(0, 4), 0.0),), (0,))


@samples(Clip)
def clip(draw: Draw) -> Sample:
    low, high = draw.choice(None, -0.5, 0.0), draw.choice(None, 0.25, 1.0)
    kinks = [bound for bound in (low, high) if bound is not None]
    return Sample(Clip(low, high, draw.flag()), (draw.away(draw.shape(0, 4), *kinks),), (0,))


@samples(Sigmoid, Tanh)
def smooth(draw: Draw) -> Sample:
    return Sample(draw.op(), (3 * draw.normal(draw.shape(1, 4)),), (0,))


@samples(Softmax, LogSoftmax)
def along_axis(draw: Draw) -> Sample:
    shape = draw.shape(1, 4)
    return Sample(draw.op(draw.axis(len(shape))), (2 * draw.normal(shape),), (0,))


@samples(Hardmax)
def hardmax(draw: Draw) -> Sample:
    shape = draw.shape(1, 4)
    x = draw.integers(shape, -2, 2).astype(float)  # the first of equal ones
    return Sample(Hardmax(draw.axis(len(shape))), (x,))
