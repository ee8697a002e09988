"""Samples of scans."""

from __future__ import annotations

import numpy as np

from cauce.ir.ops.scan import CumProd, CumSum, LinearRecurrence

from .sample import Draw, Sample, samples


@samples(CumSum, CumProd)
def cumulative(draw: Draw) -> Sample:
    shape = draw.shape(1, 3)
    op = draw.op(draw.axis(len(shape)), draw.flag(), draw.flag())
    if draw.int(0, 3) == 3:
        return Sample(op, (draw.integers(shape, -3, 3, draw.choice("int64", "int32", "int8")),))
    x = draw.normal(shape)
    return Sample(op, (np.where(draw.rng.random(shape) < 0.2, 0, x),), (0,))


@samples(LinearRecurrence)
def linear_recurrence(draw: Draw) -> Sample:
    shape = draw.shape(1, 3)
    op = LinearRecurrence(draw.axis(len(shape)), draw.flag())
    if draw.int(0, 3) == 3:
        dtype = draw.choice("int64", "int32", "int8")
        return Sample(op, tuple(draw.integers(shape, -3, 3, dtype) for _ in range(2)))
    return Sample(op, (draw.normal(shape), draw.normal(shape)), (0, 1))
