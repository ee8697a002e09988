"""The arithmetic of Winograd's convolutions: points, and the matrices that follow from them.

F(m, r) computes m neighbouring outputs of a one-dimensional convolution with r taps by m + r - 1
multiplications (Winograd, *Arithmetic Complexity of Computations*, 1980; Lavin and Gray, *Fast
Algorithms for Convolutional Neural Networks*, 2016). Input and filter are read as polynomials and
evaluated at as many points, of which one is infinity, the values multiplied, and the outputs
interpolated: ``y = A^T [(G g) * (B^T d)]``. In two dimensions the transforms are applied along
both axes, with F(m, r) for the rows and F(n, r) for the columns.

The error of the result depends on the points. 0, 5/8, -5/8, 3/2, -3/2 and infinity have half the
error of the usual 0, 1, -1, 2, -2 and infinity for F(4, 3), and these numbers, their squares and
the sums that occur are exact in float32 (compare Barabasz et al., *Error Analysis and Improving the
Accuracy of Winograd Convolution for Deep Neural Networks*, 2020).
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import NamedTuple

TAPS = 3

# By the outputs of a tile, the points beside 0 and infinity that come with their negatives, and
# those that come alone. For 5 outputs a search found 0.53, 1.08 and 2.8.
_POINTS: dict[int, tuple[tuple[Fraction, ...], tuple[Fraction, ...]]] = {
    2: ((Fraction(1),), ()),
    4: ((Fraction(5, 8), Fraction(3, 2)), ()),
    5: ((Fraction(17, 32), Fraction(69, 64)), (Fraction(45, 16),)),
}

Polynomial = tuple[Fraction, ...]  # coefficients, the constant one first


class Point(NamedTuple):
    """A finite point, or one with its negative.

    Attributes:
        value: not negative.
        mirrored: whether its negative is a point too, the next one.
        others: the product of (x - p) over all finite points p but these.
    """

    value: Fraction
    mirrored: bool
    others: Polynomial


@cache
def points(outputs: int) -> tuple[Point, ...]:
    """The finite points of F(``outputs``, 3), in the order in which transforms number them:
    0, p, -p, q, -q, ..., those that come alone; infinity is the last.

    Raises:
        KeyError: no points are known for this many outputs.
    """
    pairs, alone = _POINTS[outputs]
    found = [(Fraction(0), False), *((p, True) for p in pairs), *((p, False) for p in alone)]
    factors = [
        (-p * p, Fraction(0), Fraction(1)) if both else (-p, Fraction(1)) for p, both in found
    ]
    return tuple(
        Point(p, both, _product(factor for factor in factors if factor is not own))
        for (p, both), own in zip(found, factors)
    )


@cache
def every(outputs: int) -> Polynomial:
    """The product of (x - p) over all finite points p."""
    return _product(((-points(outputs)[0].value, Fraction(1)), points(outputs)[0].others))


@cache
def filter_matrix(outputs: int) -> tuple[tuple[Fraction, ...], ...]:
    """G of F(``outputs``, 3), a row for each point: the values of the taps' polynomial there,
    divided by the product of the differences to the other finite points; the last tap at
    infinity."""
    rows = []
    for value, mirrored, others in points(outputs):
        for own in (value, -value)[: 1 + mirrored]:
            apart = _at(others, own) * (2 * own if mirrored else 1)
            rows.append(tuple(own**tap / apart for tap in range(TAPS)))
    return (*rows, (*[Fraction(0)] * (TAPS - 1), Fraction(1)))


def products(tile: tuple[int, int]) -> int:
    """How many multiplications a tile of outputs takes for each pair of channels."""
    rows, columns = tile
    return (rows + TAPS - 1) * (columns + TAPS - 1)


def _product(factors: Iterable[Polynomial]) -> Polynomial:
    total: Polynomial = (Fraction(1),)
    for factor in factors:
        sums = [Fraction(0)] * (len(total) + len(factor) - 1)
        for i, a in enumerate(total):
            for j, b in enumerate(factor):
                sums[i + j] += a * b
        total = tuple(sums)
    return total


def _at(polynomial: Polynomial, value: Fraction) -> Fraction:
    return sum((a * value**power for power, a in enumerate(polynomial)), Fraction(0))
