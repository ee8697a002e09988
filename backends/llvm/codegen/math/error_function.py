"""The error function, by the formulas and polynomials of ``ir/ops/error_function.py``."""

from __future__ import annotations

from .....ir import DType
from .....ir.ops.error_function import POLYNOMIALS, ErrorFunction
from .formulas import Num, polynomial
from .transcendental import exp, format_of

# 1 - erf x is 0 from here on, in both formats: no square is infinite.
_END = 30.0


def _polynomials(x: Num) -> ErrorFunction:
    return POLYNOMIALS[DType.F32 if x.kind == "float" else DType.F64]


def _small(x: Num) -> Num:
    """erf x, for |x| < 1."""
    return x.fma(polynomial(x * x, _polynomials(x).small), x)


def _rest(x: Num) -> Num:
    """1 - erf |x|, for |x| >= 1/2."""
    size = x.abs()
    size = (size > _END).select(_END, size)
    t = size.full(1.0) / size.fma(_polynomials(x).c, 1.0)
    square = size * size
    # What rounding has taken from the square, of which e**(-x**2) may have lost digits.
    upper = (size.bits() & (-1 << (format_of(x).fraction // 2 + 1))).number()
    lost = (size - upper).fma(size + upper, upper * upper - square)
    bell = exp(-square) * (t * polynomial(t, _polynomials(x).large))
    return bell - bell * lost


def erf(x: Num) -> Num:
    """The error function, wrong by at most 2 units."""
    return (x.abs() < 1.0).select(_small(x), (-_rest(x) + 1.0).copysign(x))


def erfc(x: Num) -> Num:
    """1 - erf x, wrong by less than 8 units."""
    rest = _rest(x)
    large = (x < 0.0).select(-rest + 2.0, rest)
    return (x.abs() < 0.5).select(-_small(x) + 1.0, large)
