"""Samples of matrix products."""

from __future__ import annotations

from cauce.ir.ops.linear import Linear, MatMul

from .sample import Draw, Sample, samples


@samples(MatMul)
def matmul(draw: Draw) -> Sample:
    left, right = draw.broadcastable(2, most=2)
    rows, inner, columns = draw.int(1, 4), draw.int(1, 4), draw.int(1, 4)
    x, y = draw.normal((*left, rows, inner)), draw.normal((*right, inner, columns))
    return Sample(MatMul(), (x, y), (0, 1))


@samples(Linear)
def linear(draw: Draw) -> Sample:
    lead, inner, outer = draw.shape(1, 2), draw.int(1, 4), draw.int(1, 4)
    operands = [draw.normal((*lead, inner)), draw.normal((outer, inner))]
    if draw.flag():
        operands.append(draw.normal((outer,)))
    return Sample(Linear(), tuple(operands), tuple(range(len(operands))))
