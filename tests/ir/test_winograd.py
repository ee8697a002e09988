"""Winograd's convolutions in exact arithmetic: they are correlations, whatever the points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, product
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.backends.llvm.codegen.math import winograd as emitted
from cauce.ir.layout import Transformed
from cauce.ir.winograd import (
    TAPS,
    every,
    filter_matrix,
    points,
    products,
    transformed,
    window,
)

SIZES = {1: (2, 4, 5), 2: (2, 3, 4)}  # by stride
TILES = {1: ((2, 2), (4, 2), (4, 4), (5, 5)), 2: ((2, 2), (3, 3), (4, 2), (4, 4))}
KINDS = [(stride, size) for stride, found in SIZES.items() for size in found]
TILED = [(stride, tile) for stride, found in TILES.items() for tile in found]

Row = list[Fraction]


def finite(outputs: int, taps: int = TAPS) -> Row:
    """The points but infinity, in the order in which transforms number them."""
    found = []
    for value, mirrored, _ in points(outputs, taps):
        found += [value, -value] if mirrored else [value]
    return found


def times(a: Sequence[Fraction], b: Sequence[Fraction]) -> Row:
    """The product of two polynomials, the constant coefficient first."""
    total = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            total[i + j] += x * y
    return total


def input_matrix(outputs: int, stride: int = 1) -> list[Row]:
    """B^T from its definition. With stride 2 that of two taps for even places, and odd ones."""
    if stride == 1:
        return dense_input(outputs, TAPS)
    length = 2 * outputs + 1
    even = [[*chain(*zip(row, [Fraction(0)] * len(row)))] for row in dense_input(outputs, 2)]
    odd = [[Fraction(place == 2 * i + 1) for place in range(length)] for i in range(outputs)]
    return [*(row[:length] for row in even), *odd]


def dense_input(outputs: int, taps: int) -> list[Row]:
    """For each point the product of (x - q) over the others."""
    rows, known = [], finite(outputs, taps)
    for own in [*range(len(known)), None]:
        row = [Fraction(1)]
        for place, point in enumerate(known):
            if place != own:
                row = times(row, [-point, Fraction(1)])
        rows.append(row + [Fraction(0)] * (outputs + taps - 1 - len(row)))
    return rows


def output_matrix(outputs: int, stride: int = 1) -> list[Row]:
    """A^T from its definition: powers of the points; infinity counts for the last output. With
    stride 2 each middle tap counts for one."""
    taps = TAPS if stride == 1 else 2
    dense = [
        [*(point**power for point in finite(outputs, taps)), Fraction(power == outputs - 1)]
        for power in range(outputs)
    ]
    if stride == 1:
        return dense
    return [row + [Fraction(i == j) for j in range(outputs)] for i, row in enumerate(dense)]


def spread(outputs: int, stride: int) -> list[Sequence[Fraction]]:
    """G with a row for each product: with stride 2 the middle tap has one for each output."""
    rows = list(filter_matrix(outputs, stride))
    return rows + [rows[-1]] * (outputs - 1) if stride == 2 else rows


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


@pytest.mark.parametrize("stride, tile", TILED)
@given(data=st.data())
def test_a_tile_is_the_correlation(stride: int, tile: tuple[int, int], data: st.DataObject) -> None:
    m, n = tile
    d = data.draw(image(*window(tile, stride)))
    g = data.draw(image(TAPS, TAPS))
    v = both((input_matrix(m, stride), input_matrix(n, stride)), d)
    u = both((spread(m, stride), spread(n, stride)), g)
    multiplied = [[a * b for a, b in zip(*pair, strict=True)] for pair in zip(v, u, strict=True)]
    assert sum(map(len, multiplied)) == products(tile, stride)
    y = both((output_matrix(m, stride), output_matrix(n, stride)), multiplied)
    for i, j in product(range(m), range(n)):
        taps = product(range(TAPS), range(TAPS))
        assert y[i][j] == sum(d[i * stride + r][j * stride + s] * g[r][s] for r, s in taps)


@pytest.mark.parametrize("stride, outputs", KINDS)
def test_points_are_different_and_as_many_as_are_needed(stride: int, outputs: int) -> None:
    taps = TAPS if stride == 1 else 2
    known = finite(outputs, taps)
    assert len(set(known)) == len(known) == outputs + taps - 2
    assert all(value >= 0 for value, _, _ in points(outputs, taps))
    whole = [Fraction(1)]
    for point in known:
        whole = times(whole, [-point, Fraction(1)])
    assert list(every(outputs, taps)) == whole == dense_input(outputs, taps)[-1]


def test_there_are_points_for_some_tiles_alone() -> None:
    with pytest.raises(KeyError):
        points(6)


TRANSFORMS = {
    1: (emitted.of_input, emitted.of_output, emitted.of_filter),
    2: (emitted.of_strided_input, emitted.of_strided_output, emitted.of_strided_filter),
}


def computed(stride: int, outputs: int, values: Row, constants: list[Fraction]) -> Iterator[Row]:
    """What code computes of these values: the transforms of input, output and filter. The constants
    in it are noted."""

    def number(factor: Fraction, like: Number) -> Number:
        constants.append(factor)
        return Number(factor)

    registers: Any = [Number(value) for value in values]
    with mock.patch.object(emitted, "_number", number):
        for transform, count in zip(TRANSFORMS[stride], (len(values), len(values), TAPS)):
            found: Any = transform(cast(Any, Exact()), outputs, registers[:count])
            yield [number.is_ for number in found]


@pytest.mark.parametrize("stride, outputs", KINDS)
@given(data=st.data())
def test_what_code_computes_are_the_matrices(
    stride: int, outputs: int, data: st.DataObject
) -> None:
    length, _ = window((outputs, outputs), stride)
    values = data.draw(st.lists(FRACTION, min_size=length, max_size=length))
    assert list(computed(stride, outputs, values, [])) == [
        apply(input_matrix(outputs, stride), values),
        apply(output_matrix(outputs, stride), values),
        apply(filter_matrix(outputs, stride), values[:TAPS]),
    ]


@pytest.mark.parametrize("stride, outputs", [(1, 2), (1, 4), (2, 2), (2, 3), (2, 4)])
def test_the_factors_of_transforms_in_float32_are_exact(stride: int, outputs: int) -> None:
    constants: list[Fraction] = []
    length, _ = window((outputs, outputs), stride)
    of_data = computed(stride, outputs, [Fraction(1)] * length, constants)
    next(of_data), next(of_data)
    assert [Fraction(float(np.float32(factor))) for factor in constants] == constants
    assert constants or outputs < 4


def test_a_packed_filter_lies_as_it_is_said_to() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((20, 5, 3, 3)).astype(np.float32)
    for (stride, tile), flip in product(TILED, (0, 1)):
        layout = Transformed((2, 3, 1, 0), tile, 16, flip, stride)
        memory = layout.pack(weight)
        assert memory.dtype == np.float32 and memory.size == layout.size(weight.shape)
        lying = memory.reshape(2, transformed(tile), 5, 16)
        assert layout.block_stride(weight.shape) == lying[0].size
        assert not lying[1, :, :, 4:].any()
        taps = weight[:, :, ::-1, ::-1] if flip else weight
        for k, c in ((0, 0), (15, 3), (16, 4), (19, 1)):
            exactly = [[Fraction(float(tap)) for tap in row] for row in taps[k, c]]
            matrices = tuple(filter_matrix(size, stride) for size in tile)
            u = both(matrices, exactly)
            wanted = np.float32([float(value) for row in u for value in row])
            np.testing.assert_allclose(lying[k // 16, :, c, k % 16], wanted, rtol=2e-7)
