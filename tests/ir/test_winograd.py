"""Winograd's convolutions in exact arithmetic: they are correlations, whatever the points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.backends.llvm.codegen.math import winograd as emitted
from cauce.ir.layout import Transformed
from cauce.ir.winograd import TAPS, every, filter_matrix, points, products

SIZES = (2, 4, 5)
TILES = ((2, 2), (4, 2), (4, 4), (5, 5))

Row = list[Fraction]


def finite(outputs: int) -> Row:
    """The points but infinity, in the order in which transforms number them."""
    found = []
    for value, mirrored, _ in points(outputs):
        found += [value, -value] if mirrored else [value]
    return found


def times(a: Sequence[Fraction], b: Sequence[Fraction]) -> Row:
    """The product of two polynomials, the constant coefficient first."""
    total = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            total[i + j] += x * y
    return total


def input_matrix(outputs: int) -> list[Row]:
    """B^T from its definition: for each point the product of (x - q) over the others."""
    rows, known = [], finite(outputs)
    for own in [*range(len(known)), None]:
        row = [Fraction(1)]
        for place, point in enumerate(known):
            if place != own:
                row = times(row, [-point, Fraction(1)])
        rows.append(row + [Fraction(0)] * (outputs + TAPS - 1 - len(row)))
    return rows


def output_matrix(outputs: int) -> list[Row]:
    """A^T from its definition: powers of the points; infinity counts for the last output."""
    return [
        [*(point**power for point in finite(outputs)), Fraction(power == outputs - 1)]
        for power in range(outputs)
    ]


def apply(matrix: Iterable[Sequence[Fraction]], values: Sequence[Fraction]) -> Row:
    return [sum((a * b for a, b in zip(row, values, strict=True)), Fraction(0)) for row in matrix]


def both(matrices: tuple[Iterable[Sequence[Fraction]], ...], image: list[Row]) -> list[Row]:
    """The first matrix down all columns, the second along all rows."""
    down = zip(*(apply(matrices[0], column) for column in zip(*image)))
    return [apply(matrices[1], row) for row in down]


class Exact:
    """In place of the function that code is written to: numbers in place of registers."""

    def op(self, name: str, a: Number, b: Number) -> Number:
        sign = {"fadd": 1, "fsub": -1}.get(name)
        return Number(a.is_ * b.is_ if sign is None else a.is_ + sign * b.is_)

    def fma(self, a: Number, b: Number, c: Number) -> Number:
        return Number(a.is_ * b.is_ + c.is_)


class Number:
    def __init__(self, is_: Fraction) -> None:
        self.is_, self.type = is_, "float"


FRACTION = st.integers(-40, 40).map(lambda number: Fraction(number, 8))


def image(rows: int, columns: int) -> st.SearchStrategy[list[Row]]:
    row = st.lists(FRACTION, min_size=columns, max_size=columns)
    return st.lists(row, min_size=rows, max_size=rows)


@pytest.mark.parametrize("tile", TILES)
@given(data=st.data())
def test_a_tile_is_the_correlation(tile: tuple[int, int], data: st.DataObject) -> None:
    m, n = tile
    d = data.draw(image(m + TAPS - 1, n + TAPS - 1))
    g = data.draw(image(TAPS, TAPS))
    v = both((input_matrix(m), input_matrix(n)), d)
    u = both((filter_matrix(m), filter_matrix(n)), g)
    multiplied = [[a * b for a, b in zip(*pair, strict=True)] for pair in zip(v, u, strict=True)]
    assert sum(map(len, multiplied)) == products(tile)
    y = both((output_matrix(m), output_matrix(n)), multiplied)
    for i, j in product(range(m), range(n)):
        taps = product(range(TAPS), range(TAPS))
        assert y[i][j] == sum(d[i + r][j + s] * g[r][s] for r, s in taps)


@pytest.mark.parametrize("outputs", SIZES)
def test_points_are_different_and_as_many_as_are_needed(outputs: int) -> None:
    known = finite(outputs)
    assert len(set(known)) == len(known) == outputs + TAPS - 2
    assert all(value >= 0 for value, _, _ in points(outputs))
    whole = [Fraction(1)]
    for point in known:
        whole = times(whole, [-point, Fraction(1)])
    assert list(every(outputs)) == whole == input_matrix(outputs)[-1]


def test_there_are_points_for_some_tiles_alone() -> None:
    with pytest.raises(KeyError):
        points(3)


def transformed(outputs: int, values: Row, constants: list[Fraction]) -> Iterator[Row]:
    """What code computes of these values: the transforms of input, output and filter. The constants
    in it are noted."""

    def number(factor: Fraction, like: Number) -> Number:
        constants.append(factor)
        return Number(factor)

    registers: Any = [Number(value) for value in values]
    with mock.patch.object(emitted, "_number", number):
        for transform, count in (
            (emitted.of_input, outputs + TAPS - 1),
            (emitted.of_output, outputs + TAPS - 1),
            (emitted.of_filter, TAPS),
        ):
            found: Any = transform(cast(Any, Exact()), outputs, registers[:count])
            yield [number.is_ for number in found]


@pytest.mark.parametrize("outputs", SIZES)
@given(data=st.data())
def test_what_code_computes_are_the_matrices(outputs: int, data: st.DataObject) -> None:
    length = outputs + TAPS - 1
    values = data.draw(st.lists(FRACTION, min_size=length, max_size=length))
    assert list(transformed(outputs, values, [])) == [
        apply(input_matrix(outputs), values),
        apply(output_matrix(outputs), values),
        apply(filter_matrix(outputs), values[:TAPS]),
    ]


@pytest.mark.parametrize("outputs", [2, 4])
def test_the_factors_of_transforms_in_float32_are_exact(outputs: int) -> None:
    constants: list[Fraction] = []
    of_data = transformed(outputs, [Fraction(1)] * (outputs + TAPS - 1), constants)
    next(of_data), next(of_data)
    assert [Fraction(float(np.float32(factor))) for factor in constants] == constants
    assert constants or outputs == 2


def test_a_packed_filter_lies_as_it_is_said_to() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((20, 5, 3, 3)).astype(np.float32)
    for tile, flip in product(TILES, (0, 1)):
        layout = Transformed((2, 3, 1, 0), tile, 16, flip)
        memory = layout.pack(weight)
        assert memory.dtype == np.float32 and memory.size == layout.size(weight.shape)
        lying = memory.reshape(2, products(tile), 5, 16)
        assert layout.block_stride(weight.shape) == lying[0].size
        assert not lying[1, :, :, 4:].any()
        taps = weight[:, :, ::-1, ::-1] if flip else weight
        for k, c in ((0, 0), (15, 3), (16, 4), (19, 1)):
            exactly = [[Fraction(float(tap)) for tap in row] for row in taps[k, c]]
            u = both((filter_matrix(tile[0]), filter_matrix(tile[1])), exactly)
            wanted = np.float32([float(value) for row in u for value in row])
            np.testing.assert_allclose(lying[k // 16, :, c, k % 16], wanted, rtol=2e-7)
