"""Division, powers and shifts of integers, defined for all operands."""

from __future__ import annotations

from ..builder import Function, V, lanes_of
from .formulas import Num


def _full(f: Function, like: V, value: int) -> V:
    return Num(f, like).full(value).v


def quotient(f: Function, x: V, y: V, unsigned: bool) -> V:
    """x / y truncated towards zero; 0 where y = 0, where processors would stop.

    They stop at the least integer divided by -1 too: x / -1 is 0 - x.
    """
    zero, one, minus = (_full(f, x, value) for value in (0, 1, -1))
    by_zero = f.compare("icmp eq", y, zero)
    if unsigned:
        return f.select(by_zero, zero, f.op("udiv", x, f.select(by_zero, one, y)))
    turns = f.compare("icmp eq", y, minus)
    plain = f.op("sdiv", x, f.select(f.op("or", by_zero, turns), one, y))
    return f.select(by_zero, zero, f.select(turns, f.op("sub", zero, x), plain))


def fmod(f: Function, x: V, y: V, unsigned: bool) -> V:
    """x - y * (x / y), with the sign of x; 0 where y = 0."""
    zero = _full(f, x, 0)
    rest = f.op("sub", x, f.op("mul", y, quotient(f, x, y, unsigned)))
    return f.select(f.compare("icmp eq", y, zero), zero, rest)


def remainder(f: Function, x: V, y: V, unsigned: bool) -> V:
    """The same with the sign of y."""
    rest = fmod(f, x, y, unsigned)
    if unsigned:
        return rest
    zero = _full(f, x, 0)
    crossed = f.compare("icmp slt", f.op("xor", rest, y), zero)
    crossed = f.op("and", crossed, f.compare("icmp ne", rest, zero))
    return f.select(crossed, f.op("add", rest, y), rest)


def shifted(f: Function, how: str, x: V, y: V) -> V:
    """``shl``, ``lshr`` or ``ashr`` of x by y bits, as if x had any number of them."""
    bits = int(lanes_of(x.type)[1].removeprefix("i"))
    last = f.intrinsic("umin", y, _full(f, y, bits - 1))  # a negative one is great, too
    found = f.op(how, x, last)
    if how == "ashr":
        return found
    inside = f.compare("icmp ult", y, _full(f, y, bits))
    return f.select(inside, found, _full(f, x, 0))


def power(f: Function, x: V, y: V, unsigned: bool) -> V:
    """x**y by the squares of x, one for each bit of y; with y < 0 what is left of 1 / x**-y."""
    zero, one = _full(f, x, 0), _full(f, x, 1)
    bits = int(lanes_of(x.type)[1].removeprefix("i"))
    with f.loop(bits, carry=[one, x, y]) as loop:
        found, square, rest = loop.carried
        odd = f.compare("icmp ne", f.op("and", rest, one), zero)
        found = f.select(odd, f.op("mul", found, square), found)
        loop.next(found, f.op("mul", square, square), f.op("lshr", rest, one))
    found = loop.results[0]
    if unsigned:
        return found
    odd = f.compare("icmp ne", f.op("and", y, one), zero)
    is_one = f.compare("icmp eq", x, one)
    is_minus = f.compare("icmp eq", x, _full(f, x, -1))
    turned = f.select(is_minus, f.select(odd, x, one), zero)
    return f.select(f.compare("icmp slt", y, zero), f.select(is_one, one, turned), found)
