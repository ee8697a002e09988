"""What nn has beside layers: indices, scans, rounding, angles and bits, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Array, TensorType
from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 4, 5)).astype(np.float32)
WHICH = RNG.integers(0, 4, (3, 2, 5))
BYTES = RNG.integers(0, 255, (3, 4), np.uint8)


def run(function: Callable[..., Any], *arrays: Array) -> list[Array]:
    """What a network of one function gives, the same on both backends."""

    @cauce.network
    def of_one(x):  # type: ignore[no-untyped-def]
        return function(x)

    @cauce.network
    def of_two(x, other):  # type: ignore[no-untyped-def]
        return function(x, other)

    net = of_one if len(arrays) == 1 else of_two
    names = ("x", "other")[: len(arrays)]
    model = net.init(**{name: TensorType.of(array) for name, array in zip(names, arrays)}, seed=0)
    found = []
    for backend in ("numpy", "llvm"):
        result = cauce.compile(model, backend=backend)(*arrays)
        found.append(result if isinstance(result, tuple) else (result,))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    return list(found[0])


FUNCTIONS: list[tuple[Callable[[Any], Any], Callable[[Array], Any]]] = [
    *((getattr(nn, name), getattr(np, name)) for name in ("floor", "ceil", "round")),
    *((getattr(nn, name), getattr(np, name)) for name in ("sin", "cos", "tan", "sinh", "cosh")),
    *((getattr(nn, name), getattr(np, name)) for name in ("asinh", "isnan", "isinf")),
    (nn.atan, np.arctan),
    (lambda x: nn.asin(nn.tanh(x)), lambda x: np.arcsin(np.tanh(x))),
    (lambda x: nn.acos(nn.tanh(x)), lambda x: np.arccos(np.tanh(x))),
    (lambda x: nn.atanh(0.9 * nn.tanh(x)), lambda x: np.arctanh(np.float32(0.9) * np.tanh(x))),
    (lambda x: nn.acosh(1 + abs(x)), lambda x: np.arccosh(1 + abs(x))),
    (lambda x: nn.remainder(x, -0.5), lambda x: np.remainder(x, np.float32(-0.5))),
    (lambda x: nn.fmod(x, 0.5), lambda x: np.fmod(x, np.float32(0.5))),
    (lambda x: nn.logical_xor(x > 0, x > 1), lambda x: (x > 0) ^ (x > 1)),
    (lambda x: (x > 0) ^ (x > 1), lambda x: (x > 0) ^ (x > 1)),
    (lambda x: nn.cumsum(x, 1), lambda x: np.cumsum(x, 1)),
    (lambda x: nn.cumprod(x, -1), lambda x: np.cumprod(x, -1)),
    (lambda x: nn.tril(x, 1), lambda x: np.tril(x, 1)),
    (lambda x: nn.triu(x, -1), lambda x: np.triu(x, -1)),
    (lambda x: nn.argmax(x, 1), lambda x: np.argmax(x, 1)),
    (lambda x: nn.argmin(x), lambda x: np.argmin(x, -1)),
    (lambda x: x.argmin(0, keepdim=True), lambda x: np.argmin(x, 0, keepdims=True)),
    (lambda x: x.min((0, 2)), lambda x: x.min((0, 2))),
    (lambda x: x.prod(1), lambda x: x.prod(1)),
    (lambda x: nn.logsumexp(x, (1, 2)), lambda x: np.log(np.exp(x).sum((1, 2)))),
    (lambda x: x + nn.arange(x.shape[-1], "f32"), lambda x: x + np.arange(5)),
]


def test_a_function_is_that_of_numpy() -> None:
    found = run(lambda x: tuple(ours(x) for ours, _ in FUNCTIONS), X)
    for place, (_, wanted) in enumerate(FUNCTIONS):
        np.testing.assert_allclose(found[place], wanted(X), 1e-5, 1e-6, err_msg=str(place))


def test_bits_are_those_of_numpy() -> None:
    def net(x: Any, y: Any) -> Any:
        both = (nn.bitwise_and(x, y), nn.bitwise_or(x, y), nn.bitwise_xor(x, 5))
        return *both, nn.bitwise_not(x), nn.bitwise_left_shift(x, 3), nn.bitwise_right_shift(x, y)

    y = BYTES[::-1].copy()
    wanted = [BYTES & y, BYTES | y, BYTES ^ 5, ~BYTES, BYTES << 3, np.right_shift(BYTES, y)]
    for found, expected in zip(run(net, BYTES, y), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_elements_are_taken_and_put_back() -> None:
    (taken,) = run(lambda x, i: nn.take_along_dim(x, i, 1), X, WHICH)
    np.testing.assert_array_equal(taken, np.take_along_axis(X, WHICH, 1))
    places = list(np.indices(WHICH.shape))
    places[1] = WHICH
    for name, function in {"sum": np.add, "prod": np.multiply, "amax": np.maximum}.items():
        wanted = X.copy()
        function.at(wanted, tuple(places), taken)

        def net(x: Any, i: Any, name: str = name) -> Any:
            return nn.scatter_reduce(x, 1, i, nn.take_along_dim(x, i, 1), name)

        (found,) = run(net, X, WHICH)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    (same,) = run(lambda x, i: nn.scatter(x, 1, i, nn.take_along_dim(x, i, 1)), X, WHICH)
    np.testing.assert_array_equal(same, X)
    (more,) = run(lambda x, i: nn.scatter_add(x, 1, i, 0 * nn.take_along_dim(x, i, 1)), X, WHICH)
    np.testing.assert_array_equal(more, X)


def test_topk_gives_values_and_indices() -> None:
    values, places = run(lambda x: nn.topk(x, 2, dim=1, largest=False), X)
    np.testing.assert_array_equal(places, np.argsort(X, 1, kind="stable")[:, :2])
    np.testing.assert_array_equal(values, np.sort(X, 1)[:, :2])


def test_mistakes_are_named() -> None:
    with pytest.raises(ShapeError, match="topk: 6 of the 5 elements"):
        run(lambda x: nn.topk(x, 6), X)
    with pytest.raises(AttributeMistake, match="there is no reduce 'mean'"):
        run(lambda x, i: nn.scatter_reduce(x, 0, i, x, "mean"), X, WHICH)
    with pytest.raises(TypeMismatch, match="takes integers"):
        run(nn.bitwise_not, X)
    with pytest.raises(ShapeError, match="reach beyond"):
        run(lambda x, i: nn.take_along_dim(x, i, 0), X[:, :1], WHICH)
