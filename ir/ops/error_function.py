"""The error function, erf x = 2 / sqrt(pi) * integral of e**(-t**2) from 0 to x, and 1 - erf x.

NumPy has neither. The references take Python's, one element at a time; what backends compute is
held against them:

    |x| < 1:     erf x = x + x p(x**2)
    |x| >= 1/2:  1 - erf |x| = e**(-x**2) t q(t)  with  t = 1 / (1 + c |x|)

so that 1 - erf x keeps its digits however small it is. The second form is that of Hastings,
"Approximations for digital computers", 1955.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..builder import Builder
from ..graph import Node, Value
from ..op import Gradients, register
from ..types import Array, DType
from .constant import scalar
from .elementwise import Exp, FloatUnary, Mul, Neg


@dataclass(frozen=True)
class ErrorFunction:
    """The polynomials of a format: minimax fits by Remez' exchange, computed with 200 bits.

    Attributes:
        small: p.
        c: the c of t.
        large: q, for x up to where 1 - erf x is 0.
    """

    small: tuple[float, ...]
    c: float
    large: tuple[float, ...]


# The relative error that the polynomials leave, with coefficients not yet rounded.
POLYNOMIALS: dict[DType, ErrorFunction] = {
    DType.F32: ErrorFunction(
        small=(  # 2**-29.6
            0.12837916612625122,
            -0.3761262595653534,
            0.1128358542919159,
            -0.026853814721107483,
            0.005188330542296171,
            -0.0008010202436707914,
            7.853849820094183e-05,
        ),
        c=0.375,
        large=(  # 2**-27.0
            0.21160480380058289,
            0.21082042157649994,
            0.2038903832435608,
            0.12805603444576263,
            0.25549522042274475,
            -0.19798459112644196,
            0.39957085251808167,
            -0.2683072090148926,
            0.05684841051697731,
        ),
    ),
    DType.F64: ErrorFunction(
        small=(  # 2**-56.9
            0.12837916709551256,
            -0.3761263890318352,
            0.112837916709442,
            -0.026866170643113415,
            0.005223977606130842,
            -0.0008548325929766244,
            0.0001205529358693695,
            -1.4924712439534814e-05,
            1.6447132699786621e-06,
            -1.6206318752969208e-07,
            1.3710988704190523e-08,
            -7.779462971761597e-10,
        ),
        c=0.25,
        large=(  # 2**-58.8
            0.14104739587820647,
            0.14104739645341485,
            0.13663964767088368,
            0.1278245216926706,
            0.11501009735340204,
            0.09907578631248769,
            0.0807750221201248,
            0.0641670916133816,
            0.037082737276844566,
            0.057606287098386555,
            -0.0690729188582654,
            0.21689291556075496,
            -0.4143369638087821,
            0.6665179301612708,
            -0.8574499557194358,
            0.859670735716649,
            -0.6613899945612859,
            0.3698025730564833,
            -0.13882788008132138,
            0.031038719192435223,
            -0.003121144131369227,
        ),
    ),
}


def _write_bell(b: Builder, factor: float, x: Value, dy: Value) -> Value:
    """Write factor * 2 / sqrt(pi) * e**(-x**2) * dy."""
    bell = b(Exp(), b(Neg(), b(Mul(), x, x)))
    return b(Mul(), dy, b(Mul(), bell, scalar(b, factor * 2 / math.sqrt(math.pi), x)))


@register
class Erf(FloatUnary):
    """y = erf x = 2 / sqrt(pi) * integral of e**(-t**2) from 0 to x. ONNX Erf-13."""

    name = "erf"

    def reference(self, x: Array) -> Array:
        return np.asarray(np.frompyfunc(math.erf, 1, 1)(x)).astype(x.dtype)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (_write_bell(b, 1, node.operands[0], dy),)


@register
class Erfc(FloatUnary):
    """y = 1 - erf x, which keeps its digits where erf x is nearly 1. Python's ``math.erfc``."""

    name = "erfc"

    def reference(self, x: Array) -> Array:
        return np.asarray(np.frompyfunc(math.erfc, 1, 1)(x)).astype(x.dtype)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (_write_bell(b, -1, node.operands[0], dy),)
