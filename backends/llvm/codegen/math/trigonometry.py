"""Trigonometric functions and their inverses, in f64; those of f32 round its results once.

Angles are brought into -pi/4 .. pi/4 with as many digits of pi as they need: those below 2**22 by
Cody and Waite's subtractions, greater ones by the multiplication of Payne and Hanek, "Radian
reduction for trigonometric functions", 1983. The polynomials are minimax fits by Remez' exchange.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

from ..builder import V, i64
from .formulas import Num, polynomial

# Angles from here on are reduced by integer arithmetic.
_GREAT = 2.0**22
_SHIFTER = 1.5 * 2.0**52
# pi/2 in parts of 30 bits, whose products with a quadrant below 2**23 are exact, and 53 bits.
_PARTS = (1.570796325802803, 9.920935791635221e-10, 5.17018297889025e-19, 2.9038559739793605e-28)
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
# The first 1216 bits of 2/pi.
_TWO_OVER_PI = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e0"
    "06492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f4"
    "9c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d"
    "7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6bab",
    16,
)
# sin r = r + r**3 p(r**2), relative error 2**-57; cos r = 1 - r**2 / 2 + r**4 p(r**2), 2**-60.
_SIN = (
    -0.16666666666666632,
    0.008333333333322418,
    -0.00019841269829812405,
    2.7557313693580386e-06,
    -2.5050758385411528e-08,
    1.5896811850313018e-10,
)
_COS = (
    0.0416666666666666,
    -0.0013888888888874131,
    2.4801587289486992e-05,
    -2.7557314353783e-07,
    2.087572347823237e-09,
    -1.135965880375183e-11,
)
# atan r = r + r**3 p(r**2) for |r| <= tan(pi/8), relative error 2**-58.
_ATAN = (
    -0.333333333333332,
    0.1999999999995404,
    -0.14285714280244094,
    0.11111110785906836,
    -0.09090897829542213,
    0.07692061509987064,
    -0.06663118894270677,
    0.05847997777823174,
    -0.05039794067851729,
    0.038076984083472355,
    -0.017920784525680973,
)

Formula = Callable[[Num], Num]


def in_f64(formula: Formula) -> Formula:
    """The formula computed in f64 for every type."""

    @wraps(formula)
    def computed(x: Num) -> Num:
        if x.kind == "double":
            return formula(x)
        return formula(x.cast("fpext", "double")).cast("fptrunc", "float")

    return computed


# ---- angles ------------------------------------------------------------------------------------


def _sum(a: Num, b: Num) -> tuple[Num, Num]:
    """a + b, and what is lost by rounding it (Knuth's two-sum)."""
    total = a + b
    from_b = total - a
    return total, (a - (total - from_b)) + (b - from_b)


def _small_angle(x: Num) -> tuple[Num, Num, Num]:
    """The quadrant, and the angle within it as the sum of two numbers, for |x| < 2**22."""
    shifted = x * (2 / math.pi) + _SHIFTER
    k = shifted - _SHIFTER
    high, low = x - k * _PARTS[0], x.full(0.0)
    for part in _PARTS[1:3]:
        high, lost = _sum(high, -(k * part))
        low = low + lost
    low = low - k * _PARTS[3]
    angle = high + low
    return shifted.bits(), angle, (high - angle) + low


def _great_angle(x: Num) -> tuple[Num, Num, Num]:
    """The same for one finite |x| >= 2**22.

    x is an integer m of 53 bits times 2**e. Of 2/pi those bits count that x makes no multiple of
    four quadrants of: 192 from the bit e - 1 on. Their product with m, without what overflows, is
    the angle in units of 2**-190 quadrants.
    """
    f, bits = x.f, x.abs().bits()
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    words = [(_TWO_OVER_PI >> 64 * (18 - place)) % 2**64 for place in range(19)]
    # A word of zeros in front stands for the bits before the point.
    table = ", ".join(f"i64 {word}" for word in (0, *words))
    f.declarations.add(f"@two_over_pi = internal unnamed_addr constant [20 x i64] [{table}]")
    first = (bits >> 52) + (62 - 1075)
    start = f.at(V("@two_over_pi", "ptr"), (first >> 6).v, 8)
    row = [f.load(f.at(start, place, 8), "i64", 8) for place in range(4)]
    top, middle, bottom = (
        f.intrinsic("fshl", row[place], row[place + 1], (first & 63).v) for place in range(3)
    )

    def wide(value: V) -> V:
        return f.cast("zext", value, "i128")

    def times(value: V) -> V:
        return f.op("mul", wide(m.v), wide(value))

    sixty_four = V("64", "i128")
    total = f.op("add", times(middle), f.op("lshr", times(bottom), sixty_four))
    total = f.op("add", total, f.op("shl", times(top), sixty_four))
    quadrant = f.cast("trunc", f.op("lshr", total, V("126", "i128")), "i64")
    rest = f.op("shl", total, V("2", "i128"))  # of one quadrant, as a signed number
    upper = f.cast("trunc", f.op("lshr", rest, sixty_four), "i64")
    lower = f.cast("trunc", rest, "i64")
    beyond = f.op("lshr", upper, i64(63))
    number = Num(f, f.cast("sitofp", f.op("and", upper, i64(-2048)), "double")) * 2.0**-64
    more = Num(f, f.cast("uitofp", f.op("and", upper, i64(2047)), "double")) * 2.0**-64
    more = more + Num(f, f.cast("uitofp", lower, "double")) * 2.0**-128
    high = number + more
    low = (number - high) + more
    # Times pi/2: the product of the two high numbers has its rounding in what a fused one finds.
    angle, lost = _exact_product(high, _HALF_PI[0])
    lost = lost + (high * _HALF_PI[1] + low * _HALF_PI[0])
    negative = f.compare("icmp slt", x.bits().v, i64(0))
    quadrant = f.op("add", quadrant, beyond)
    quadrant = f.select(negative, f.op("sub", i64(0), quadrant), quadrant)
    one = Num(f, V("0x3FF0000000000000", "double")).copysign(x)
    total_angle = angle + lost
    rounding = (angle - total_angle) + lost
    return Num(f, quadrant), total_angle * one, rounding * one


def _exact_product(a: Num, b: float) -> tuple[Num, Num]:
    """a * b, and what is lost by rounding it (Dekker 1971), also where nothing is fused."""
    other = a.full(b)
    product = a * other

    def halves(x: Num) -> tuple[Num, Num]:
        upper = (x.bits() & (-1 << 27)).number()
        return upper, x - upper

    (p, q), (r, s) = halves(a), halves(other)
    return product, ((p * r - product) + p * s + q * r) + q * s


def _reduced(x: Num) -> tuple[Num, Num, Num]:
    """The quadrant, and the angle within it as the sum of two numbers; NaN for infinities."""
    f, lanes = x.f, x.lanes
    quadrant, high, low = _small_angle(x)
    great = x.abs() >= _GREAT
    any_great = great.v
    if lanes > 1:
        mask = f.cast("bitcast", great.v, f"i{lanes}")
        any_great = f.compare("icmp ne", mask, V("0", mask.type))
    held = great.select(x, x.full(_GREAT))
    rounds = f.select(any_great, i64(lanes), i64(0))
    with f.loop(rounds, carry=[quadrant.v, high.v, low.v]) as loop:
        if lanes == 1:
            loop.next(*(part.v for part in _great_angle(held)))
        else:
            lane = f.value(f"extractelement {held.v}, {loop.index}", "double")
            parts = _great_angle(Num(f, lane))
            is_great = f.value(f"extractelement {great.v}, {loop.index}", "i1")
            following = []
            for part, whole in zip(parts, loop.carried):
                old = f.value(f"extractelement {whole}, {loop.index}", part.v.type)
                new = f.select(is_great, part.v, old)
                text = f"insertelement {whole}, {new}, {loop.index}"
                following.append(f.value(text, whole.type))
            loop.next(*following)
    quadrant, high, low = (Num(f, value) for value in loop.results)
    return quadrant, x.abs().equals(math.inf).select(math.nan, high), low


def _sin_within(r: Num, low: Num) -> Num:
    z = r * r
    return r + (r * z * polynomial(z, _SIN) + low * (z.full(1.0) - z * 0.5))


def _cos_within(r: Num, low: Num) -> Num:
    z = r * r
    half = z * 0.5
    first = z.full(1.0) - half
    return first + (((z.full(1.0) - first) - half) + (z * z * polynomial(z, _COS) - r * low))


def _odd(quadrant: Num) -> Num:
    f = quadrant.f
    return Num(f, f.compare("icmp ne", (quadrant & 1).v, quadrant.full(0).v))


def _turned(x: Num, quadrant: Num) -> Num:
    """x, or -x in the quadrants 2 and 3."""
    return (x.bits() ^ ((quadrant & 2) << 62)).number()


def _sin_of(quadrant: Num, r: Num, low: Num) -> Num:
    value = _odd(quadrant).select(_cos_within(r, low), _sin_within(r, low))
    return _turned(value, quadrant)


@in_f64
def sin(x: Num) -> Num:
    """sin x, wrong by less than 1 unit; -0 of -0."""
    value = _sin_of(*_reduced(x))
    return x.equals(0.0).select(x, value)


@in_f64
def cos(x: Num) -> Num:
    """cos x, wrong by less than 1 unit."""
    quadrant, r, low = _reduced(x)
    return _sin_of(quadrant + 1, r, low)


@in_f64
def tan(x: Num) -> Num:
    """tan x, wrong by less than 3 units; -0 of -0."""
    quadrant, r, low = _reduced(x)
    sine, cosine = _sin_within(r, low), _cos_within(r, low)
    value = _odd(quadrant).select(-cosine / sine, sine / cosine)
    return x.equals(0.0).select(x, value)


# ---- inverses ----------------------------------------------------------------------------------


@in_f64
def atan(x: Num) -> Num:
    """atan x, wrong by less than 2 units: atan r beyond an eighth of a turn, or a quarter.

    r = (|x| - 1) / (|x| + 1) from tan(pi/8) on, -1 / |x| from tan(3 pi/8) on.
    """
    size, zero = x.abs(), x.full(0.0)
    far, near = size > math.tan(3 * math.pi / 8), size > math.tan(math.pi / 8)
    r = far.select(-size.full(1.0) / size, near.select((size - 1.0) / (size + 1.0), size))
    start = far.select(_HALF_PI[0], near.select(_HALF_PI[0] / 2, zero))
    rest = far.select(_HALF_PI[1], near.select(_HALF_PI[1] / 2, zero))
    z = r * r
    return (start + (r + (r * z * polynomial(z, _ATAN) + rest))).copysign(x)


@in_f64
def asin(x: Num) -> Num:
    """asin x = atan(x / sqrt((1 - x) (1 + x))), wrong by less than 4 units."""
    return atan(x / root((x.full(1.0) - x) * (x + 1.0)))


@in_f64
def acos(x: Num) -> Num:
    """acos x = 2 atan(sqrt((1 - x) / (1 + x))), wrong by less than 4 units."""
    return atan(root((x.full(1.0) - x) / (x + 1.0))) * 2.0


def root(x: Num) -> Num:
    """The square root."""
    return Num(x.f, x.f.intrinsic("sqrt", x.v))
