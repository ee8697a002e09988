"""Hyperbolic functions and their inverses, in f64; those of f32 round its results once."""

from __future__ import annotations

import math

from .formulas import Num
from .transcendental import exp, exp_less_one, log
from .trigonometry import in_f64, root

# From here on a square is all that counts beside 1.
_GREAT = 2.0**28
_LOG_2 = 0.6931471805599453


@in_f64
def sinh(x: Num) -> Num:
    """sinh x = (t + t / (t + 1)) / 2 with t = e**|x| - 1, wrong by less than 3 units.

    From 22 on it is e**|x| / 2, in two factors of which neither is infinite before.
    """
    size = x.abs()
    t = exp_less_one((size > 22.0).select(22.0, size))
    near = (t + t / (t + 1.0)) * 0.5
    half = exp(size * 0.5)
    return (size > 22.0).select(half * 0.5 * half, near).copysign(x)


@in_f64
def cosh(x: Num) -> Num:
    """cosh x = (h h + 1 / (h h)) / 2 with h = e**(|x| / 2), wrong by less than 4 units."""
    half = exp(x.abs() * 0.5)
    return half * 0.5 * half + half.full(0.5) / (half * half)


@in_f64
def asinh(x: Num) -> Num:
    """asinh x = log(1 + (|x| + x**2 / (1 + sqrt(x**2 + 1)))), wrong by less than 4 units."""
    size = x.abs()
    square = size * size
    near = _log_of_one_more(size + square / (root(square + 1.0) + 1.0))
    return (size > _GREAT).select(log(size) + _LOG_2, near).copysign(x)


@in_f64
def acosh(x: Num) -> Num:
    """acosh x = log(1 + (t + sqrt(t (t + 2)))) with t = x - 1, wrong by less than 4 units."""
    t = x - 1.0
    near = _log_of_one_more(t + root(t * (t + 2.0)))
    value = (x > _GREAT).select(log(x) + _LOG_2, near)
    return (x < 1.0).select(math.nan, value)


@in_f64
def atanh(x: Num) -> Num:
    """atanh x = log(1 + 2 |x| / (1 - |x|)) / 2, wrong by less than 4 units."""
    size = x.abs()
    return (_log_of_one_more(size * 2.0 / (size.full(1.0) - size)) * 0.5).copysign(x)


def _log_of_one_more(x: Num) -> Num:
    """log(1 + x), where 1 + x may be rounded: what is lost there is made good by a quotient.

    Kahan, "Interval arithmetic options in the proposed IEEE floating point arithmetic", 1980.
    """
    one_more = x + 1.0
    value = log(one_more) * (x / (one_more - 1.0))
    value = x.equals(math.inf).select(x, value)
    return one_more.equals(1.0).select(x, value)
