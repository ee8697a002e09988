"""exp, log, tanh and the sigmoid from additions, multiplications and the bits of numbers.

They are written out, with no call of a mathematical library, which would work on one element at a
time; and their bits are the same at any lane count. Each brings its argument into a small interval
about 0 and takes a polynomial there: Cody and Waite, "Software Manual for the Elementary
Functions", 1980; Muller, "Elementary Functions", 3rd edition, 2016.

The polynomials are minimax fits by Remez' exchange, computed with 200 bits; coefficients are then
rounded, and the errors given are those after the rounding. Errors of the functions are in units in
the last place of the result, the greatest found in tests.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from .formulas import Num, polynomial

# 1 / log 2
_LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Format:
    """An IEEE 754 format, and what the formulas need in it.

    Attributes:
        fraction: bits of the significand behind the point.
        bias: what is added to the exponent.
        least, most: e**x is 0 and infinity for x below and above.
        flat: tanh x is 1 for x above.
        log2: the logarithm of 2 as the sum of two numbers: the product of the first with an
            exponent is exact, fused with an addition or not.
        exp: q of e**r - 1 = r + r**2 q(r) for |r| <= log(2) / 2.
        log: p of log((1 + s) / (1 - s)) = 2 s + s z (2/3 + z p(z)) with z = s**2, for
            1 / sqrt 2 <= (1 + s) / (1 - s) <= sqrt 2.
    """

    fraction: int
    bias: int
    least: float
    most: float
    flat: float
    log2: tuple[float, float]
    exp: tuple[float, ...]
    log: tuple[float, ...]

    @property
    def shifter(self) -> float:
        """Numbers added to this are rounded to integers, which stand in its lowest bits."""
        return 1.5 * 2.0**self.fraction

    def bits(self, value: float) -> int:
        """The bits of a positive number."""
        number, integer = ("f", "i") if self.fraction == 23 else ("d", "q")
        return int(struct.unpack(integer, struct.pack(number, value))[0])


_F32 = Format(
    fraction=23,
    bias=127,
    least=-104.0,  # e**-103.98 is half of the least number, 2**-149
    most=89.0,  # e**88.73 = 2**128
    flat=10.0,
    log2=(0.693145751953125, 1.42860677e-06),  # 16 bits and 24 bits
    # Relative error of r + r**2 q(r): 2**-25.8.
    exp=(0.49999997, 0.166665435, 0.0416672006, 0.00836658012, 0.0013882505),
    # Relative error of the logarithm: 2**-29.1.
    log=(0.399883926, 0.296232462),
)
_F64 = Format(
    fraction=52,
    bias=1023,
    least=-746.0,  # e**-745.2 is half of the least number, 2**-1074
    most=710.0,  # e**709.8 = 2**1024
    flat=20.0,
    log2=(0.6931471805598903, 5.497923018708371e-14),  # 42 bits and 53 bits
    # Relative error of r + r**2 q(r): 2**-54.8.
    exp=(
        0.50000000000000056,
        0.16666666666666588,
        0.041666666666576105,
        0.0083333333333899615,
        0.0013888888931795674,
        0.0001984126971832878,
        2.480150497793488e-05,
        2.755740787930159e-06,
        2.7626161815031971e-07,
        2.50537717780417e-08,
    ),
    # Relative error of the logarithm: 2**-65.6, so small because powers need it.
    log=(
        0.40000000000002273,
        0.28571428570091978,
        0.22222222521340068,
        0.18181784238197612,
        0.15386763481163773,
        0.1325666995096216,
        0.13197740369610025,
    ),
)


def format_of(x: Num) -> Format:
    """The format of a value."""
    return {"float": _F32, "double": _F64}[x.kind]


@dataclass(frozen=True)
class Reduced:
    """e**x as 2**k e**(r - k log2[1]), where |r| is not above log(2) / 2 but for a rounding.

    Attributes:
        integer: k as an integer.
        k: k as a number.
        r: x - k log2[0], exactly.
    """

    integer: Num
    k: Num
    r: Num


def reduced(x: Num) -> Reduced:
    """What is left of an exponent that is not far outside of ``least`` and ``most``."""
    format = format_of(x)
    shifted = x.fma(_LOG2_E, format.shifter)
    k = shifted - format.shifter
    integer = shifted.bits() - format.bits(format.shifter)
    return Reduced(integer, k, k.fma(-format.log2[0], x))


def clamped(x: Num) -> Num:
    """An exponent moved to where e**x is 0 or infinity, if it lies beyond; NaN stays."""
    format = format_of(x)
    return (x > format.most).select(format.most, (x < format.least).select(format.least, x))


def scaled(x: Num, k: Num) -> Num:
    """2**k x, rounded once where it lies below the normal numbers."""
    format = format_of(x)
    # 2**k itself may lie outside of the normal numbers: two factors, of which the second rounds.
    biased = k + 2 * format.bias
    half = biased >> 1
    first = x * (half << format.fraction).number()
    return first * ((biased - half) << format.fraction).number()


def _less_one(parts: Reduced) -> Num:
    """e**r - 1 of the reduced exponent."""
    format = format_of(parts.r)
    r = parts.k.fma(-format.log2[1], parts.r)
    return (r * r).fma(polynomial(r, format.exp), r)


def exp(x: Num) -> Num:
    """e**x, wrong by at most 1.1 units."""
    parts = reduced(clamped(x))
    return scaled(_less_one(parts) + 1.0, parts.integer)


def exp_less_one(x: Num) -> Num:
    """e**x - 1, of an x for which e**x is neither 0 nor infinite."""
    parts = reduced(x)
    scale = ((parts.integer + format_of(x).bias) << format_of(x).fraction).number()
    return scale.fma(_less_one(parts), scale - 1.0)


def tanh(x: Num) -> Num:
    """tanh x = -t / (2 + t) with t = e**(-2 |x|) - 1, in which nothing cancels or overflows.

    Wrong by less than 3 units.
    """
    format = format_of(x)
    size = x.abs()
    t = exp_less_one((size > format.flat).select(format.flat, size) * -2.0)
    return (-t / (t + 2.0)).copysign(x)


def sigmoid(x: Num) -> Num:
    """1 / (1 + e**-x), as e**x / (1 + e**x) where x < 0: no overflow, no loss far below 0.

    Wrong by less than 3 units.
    """
    small = exp(-x.abs())
    return (x < 0.0).select(small, x.full(1.0)) / (small + 1.0)


def split(x: Num) -> tuple[Num, Num]:
    """k and m of x = 2**k m with 1 / sqrt 2 <= m < sqrt 2, for positive finite x."""
    format = format_of(x)
    lift = format.fraction + 2
    tiny = x < 2.0 ** (1 - format.bias)
    bits = tiny.select(x * 2.0**lift, x).bits()
    # Moved so that the exponent goes up where the significand passes sqrt 2.
    moved = bits + (format.bits(1.0) - format.bits(math.sqrt(0.5)))
    exponent = moved >> format.fraction
    m = (bits - ((exponent - format.bias) << format.fraction)).number()
    # With the bits of 2**fraction it is the number 2**fraction + exponent.
    whole = (exponent | format.bits(2.0**format.fraction)).number()
    zero = x.full(2.0**format.fraction + format.bias)
    return whole - tiny.select(zero + float(lift), zero), m


def log(x: Num) -> Num:
    """The natural logarithm: -infinity of 0, NaN below.

    With f = m - 1 and s = f / (2 + f), log m = 2 s + s R = f - (f**2/2 - s (f**2/2 + R)): the
    greatest term, f, is exact (Ng's arrangement in fdlibm, 1993). Wrong by less than 1 unit.
    """
    format = format_of(x)
    k, m = split(x)
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    rest = z * z.fma(polynomial(z, format.log), 2 / 3)
    half = f * f * 0.5
    correction = half - s.fma(half + rest, k * format.log2[1])
    value = k.fma(format.log2[0], f - correction)
    value = x.equals(math.inf).select(x, value)
    outside = x.equals(0.0).select(-math.inf, x.full(math.nan))
    return (x > 0.0).select(value, outside)
