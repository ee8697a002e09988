"""Casts of numbers that come from outside: rounding is no loss, an infinity made of a number is."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.ir import Graph, Role, TensorType
from cauce.ir.errors import TypeMismatch
from cauce.ir.evaluate import check_feed
from cauce.ir.types import DType, cast

# The largest number of each type, and where the next one would lie (IEEE 754; bfloat16 has the
# exponent of float32 and 8 bits of precision): what is less than half the way rounds to it. A
# number becomes bfloat16 by way of float32, as in PyTorch.
LARGEST = {
    "f16": (65504.0, 65536.0, np.float64),
    "bf16": ((2 - 2.0**-7) * 2.0**127, 2.0**128, np.float32),
    "f32": ((2 - 2.0**-23) * 2.0**127, 2.0**128, np.float64),
}


@pytest.mark.parametrize("dtype", LARGEST)
def test_a_number_that_rounds_to_infinity_is_lost(dtype: str) -> None:
    largest, beyond, way = LARGEST[dtype]
    middle = way(largest + (beyond - largest) / 2)
    given = np.array([largest, np.nextafter(middle, way(0)), middle, -beyond, 1e300])
    found, lost = cast(given, DType.of(dtype))
    assert found[:2].tolist() == [largest, largest]
    assert lost.tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("dtype", LARGEST)
def test_rounding_infinities_and_nan_are_kept(dtype: str) -> None:
    found, lost = cast(np.array([np.inf, -np.inf, np.nan, 1e-300, 1 / 3]), DType.of(dtype))
    assert not lost.any()
    assert found[:2].tolist() == [np.inf, -np.inf] and np.isnan(found[2]) and found[3] == 0
    assert found[4] == pytest.approx(1 / 3, rel=2.0**-8)


def test_integers_must_stay_the_same_number() -> None:
    found, lost = cast(np.array([127, 128, -128, -129, 2**40]), DType.I8)
    assert lost.tolist() == [False, True, False, True, True]
    assert found[[0, 2]].tolist() == [127, -128]
    assert cast(np.array([0.5, 2.0]), DType.I32)[1].tolist() == [True, False]
    assert cast(np.array([2**17], np.uint64), DType.F16)[1].all()


def test_the_result_is_memory_of_its_own() -> None:
    given = np.ones(3, np.float32)
    assert not np.shares_memory(cast(given, DType.F32)[0], given)


@pytest.mark.parametrize(
    ("dtype", "feed"), [("f32", 1e39), ("f32", [[1.0, -1e39]]), ("f16", 65520), ("f16", [7e4])]
)
def test_python_numbers_do_not_become_infinite(dtype: str, feed: object) -> None:
    rank = np.ndim(feed)
    x = Graph("g").add_input("x", TensorType.make(dtype, ("N",) * rank), Role.DATA)
    with pytest.raises(TypeMismatch, match="input x takes"):
        check_feed(x, feed)
    infinite = np.full(np.shape(feed), np.inf).tolist()
    np.testing.assert_array_equal(check_feed(x, infinite), infinite)
