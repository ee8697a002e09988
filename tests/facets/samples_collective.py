"""Samples of sums over ranks."""

from __future__ import annotations

from cauce.ir.ops.collective import AllReduce

from .sample import Draw, Sample, samples


@samples(AllReduce)
def all_reduce(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    if draw.int(0, 3) == 3:
        dtype = draw.choice("int64", "int32", "uint8")
        return Sample(AllReduce(), (draw.integers(shape, 0, 9, dtype),))
    return Sample(AllReduce(), (draw.normal(shape),), (0,))
