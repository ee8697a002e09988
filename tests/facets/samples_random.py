"""Samples of random numbers and dropout."""

from __future__ import annotations

from cauce.ir import DType
from cauce.ir.ops.random import Dropout, RandomUniform

from .sample import Draw, Sample, samples


@samples(RandomUniform)
def random_uniform(draw: Draw) -> Sample:
    shape = draw.shape(0, 5)
    words = 3 if len(shape) > 1 and draw.flag() else 2
    key = draw.integers((words,), 0, 2**32 - 1, "uint32")
    dtype = draw.choice(DType.F64, DType.F32)
    op = RandomUniform(shape, draw.int(0, 2**32 - 1), dtype)
    return Sample(op, (key,))


@samples(Dropout)
def dropout(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    op = Dropout(draw.choice(0.5, 0.0, 0.1, 0.9, 1.0))
    return Sample(op, (draw.normal(shape), draw.uniform(shape)), (0,))
