"""The values of a model: converted to the dtypes of their parameters, and replaced as a whole."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir.errors import AttributeMistake


@cauce.network
def affine(x):
    return nn.linear(x, 2)


def model(dtype: str = "f32") -> cauce.Model:
    return affine.init(x=("N", 3), dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("f32", np.float64(1e39)),
        ("f32", np.float64(-3.5e38)),
        ("f16", np.float32(65520)),
        ("f16", np.float64(1e5)),
        ("bf16", np.float32(3.4e38)),
    ],
)
def test_a_value_beyond_the_dtype_is_refused(dtype: str, value: np.floating) -> None:
    net = model(dtype)
    before = net.state_dict()
    weight = np.ones((2, 3))
    with pytest.raises(AttributeMistake, match=r"linear1.bias is b?f\d+, which does not hold 1 of"):
        net.load_state_dict({"linear1.weight": weight, "linear1.bias": np.array([0, value])})
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_infinities_nan_and_small_numbers_are_taken(dtype: str) -> None:
    net = model(dtype)
    net.load_state_dict({"linear1.bias": np.array([np.inf, -np.inf])}, strict=False)
    assert net.state_dict()["linear1.bias"].tolist() == [np.inf, -np.inf]
    net.load_state_dict({"linear1.bias": np.array([np.nan, 2.0**-1074])}, strict=False)
    nan, small = net.state_dict()["linear1.bias"]
    assert np.isnan(nan) and small == (2.0**-1074 if dtype == "f64" else 0)


def test_an_integer_that_would_become_another_is_refused() -> None:
    """The random key is u32[2]: 2**32 would become 0."""

    @cauce.network
    def drops(x):
        return nn.linear(nn.dropout(x), 2)

    net = drops.init(x=("N", 3))
    with pytest.raises(AttributeMistake, match="4294967296 would become 0"):
        net.load_state_dict({"random.key": np.array([1, 2**32], np.uint64)}, strict=False)
    net.load_state_dict({"random.key": np.array([1, 2**32 - 1], np.uint64)}, strict=False)
    assert net.state_dict()["random.key"].tolist() == [1, 2**32 - 1]


def test_bfloat16_parameters_hold_bfloat16_values() -> None:
    """1 + 2**-8 lies between two of them, and goes to the even one."""
    net = model("bf16")
    net.load_state_dict({"linear1.bias": np.array([1 + 2.0**-8, 1 + 2.0**-7])}, strict=False)
    assert net.state_dict()["linear1.bias"].tolist() == [1, 1 + 2.0**-7]


def test_first_values_beyond_the_dtype_are_refused() -> None:
    @cauce.network
    def net(x):
        return x * nn.parameter((3,), nn.init.constant(1e39), name="scale")

    with pytest.raises(AttributeMistake, match=r"scale is f32, which does not hold 3 of the 3"):
        net.init(x=("N", 3))
