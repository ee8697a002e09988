"""The arithmetic of Winograd's convolutions: points, and the matrices that follow from them.

F(m, r) computes m neighbouring outputs of a one-dimensional convolution with r taps by m + r - 1
multiplications (Winograd, *Arithmetic Complexity of Computations*, 1980; Lavin and Gray, *Fast
Algorithms for Convolutional Neural Networks*, 2016). Input and filter are read as polynomials and
evaluated at as many points, of which one is infinity, the values multiplied, and the outputs
interpolated: ``y = A^T [(G g) * (B^T d)]``. In two dimensions the transforms are applied along
both axes, with F(m, r) for the rows and F(n, r) for the columns.

With stride 2 the inputs at even places meet the first and the last tap, as in a convolution of
stride 1 with two taps, F(m, 2); those at odd places meet the middle one, which is multiplied as it
is (compare Yepez and Ko, *Stride 2 1-D, 2-D, and 3-D Winograd for Convolutional Neural Networks*,
2020). So m outputs take 2m + 1 multiplications, not 3m, and the filter becomes m + 2 numbers, the
last of which is used m times.

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

# By how many points there are, those beside 0 and infinity that come with their negatives, and
# those that come alone. For seven a search found 0.53, 1.08 and 2.8.
_POINTS: dict[int, tuple[tuple[Fraction, ...], tuple[Fraction, ...]]] = {
    3: ((), (Fraction(1),)),
    4: ((Fraction(1),), ()),
    5: ((Fraction(5, 4),), (Fraction(1, 2),)),
    6: ((Fraction(5, 8), Fraction(3, 2)), ()),
    7: ((Fraction(17, 32), Fraction(69, 64)), (Fraction(45, 16),)),
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
def points(outputs: int, taps: int = TAPS) -> tuple[Point, ...]:
    """The finite points of F(``outputs``, ``taps``), in the order in which transforms number them:
    0, p, -p, q, -q, ..., those that come alone; infinity is the last.

    Raises:
        KeyError: no points are known for this many outputs.
    """
    pairs, alone = _POINTS[outputs + taps - 1]
    found = [(Fraction(0), False), *((p, True) for p in pairs), *((p, False) for p in alone)]
    factors = [
        (-p * p, Fraction(0), Fraction(1)) if both else (-p, Fraction(1)) for p, both in found
    ]
    return tuple(
        Point(p, both, _product(factor for factor in factors if factor is not own))
        for (p, both), own in zip(found, factors)
    )


@cache
def every(outputs: int, taps: int = TAPS) -> Polynomial:
    """The product of (x - p) over all finite points p."""
    first = points(outputs, taps)[0]
    return _product(((-first.value, Fraction(1)), first.others))


@cache
def filter_matrix(outputs: int, stride: int = 1) -> tuple[tuple[Fraction, ...], ...]:
    """G, which makes ``outputs + 2`` numbers of three taps.

    That of F(``outputs``, 3) has a row for each point: the values of the taps' polynomial there,
    divided by the product of the differences to the other finite points; the last tap at infinity.
    With stride 2 it is that of F(``outputs``, 2) for the outer taps, and the middle one.
    """
    if stride == 2:
        none, one = Fraction(0), Fraction(1)
        return (*((a, none, b) for a, b in _filter_matrix(outputs, 2)), (none, one, none))
    return _filter_matrix(outputs, TAPS)


def _filter_matrix(outputs: int, taps: int) -> tuple[tuple[Fraction, ...], ...]:
    rows = []
    for value, mirrored, others in points(outputs, taps):
        for own in (value, -value)[: 1 + mirrored]:
            apart = _at(others, own) * (2 * own if mirrored else 1)
            rows.append(tuple(own**tap / apart for tap in range(taps)))
    return (*rows, (*[Fraction(0)] * (taps - 1), Fraction(1)))


def transformed(tile: tuple[int, int]) -> int:
    """How many numbers a filter becomes, for each channel."""
    rows, columns = tile
    return (rows + TAPS - 1) * (columns + TAPS - 1)


def window(tile: tuple[int, int], stride: int = 1) -> tuple[int, int]:
    """The rows and columns of the input that a tile of outputs is made of."""
    rows, columns = tile
    return (rows - 1) * stride + TAPS, (columns - 1) * stride + TAPS


def products(tile: tuple[int, int], stride: int = 1) -> int:
    """How many multiplications a tile of outputs takes for each pair of channels: as many as there
    are inputs, for the transform of these is a square matrix."""
    rows, columns = window(tile, stride)
    return rows * columns


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
