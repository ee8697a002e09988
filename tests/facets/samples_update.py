"""Samples of optimiser updates."""

from __future__ import annotations

from cauce.ir.ops.update import AdamUpdate, SGDMomentumUpdate, SGDUpdate

from .sample import Draw, Sample, samples


@samples(SGDUpdate)
def sgd(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    operands = (draw.normal(shape), draw.normal(shape), draw.uniform((), 0.01, 0.5))
    return Sample(SGDUpdate(draw.choice(0.0, 0.01)), operands, (0, 1, 2))


@samples(SGDMomentumUpdate)
def sgd_momentum(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    op = SGDMomentumUpdate(draw.choice(0.9, 0.0), draw.flag(), draw.choice(0.0, 0.01))
    tensors = tuple(draw.normal(shape) for _ in range(3))
    return Sample(op, (*tensors, draw.uniform((), 0.01, 0.5)), (0, 1, 2, 3))


@samples(AdamUpdate)
def adam(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    op = AdamUpdate(
        draw.choice(0.9, 0.5),
        draw.choice(0.999, 0.9),
        draw.choice(1e-8, 1e-3),
        draw.choice(0.0, 0.01),
        draw.flag(),
    )
    tensors = tuple(draw.normal(shape) for _ in range(3))
    step, lr = draw.integers((), 1, 1000), draw.uniform((), 0.001, 0.1)
    return Sample(op, (*tensors, draw.positive(shape), step, lr), (0, 1, 2, 3, 5))
