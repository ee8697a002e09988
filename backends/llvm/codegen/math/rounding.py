"""Rounding to integers, and exact remainders, from additions and the bits of numbers.

No instruction of newer processors is needed, and no library: their bits are the same everywhere.
"""

from __future__ import annotations

import math

from ..builder import V, i64
from .formulas import Num
from .transcendental import format_of


def round_even(x: Num) -> Num:
    """The nearest integer, the even one of two: in numbers from 2**fraction on nothing is left.

    Adding such a number, and taking it away, rounds as all additions do.
    """
    size, whole = x.abs(), 2.0 ** format_of(x).fraction
    return (size < whole).select((size + whole) - whole, size).copysign(x)


def floor(x: Num) -> Num:
    """The greatest integer that is not above x."""
    near = round_even(x)
    return (near > x).select(near - 1.0, near).copysign(x)


def ceil(x: Num) -> Num:
    """The least integer that is not below x."""
    near = round_even(x)
    return (near < x).select(near + 1.0, near).copysign(x)


def fmod(x: Num, y: Num) -> Num:
    """x - y * trunc(x / y), exactly: the remainder of the significands as integers.

    With x = m 2**n times the unit of y, m is multiplied by up to 2**11 at a time, and only the
    remainder is kept, which has 53 bits at the most.
    """
    if x.kind == "float":
        return fmod(x.cast("fpext", "double"), y.cast("fpext", "double")).cast("fptrunc", "float")
    f, (m, exponent), (divisor, unit) = x.f, _parts(x), _parts(y)
    zero, step = m.full(0), m.full(11)
    divisor = Num(f, f.select(f.compare("icmp eq", divisor.v, zero.v), m.full(1).v, divisor.v))
    apart = exponent - unit
    smaller = f.compare("icmp slt", apart.v, zero.v)
    left = f.select(smaller, zero.v, apart.v)
    most = _greatest(Num(f, left))
    first = f.op("urem", m.v, divisor.v)
    with f.loop(f.op("udiv", f.add(most, 10), i64(11)), carry=[first, left]) as loop:
        rest, left = loop.carried
        shift = f.intrinsic("umin", left, step.v)
        loop.next(f.op("urem", f.op("shl", rest, shift), divisor.v), f.op("sub", left, shift))
    left_over = Num(f, loop.results[0]).cast("uitofp", "double")
    # left_over * 2**(unit - 1075) in two steps, of which the second is exact as well.
    biased = unit + (2 * 1023 - 1075)
    half = biased >> 1
    found = left_over * (half << 52).number() * ((biased - half) << 52).number()
    value = Num(f, f.select(smaller, x.abs().v, found.v)).copysign(x)
    undefined = y.equals(0.0) | x.abs().equals(math.inf) | x.unordered(y)
    return undefined.select(math.nan, y.abs().equals(math.inf).select(x, value))


def remainder(x: Num, y: Num) -> Num:
    """x - y * floor(x / y), with the sign of y."""
    rest = fmod(x, y)
    crossed = (rest < 0.0) ^ (y < 0.0)
    moved = crossed.select(rest + y, rest)
    return rest.equals(0.0).select(rest.full(0.0).copysign(y), moved)


def _parts(x: Num) -> tuple[Num, Num]:
    """m and e of |x| = m 2**(e - 1075), the integers of a finite f64; e is at least 1."""
    bits = x.abs().bits()
    fraction, exponent = bits & ((1 << 52) - 1), bits >> 52
    f, zero = x.f, bits.full(0)
    tiny = f.compare("icmp eq", exponent.v, zero.v)
    m = f.select(tiny, fraction.v, (fraction | (1 << 52)).v)
    return Num(f, m), Num(f, f.select(tiny, bits.full(1).v, exponent.v))


def _greatest(x: Num) -> V:
    """The greatest of the lanes, integers not below 0."""
    if x.lanes == 1:
        return x.v
    name = f"llvm.vector.reduce.umax.v{x.lanes}i64"
    x.f.declarations.add(f"declare i64 @{name}({x.v.type})")
    return x.f.value(f"call i64 @{name}({x.v})", "i64")
