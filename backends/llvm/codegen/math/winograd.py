"""The transforms of Winograd's algorithm on registers, along one axis (``cauce.ir.winograd``).

Each takes and gives vectors, one for each place; in two dimensions it goes down all columns and
then along all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from .....ir.winograd import TAPS, Polynomial, every, filter_matrix, points
from ..builder import Function, V, floating, splat

Transform = Callable[[Function, int, Sequence[V]], list[V]]


def both_axes(
    f: Function, transform: Transform, tile: tuple[int, int], values: Sequence[Sequence[V]]
) -> Iterator[list[V]]:
    """A transform down the columns of ``values`` and then along the rows: the results row by row,
    each written when it is asked for, so that what is stored at once needs no register longer."""
    rows, columns = tile
    downwards = list(zip(*[transform(f, rows, column) for column in zip(*values)]))
    return (transform(f, columns, row) for row in downwards)


def of_input(f: Function, outputs: int, values: Sequence[V]) -> list[V]:
    """B^T times the values of the input: for each point p the product of (x - q) over all other
    points q, as coefficients.

    A point and its negative share all but an addition: (x + p) Q and (x - p) Q, where Q is the
    product for the others.
    """
    return _of_input(f, outputs, TAPS, values)


def _of_input(f: Function, outputs: int, taps: int, values: Sequence[V]) -> list[V]:
    found = []
    for point in points(outputs, taps):
        near = _monic(f, point.others, values)
        if point.mirrored:
            far = _monic(f, point.others, values[1:])
            found += [_plus(f, far, factor, near) for factor in (point.value, -point.value)]
        else:
            found.append(near)
    return [*found, _monic(f, every(outputs, taps), values)]


def of_strided_input(f: Function, outputs: int, values: Sequence[V]) -> list[V]:
    """The same for stride 2: even places for two taps, and odd ones as they are."""
    return [*_of_input(f, outputs, 2, values[::2]), *values[1::2]]


def of_output(f: Function, outputs: int, values: Sequence[V]) -> list[V]:
    """A^T times the products at the points: the sums over the points p of p**i times its product,
    for each output i, and that at infinity for the last."""
    return _of_output(f, outputs, TAPS, values)


def of_strided_output(f: Function, outputs: int, values: Sequence[V]) -> list[V]:
    """The same for stride 2, and to each output the product of its middle tap."""
    own = _of_output(f, outputs, 2, values[: outputs + 1])
    return [f.op("fadd", *pair) for pair in zip(own, values[outputs + 1 :])]


def _of_output(f: Function, outputs: int, taps: int, values: Sequence[V]) -> list[V]:
    *finite, at_infinity = values
    terms: list[tuple[Fraction, V, V]] = []  # a point, what even powers of it are times, and odd
    for value, mirrored, _ in points(outputs, taps):
        own = finite.pop(0)
        if mirrored:  # p**i and (-p)**i are equal where i is even, and opposite where it is odd
            other = finite.pop(0)
            terms.append((value, f.op("fadd", own, other), f.op("fsub", own, other)))
        else:
            terms.append((value, own, own))
    results = []
    for power in range(outputs):
        parts = [(value**power, odd if power % 2 else even) for value, even, odd in terms]
        total = _sum(f, parts)
        results.append(f.op("fadd", total, at_infinity) if power == outputs - 1 else total)
    return results


def of_filter(f: Function, outputs: int, values: Sequence[V]) -> list[V]:
    """G times three taps."""
    return [_sum(f, list(zip(row, values))) for row in filter_matrix(outputs)]


def of_strided_filter(f: Function, outputs: int, values: Sequence[V]) -> list[V]:
    """The same for stride 2."""
    return [_sum(f, list(zip(row, values))) for row in filter_matrix(outputs, 2)]


# By stride: of the input, of the output, of a filter.
TRANSFORMS = {
    1: (of_input, of_output, of_filter),
    2: (of_strided_input, of_strided_output, of_strided_filter),
}


def of_slope(f: Function, outputs: int, values: Sequence[V]) -> list[V]:
    """A times the gradients of the outputs: at each point p the sum of p**i times that of output
    i, and that of the last at infinity."""
    found = []
    for value, mirrored, _ in points(outputs):
        terms = [(value**power, own) for power, own in enumerate(values)]
        if mirrored:
            even, odd = _sum(f, terms[::2]), _sum(f, terms[1::2])
            found += [f.op("fadd", even, odd), f.op("fsub", even, odd)]
        else:
            found.append(_sum(f, terms))
    return [*found, values[-1]]


def of_sums(f: Function, outputs: int, values: Sequence[V]) -> list[V]:
    """G^T times the sums at the points: the gradients of three taps."""
    return [_sum(f, list(zip(column, values))) for column in zip(*filter_matrix(outputs))]


def _sum(f: Function, terms: Sequence[tuple[Fraction, V]]) -> V:
    """The sum of factors times values, in order; those with a factor of 0 are left out."""
    (factor, value), *others = [term for term in terms if term[0]]
    total = value if factor == 1 else f.op("fmul", value, _number(factor, value))
    for factor, value in others:
        total = _plus(f, total, factor, value)
    return total


def _monic(f: Function, polynomial: Polynomial, values: Sequence[V]) -> V:
    """The sum of coefficients, of which the last is 1, times the first values."""
    *factors, _ = polynomial
    total = values[len(factors)]
    for factor, value in reversed(list(zip(factors, values))):
        total = _plus(f, total, factor, value)
    return total


def _plus(f: Function, total: V, factor: Fraction, value: V) -> V:
    """total + factor * value."""
    if factor == 0:
        return total
    if abs(factor) == 1:
        return f.op("fadd" if factor > 0 else "fsub", total, value)
    return f.fma(_number(factor, value), value, total)


def _number(number: Fraction, like: V) -> V:
    """A number as a constant of the type of a value."""
    lanes, _, element = like.type.strip("<>").rpartition(" x ")
    return splat(floating(float(number), element), int(lanes or 1))
