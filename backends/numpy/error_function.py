"""The error function, by the formulas and polynomials of ``ir/ops/error_function.py``."""

from __future__ import annotations

import numpy as np

from ...ir import Array, DType
from ...ir.ops.error_function import POLYNOMIALS, Erf, Erfc, ErrorFunction
from .kernels import kernel
from .memory import Memory

# 1 - erf x is 0 from here on: no square is infinite.
_END = 30.0


def _polynomials(x: Array) -> ErrorFunction:
    return POLYNOMIALS[DType.F32 if x.dtype == np.float32 else DType.F64]


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """coefficients[0] + coefficients[1] * x + ..., by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total *= x
        total += coefficient
    return total


def _small(x: Array) -> Array:
    """erf x, for |x| < 1."""
    inside = np.clip(x, -1, 1)
    return inside + inside * _polynomial(inside * inside, _polynomials(x).small)


def _rest(x: Array) -> Array:
    """1 - erf |x|, for |x| >= 1/2."""
    size = np.minimum(np.abs(x), _END)
    t = 1 / (1 + _polynomials(x).c * size)
    bell = np.exp(-(size.astype(np.float64) ** 2)).astype(x.dtype)
    return bell * t * _polynomial(t, _polynomials(x).large)


@kernel(Erf)
def erf(op: Erf, memory: Memory, x: Array) -> Array:
    if x.dtype.itemsize == 2:
        return op.reference(x)
    return np.where(np.abs(x) < 1, _small(x), np.copysign(1 - _rest(x), x))


@kernel(Erfc)
def erfc(op: Erfc, memory: Memory, x: Array) -> Array:
    if x.dtype.itemsize == 2:
        return op.reference(x)
    rest = _rest(x)
    return np.where(np.abs(x) < 0.5, 1 - _small(x), np.where(x < 0, 2 - rest, rest))
