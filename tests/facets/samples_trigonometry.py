"""Samples of trigonometric and hyperbolic functions."""

from __future__ import annotations

from cauce.ir.ops.trigonometry import (
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Cos,
    Cosh,
    Sin,
    Sinh,
    Tan,
)

from .sample import Draw, Sample, samples


@samples(Sin, Cos, Atan, Sinh, Cosh, Asinh)
def everywhere(draw: Draw) -> Sample:
    return Sample(draw.op(), (2 * draw.normal(draw.shape(0, 4)),), (0,))


@samples(Tan, Asin, Acos, Atanh)
def within(draw: Draw) -> Sample:
    return Sample(draw.op(), (draw.uniform(draw.shape(0, 4), -0.9, 0.9),), (0,))


@samples(Acosh)
def acosh(draw: Draw) -> Sample:
    return Sample(Acosh(), (1 + draw.positive(draw.shape(0, 4)),), (0,))
