"""Layers of norms and activations: PyTorch's names, defaults and formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Array
from cauce.ir.errors import AttributeMistake, CauceError, ShapeError

X = np.random.default_rng(3).standard_normal((2, 4, 3, 5))


def model_of(layer: Callable[[nn.Tensor], nn.Tensor], x: Array = X) -> cauce.Model:
    @cauce.network
    def net(image):
        return layer(image)

    return net.init(image=("N", *x.shape[1:]), dtype="f64", seed=0)


def value(layer: Callable[[nn.Tensor], nn.Tensor], x: Array = X) -> Array:
    found = cauce.compile(model_of(layer, x), backend="numpy")(x)
    assert isinstance(found, np.ndarray)
    return found


def normal(x: Array, axes: tuple[int, ...], eps: float = 1e-5) -> Array:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


NORMS = {
    "layer_norm": (lambda x: nn.layer_norm(x, 5), {"weight": (5,), "bias": (5,)}),
    "layer_norm_2": (lambda x: nn.layer_norm(x, (3, 5), bias=False), {"weight": (3, 5)}),
    "layer_norm_0": (lambda x: nn.layer_norm(x, 5, elementwise_affine=False), {}),
    "group_norm": (lambda x: nn.group_norm(x, 2), {"weight": (4,), "bias": (4,)}),
    "instance_norm": (lambda x: nn.instance_norm(x), {}),
    "instance_norm_1": (
        lambda x: nn.instance_norm(x, affine=True),
        {"weight": (4,), "bias": (4,)},
    ),
    "rms_norm": (lambda x: nn.rms_norm(x, 5), {"weight": (5,)}),
    "prelu": (lambda x: nn.prelu(x), {"weight": (1,)}),
    "prelu_4": (lambda x: nn.prelu(x, 4), {"weight": (4,)}),
}


@pytest.mark.parametrize("name", NORMS)
def test_parameters_are_those_of_pytorch(name: str) -> None:
    layer, parameters = NORMS[name]
    found = {key: array.shape for key, array in model_of(layer).state_dict().items()}
    kind = name.rstrip("_0124")
    assert found == {f"{kind}1.{key}": shape for key, shape in parameters.items()}


def test_norms_begin_as_the_plain_formula() -> None:
    groups = normal(X.reshape(2, 2, -1), (2,)).reshape(X.shape)
    root = np.sqrt((X * X).mean(-1, keepdims=True) + np.finfo(np.float64).eps)
    for layer, wanted in (
        (lambda x: nn.layer_norm(x, 5), normal(X, (3,))),
        (lambda x: nn.layer_norm(x, (3, 5), eps=0.1), normal(X, (2, 3), 0.1)),
        (lambda x: nn.layer_norm(x, 5, elementwise_affine=False), normal(X, (3,))),
        (lambda x: nn.group_norm(x, 2), groups),
        (lambda x: nn.instance_norm(x), normal(X, (2, 3))),
        (lambda x: nn.rms_norm(x, 5), X / root),
        (lambda x: nn.prelu(x), np.where(X > 0, X, X / 4)),
        (lambda x: nn.local_response_norm(x, 1, 0.5, 1.0, 2.0), X / (2 + X * X / 2)),
    ):
        np.testing.assert_allclose(value(layer), wanted, rtol=1e-10, atol=1e-12)


def test_activations_have_the_constants_of_pytorch() -> None:
    sigmoid = 1 / (1 + np.exp(-X))
    shifted = np.exp(-X - (-X).max(1, keepdims=True))
    for layer, wanted in (
        (nn.hardsigmoid, np.clip(X / 6 + 0.5, 0, 1)),
        (nn.hardswish, X * np.clip(X / 6 + 0.5, 0, 1)),
        (nn.silu, X * sigmoid),
        (nn.elu, np.where(X > 0, X, np.expm1(X))),
        (lambda x: nn.celu(x, 0.5), np.where(X > 0, X, 0.5 * np.expm1(X / 0.5))),
        (
            nn.selu,
            1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * np.expm1(X)),
        ),
        (nn.softplus, np.log1p(np.exp(X))),
        (nn.softsign, X / (1 + np.abs(X))),
        (lambda x: nn.softshrink(x, 0.3), np.sign(X) * np.maximum(np.abs(X) - 0.3, 0)),
        (nn.hardshrink, np.where(np.abs(X) > 0.5, X, 0)),
        (nn.mish, X * np.tanh(np.log1p(np.exp(X)))),
        (lambda x: nn.softmin(x, 1), shifted / shifted.sum(1, keepdims=True)),
        (lambda x: nn.glu(x, 1), X[:, :2] * sigmoid[:, 2:]),
        (lambda x: nn.erf(x) + nn.erfc(x), np.ones_like(X)),
        (lambda x: nn.gelu(x) + nn.gelu(-x), value(lambda x: x * nn.erf(x * 0.5**0.5))),
        (lambda x: nn.hardmax(x, 1), (X.max(1, keepdims=True) == X).astype(float)),
    ):
        np.testing.assert_allclose(value(layer), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "error", "says"),
    [
        (lambda x: nn.layer_norm(x, 4), ShapeError, "normalized_shape is [4], x is"),
        (lambda x: nn.rms_norm(x, (5, 3)), ShapeError, "normalized_shape is [5,3], x is"),
        (lambda x: nn.group_norm(x, 3), ShapeError, "do not divide into 3 groups"),
        (lambda x: nn.prelu(x, 3), ShapeError, "3 weights for"),
        (lambda x: nn.glu(x, 2), ShapeError, "has size 3"),
        (lambda x: nn.celu(x, 0.0), AttributeMistake, "alpha must be positive"),
        (lambda x: nn.gelu(x, "fast"), AttributeMistake, "approximate must be"),
        (lambda x: nn.local_response_norm(x, 0), AttributeMistake, "size"),
    ],
)
def test_mistakes(
    layer: Callable[[nn.Tensor], nn.Tensor], error: type[CauceError], says: str
) -> None:
    with pytest.raises(error) as caught:
        model_of(layer)
    assert says in str(caught.value)
