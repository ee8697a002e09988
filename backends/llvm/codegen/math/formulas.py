"""Formulas that read as formulas: IR values with Python's operators."""

from __future__ import annotations

from dataclasses import dataclass

from ..builder import Function, V, floating, splat, vector

_INTEGERS = {"float": "i32", "double": "i64"}
_FLOATS = {integer: number for number, integer in _INTEGERS.items()}


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
        return int(self.v.type[1:].partition(" x ")[0]) if self.v.type.startswith("<") else 1

    @property
    def kind(self) -> str:
        """The type of one element."""
        return self.v.type[1:-1].partition(" x ")[2] if self.v.type.startswith("<") else self.v.type

    def full(self, value: float) -> Num:
        """A number in every lane of a value like this."""
        return Num(self.f, self._constant(value))

    def _constant(self, value: Num | float) -> V:
        if isinstance(value, Num):
            return value.v
        known = self.kind in _INTEGERS
        one = floating(value, self.kind) if known else V(str(int(value)), self.kind)
        return splat(one, self.lanes)

    def _write(self, name: str, other: Num | float) -> Num:
        return Num(self.f, self.f.op(name, self.v, self._constant(other)))

    def _either(self, name: str, other: Num | float) -> Num:
        return self._write(f"f{name}" if self.kind in _INTEGERS else name, other)

    def __add__(self, other: Num | float) -> Num:
        return self._either("add", other)

    def __sub__(self, other: Num | float) -> Num:
        return self._either("sub", other)

    def __mul__(self, other: Num | float) -> Num:
        return self._either("mul", other)

    def __truediv__(self, other: Num | float) -> Num:
        return self._write("fdiv", other)

    def __neg__(self) -> Num:
        return Num(self.f, self.f.value(f"fneg {self.v}", self.v.type))

    def __and__(self, other: Num | int) -> Num:
        return self._write("and", other)

    def __or__(self, other: Num | int) -> Num:
        return self._write("or", other)

    def __xor__(self, other: Num | int) -> Num:
        return self._write("xor", other)

    def __invert__(self) -> Num:
        return self._write("xor", -1)

    def __lshift__(self, places: int) -> Num:
        return self._write("shl", places)

    def __rshift__(self, places: int) -> Num:
        """Zeros come in from above."""
        return self._write("lshr", places)

    def _compare(self, predicate: str, other: Num | float) -> Num:
        return Num(self.f, self.f.compare(f"fcmp {predicate}", self.v, self._constant(other)))

    def __lt__(self, other: Num | float) -> Num:
        return self._compare("olt", other)

    def __gt__(self, other: Num | float) -> Num:
        return self._compare("ogt", other)

    def __ge__(self, other: Num | float) -> Num:
        return self._compare("oge", other)

    def equals(self, other: Num | float) -> Num:
        """Where both are the same number; 0 and -0 are."""
        return self._compare("oeq", other)

    def unordered(self, other: Num | float) -> Num:
        """Where either is NaN."""
        return self._compare("uno", other)

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
