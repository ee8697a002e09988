"""Samples of division with a remainder, of bits and shifts, and of rounding."""

from __future__ import annotations

import numpy as np

from cauce.ir.ops.integers import (
    BitwiseAnd,
    BitwiseNot,
    BitwiseOr,
    BitwiseXor,
    Fmod,
    IntegerMatMul,
    LeftShift,
    Remainder,
    RightShift,
    TruncDiv,
)
from cauce.ir.ops.rounding import Ceil, Floor, IsInf, IsNan, Round

from .sample import Draw, Sample, samples

DTYPES = ("int64", "int32", "uint8", "int8", "uint32", "uint64")


def spread(draw: Draw, dtype: str, *shapes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Integers of any size; small ones more often."""
    info = np.iinfo(dtype)
    found = []
    for shape in shapes:
        small = draw.integers(shape, max(-3, int(info.min)), 9, dtype)
        any_ = draw.rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        found.append(np.where(draw.rng.random(shape) < 0.7, small, any_))
    return tuple(found)


@samples(TruncDiv, BitwiseAnd, BitwiseOr, BitwiseXor, LeftShift, RightShift)
def of_integers(draw: Draw) -> Sample:
    return Sample(draw.op(), spread(draw, draw.choice(*DTYPES), *draw.broadcastable(2)))


@samples(BitwiseNot)
def bitwise_not(draw: Draw) -> Sample:
    return Sample(BitwiseNot(), spread(draw, draw.choice(*DTYPES), draw.shape(0, 4)))


@samples(Remainder, Fmod)
def remainder(draw: Draw) -> Sample:
    x, y = draw.broadcastable(2)
    if draw.flag():
        return Sample(draw.op(), spread(draw, draw.choice(*DTYPES), x, y))
    # Quotients in the middle between two integers, where the remainder does not jump.
    sign, divisor = draw.choice(1, -1), draw.choice(0.75, 1.5)
    whole = draw.integers(x, -4, 3) + draw.uniform(x, 0.3, 0.7)
    return Sample(draw.op(), (divisor * whole, np.full(y, sign * divisor)), (0, 1))


@samples(Floor, Ceil, Round)
def rounding(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    return Sample(draw.op(), (draw.integers(shape, -6, 6) / 2 + draw.choice(0, 0.2),))


@samples(IsNan, IsInf)
def predicate(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    x = draw.rng.choice([np.nan, np.inf, -np.inf, 0.0, 1.5], shape)
    return Sample(draw.op(*((draw.flag(), draw.flag()) if draw.op is IsInf else ())), (x,))


@samples(IntegerMatMul)
def integer_matmul(draw: Draw) -> Sample:
    (*lead,), rows, depth, columns = draw.shape(0, 2), *(draw.int(1, 4) for _ in range(3))
    x, y = (*lead, rows, depth), (*lead[draw.int(0, len(lead)) :], depth, columns)
    return Sample(IntegerMatMul(), spread(draw, draw.choice("int64", "int32", "uint8"), x, y))
