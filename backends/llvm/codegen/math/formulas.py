"""Formulas that read as formulas: IR values with Python's operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..builder import Function, V, floating, lanes_of, splat, vector

_INTEGERS = {"float": "i32", "double": "i64"}
_FLOATS = {integer: number for number, integer in _INTEGERS.items()}


Operator = Callable[["Num", "Num | float"], "Num"]


def _instruction(name: str) -> Operator:
    """Writes an instruction of that name."""
    return lambda a, b: Num(a.f, a.f.op(name, a.v, a._constant(b)))


def _arithmetic(name: str) -> Operator:
    """Writes an instruction that has another name for floating-point numbers."""
    whole, number = _instruction(name), _instruction(f"f{name}")
    return lambda a, b: (number if a.kind in _INTEGERS else whole)(a, b)


def _comparison(predicate: str) -> Operator:
    """Writes a comparison of floating-point numbers."""
    return lambda a, b: Num(a.f, a.f.compare(f"fcmp {predicate}", a.v, a._constant(b)))


@dataclass(frozen=True, eq=False)
class Num:
    """A value of a function being written, of any lane count; an operator writes an instruction.

    Numbers of Python beside it become constants of its type. Comparisons are ordered: they are
    false for NaN.
    """

    f: Function
    v: V

    @property
    def lanes(self) -> int:
        """How many elements it holds."""
        return lanes_of(self.v.type)[0]

    @property
    def kind(self) -> str:
        """The type of one element."""
        return lanes_of(self.v.type)[1]

    def full(self, value: float) -> Num:
        """A number in every lane of a value like this."""
        return Num(self.f, self._constant(value))

    def _constant(self, value: Num | float) -> V:
        if isinstance(value, Num):
            return value.v
        known = self.kind in _INTEGERS
        one = floating(value, self.kind) if known else V(str(int(value)), self.kind)
        return splat(one, self.lanes)

    __add__ = _arithmetic("add")
    __sub__ = _arithmetic("sub")
    __mul__ = _arithmetic("mul")
    __truediv__ = _instruction("fdiv")
    __and__ = _instruction("and")
    __or__ = _instruction("or")
    __xor__ = _instruction("xor")
    __lshift__ = _instruction("shl")
    __rshift__ = _instruction("lshr")  # zeros come in from above
    __lt__ = _comparison("olt")
    __gt__ = _comparison("ogt")
    __ge__ = _comparison("oge")
    equals = _comparison("oeq")  # where both are the same number; 0 and -0 are
    unordered = _comparison("uno")  # where either is NaN

    def __neg__(self) -> Num:
        return Num(self.f, self.f.value(f"fneg {self.v}", self.v.type))

    def __invert__(self) -> Num:
        return self ^ -1

    def fma(self, factor: Num | float, addend: Num | float) -> Num:
        """self * factor + addend, rounded once or twice: formulas must bear both."""
        operands = (self.v, self._constant(factor), self._constant(addend))
        return Num(self.f, self.f.fma(*operands))

    def abs(self) -> Num:
        """Without its sign."""
        return Num(self.f, self.f.intrinsic("fabs", self.v))

    def copysign(self, sign: Num) -> Num:
        """With the sign of another."""
        return Num(self.f, self.f.intrinsic("copysign", self.v, sign.v))

    def select(self, yes: Num | float, no: Num) -> Num:
        """``yes`` where this, a comparison, holds, else ``no``."""
        return Num(self.f, self.f.select(self.v, no._constant(yes), no.v))

    def cast(self, how: str, kind: str) -> Num:
        """Each element as one of another type: ``fpext``, ``bitcast``, ..."""
        return Num(self.f, self.f.cast(how, self.v, vector(kind, self.lanes)))

    def bits(self) -> Num:
        """The integer with the bits of this number."""
        return self.cast("bitcast", _INTEGERS[self.kind])

    def number(self) -> Num:
        """The number with the bits of this integer."""
        return self.cast("bitcast", _FLOATS[self.kind])


def polynomial(x: Num, coefficients: tuple[float, ...]) -> Num:
    """coefficients[0] + coefficients[1] * x + ..., of at least two of them, by Horner's rule."""
    *rest, before, last = coefficients
    total = x.fma(last, before)
    for coefficient in reversed(rest):
        total = total.fma(x, coefficient)
    return total
