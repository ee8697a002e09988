"""Samples of elementwise arithmetic, comparisons, choice and conversion."""

from __future__ import annotations

import numpy as np

from cauce.ir import Array, DType
from cauce.ir.ops.elementwise import (
    Abs,
    Add,
    Cast,
    Div,
    Equal,
    Exp,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Log,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    LogicalXor,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Pow,
    Sign,
    Sqrt,
    Sub,
    Where,
)

from .sample import Draw, Sample, samples

INTEGERS = ("int64", "int32", "int8")


def some_integers(draw: Draw, *shapes: tuple[int, ...]) -> tuple[Array, ...]:
    """Small integers of one dtype."""
    dtype = draw.choice(*INTEGERS)
    return tuple(draw.integers(shape, -5, 5, dtype) for shape in shapes)


@samples(Add, Sub, Mul)
def arithmetic(draw: Draw) -> Sample:
    shapes = draw.broadcastable(2)
    if draw.int(0, 3) == 3:
        return Sample(draw.op(), some_integers(draw, *shapes))
    return Sample(draw.op(), tuple(map(draw.normal, shapes)), (0, 1))


@samples(Div)
def division(draw: Draw) -> Sample:
    x, y = draw.broadcastable(2)
    sign = draw.choice(1, -1)
    return Sample(Div(), (draw.normal(x), sign * draw.positive(y)), (0, 1))


@samples(Pow)
def power(draw: Draw) -> Sample:
    x, y = draw.broadcastable(2)
    if draw.int(0, 3) == 3:
        return Sample(Pow(), some_integers(draw, x, y))
    return Sample(Pow(), (draw.positive(x), draw.normal(y)), (0, 1))


@samples(Maximum, Minimum)
def extremum(draw: Draw) -> Sample:
    shapes = draw.broadcastable(2)
    if draw.int(0, 3) == 3:
        return Sample(draw.op(), some_integers(draw, *shapes))
    return Sample(draw.op(), draw.apart(*shapes), (0, 1))


@samples(Neg, Abs)
def sign_changes(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    if draw.int(0, 3) == 3:
        return Sample(draw.op(), some_integers(draw, shape))
    return Sample(draw.op(), (draw.away(shape, 0.0),), (0,))


@samples(Sign)
def sign(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    if draw.int(0, 3) == 3:
        return Sample(Sign(), some_integers(draw, shape))
    return Sample(Sign(), (draw.away(shape, 0.0),))


@samples(Exp)
def exponential(draw: Draw) -> Sample:
    return Sample(Exp(), (draw.normal(draw.shape(0, 4)),), (0,))


@samples(Log, Sqrt)
def of_positive(draw: Draw) -> Sample:
    return Sample(draw.op(), (draw.positive(draw.shape(0, 4)),), (0,))


@samples(Equal, Less, LessEqual, Greater, GreaterEqual)
def comparison(draw: Draw) -> Sample:
    shapes = draw.broadcastable(2)
    if draw.flag():
        return Sample(draw.op(), some_integers(draw, *shapes))
    # Halves are exact in every float type, and often equal.
    return Sample(draw.op(), tuple(draw.integers(shape, -3, 3) / 2 for shape in shapes))


@samples(LogicalAnd, LogicalOr, LogicalXor)
def logical(draw: Draw) -> Sample:
    return Sample(draw.op(), tuple(map(draw.booleans, draw.broadcastable(2))))


@samples(LogicalNot)
def logical_not(draw: Draw) -> Sample:
    return Sample(LogicalNot(), (draw.booleans(draw.shape(0, 4)),))


@samples(Where)
def where(draw: Draw) -> Sample:
    condition, x, y = draw.broadcastable(3)
    chosen = draw.booleans(condition)
    if draw.int(0, 3) == 3:
        return Sample(Where(), (chosen, *some_integers(draw, x, y)))
    return Sample(Where(), (chosen, draw.normal(x), draw.normal(y)), (1, 2))


@samples(Cast)
def cast(draw: Draw) -> Sample:
    shape = draw.shape(0, 3)
    to = draw.choice(*DType)
    if draw.flag():
        return Sample(Cast(to), (draw.integers(shape, 0, 5, draw.choice(*INTEGERS, "uint8")),))
    # Away from integers, where truncation jumps; not negative, which unsigned types cannot hold.
    x = np.abs(draw.away(shape, *map(float, range(-7, 8))))
    near = to not in (DType.F16, DType.BF16)
    return Sample(Cast(to), (x,), (0,) if to.is_float else (), exact_in_f32=near)
