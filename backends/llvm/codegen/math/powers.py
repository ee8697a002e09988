"""x**y for every x and y, by a logarithm in twice the precision.

The result is e**(y log x). An error in the logarithm becomes one as many times greater as y log x,
up to 745: in f64 the logarithm is therefore the sum of two numbers (Dekker, "A floating-point
technique for extending the available precision", 1971). In f32 that of f64 is good enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .formulas import Num, polynomial
from .transcendental import clamped, exp, format_of, log, reduced, scaled, split

# 26 of the 53 bits of a significand, and all above.
_UPPER = -1 << 27
# No exponent needs to be greater: a power of any x but 1 is then 0 or infinity.
_GREATEST = 2.0**70
_TWO_THIRDS = (2 / 3, 2.0**-54 * 2 / 3)


@dataclass(frozen=True)
class DoubleDouble:
    """The unevaluated sum of two numbers, ``low`` far smaller than ``high``."""

    high: Num
    low: Num

    def __add__(self, other: DoubleDouble) -> DoubleDouble:
        """The sum, for |other| <= |self| or a self of 0."""
        total = _sum(self.high, other.high)
        return DoubleDouble(total.high, total.low + (self.low + other.low))

    def __mul__(self, other: DoubleDouble) -> DoubleDouble:
        """The product, without that of the two low numbers."""
        whole = _product(self.high, other.high)
        crossed = self.high.fma(other.low, other.high.fma(self.low, whole.low))
        return _sum(whole.high, crossed)


def _sum(a: Num, b: Num) -> DoubleDouble:
    """a + b exactly, for |b| <= |a| or a = 0."""
    high = a + b
    return DoubleDouble(high, b - (high - a))


def _halves(a: Num) -> DoubleDouble:
    """The upper 26 bits of a number, and the others."""
    upper = (a.bits() & _UPPER).number()
    return DoubleDouble(upper, a - upper)


def _product(a: Num, b: Num) -> DoubleDouble:
    """a * b, exactly but for the last bits of ``low``, also where nothing is fused."""
    high = a * b
    p, q = _halves(a), _halves(b)
    rest = p.high.fma(q.high, -high)
    rest = p.low.fma(q.high, p.high.fma(q.low, rest))
    return DoubleDouble(high, p.low.fma(q.low, rest))


def _log(x: Num) -> DoubleDouble:
    """The logarithm of a positive finite f64, wrong by less than 2**-62 of itself.

    log m = s (2 + z (2/3 + z p(z))), as in ``log``, where all but z p(z) is in pairs.
    """
    format = format_of(x)
    k, m = split(x)
    f, zero = m - 1.0, x.full(0.0)
    d = _sum(x.full(2.0), f)
    quotient = f / d.high
    back = _product(quotient, d.high)
    # What the quotient leaves: f - quotient * d.
    left = (f - back.high) - back.low - quotient * d.low
    s = DoubleDouble(quotient, left / d.high)
    z = s * s
    series = _sum(x.full(_TWO_THIRDS[0]), z.high * polynomial(z.high, format.log))
    series = DoubleDouble(series.high, series.low + _TWO_THIRDS[1])
    log_m = s * (DoubleDouble(x.full(2.0), zero) + z * series)
    return DoubleDouble(k * format.log2[0], k * format.log2[1]) + log_m


def _exp(x: DoubleDouble) -> Num:
    """e**x; the sum 1 + r of ``exp`` is a pair, so that hardly more is lost than by rounding."""
    inside = clamped(x.high)
    low = inside.equals(x.high).select(x.low, x.low.full(0.0))
    parts, format = reduced(inside), format_of(inside)
    low = parts.k.fma(-format.log2[1], low)
    r = parts.r + low
    rest = (r * r).fma(polynomial(r, format.exp), low)
    one = _sum(r.full(1.0), parts.r)
    return scaled(one.high + (one.low + rest), parts.integer)


def _size(x: Num, y: Num) -> Num:
    """x**y for positive finite x."""
    y = (y > _GREATEST).select(_GREATEST, (y < -_GREATEST).select(-_GREATEST, y))
    if x.kind == "float":
        wide = exp(y.cast("fpext", "double") * log(x.cast("fpext", "double")))
        return wide.cast("fptrunc", "float")
    return _exp(DoubleDouble(y, y.full(0.0)) * _log(x))


def _is_whole(x: Num) -> Num:
    """Whether a number, not below 0, is an integer."""
    least = 2.0 ** format_of(x).fraction  # all from here are
    return (x >= least) | ((x + least) - least).equals(x)


def pow(x: Num, y: Num) -> Num:
    """x**y as IEEE 754 and NumPy have it, wrong by less than 1 unit.

    A power with exponent 0 or of 1 is 1, whatever the other is. A negative x has powers with
    integers alone: -0 and -infinity have all, that of an odd one negative.
    """
    size, exponent = x.abs(), y.abs()
    whole = _is_whole(exponent)
    odd = whole & ~_is_whole(exponent * 0.5)
    value = _size(size, y)
    infinite = size.equals(math.inf)
    vanishes = infinite ^ (y > 0.0)
    edge = infinite | size.equals(0.0)
    value = edge.select(vanishes.select(0.0, x.full(math.inf)), value)
    negative = x.full(1.0).copysign(x) < 0.0
    value = (negative & odd).select(-value, value)
    undefined = (x < 0.0) & ~whole & ~infinite
    value = undefined.select(math.nan, value)
    value = x.unordered(y).select(x + y, value)
    return (x.equals(1.0) | y.equals(0.0)).select(1.0, value)
