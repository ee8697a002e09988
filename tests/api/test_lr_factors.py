"""Learning rates of their own for some parameters: multiples of the rate of the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Array
from cauce.ir.errors import AttributeMistake, CauceError, GraphError, TypeMismatch
from cauce.training import Cosine, Dataset

BACKENDS = ("numpy", "llvm")
FACTORS = {"body.*": 0.25, "head.bias": 3.0}
RATES = (0.1, 0.02, 0.0, 0.3)  # of the steps, as a schedule would give


@cauce.network
def net(x):
    return nn.linear(nn.linear(x, 3, name="body"), 2, name="head")


def make(dtype: str = "f64") -> cauce.Model:
    return net.init(x=("N", 4), dtype=dtype, seed=3)


def data() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((6, 4)), rng.standard_normal((6, 2))


def gradients(w: dict[str, Array], x: Array, target: Array) -> dict[str, Array]:
    """Of the mean squared error of both layers, by hand."""
    hidden = x @ w["body.weight"].T + w["body.bias"]
    error = 2 * (hidden @ w["head.weight"].T + w["head.bias"] - target) / target.size
    back = error @ w["head.weight"]
    return {
        "body.weight": back.T @ x,
        "body.bias": back.sum(0),
        "head.weight": error.T @ hidden,
        "head.bias": error.sum(0),
    }


class Sgd:
    """torch.optim.SGD with momentum 0.9, Nesterov and weight decay 0.01, in its published form."""

    ours = cauce.SGD(0.1, 0.9, 0.01, nesterov=True, lr_factors=FACTORS)

    def __init__(self) -> None:
        self.velocity: Array | float = 0.0

    def __call__(self, w: Array, g: Array, lr: float) -> Array:
        g = g + 0.01 * w
        self.velocity = 0.9 * self.velocity + g
        moved: Array = w - lr * (g + 0.9 * self.velocity)
        return moved


class Plain:
    ours = cauce.SGD(0.1, lr_factors=FACTORS)

    def __call__(self, w: Array, g: Array, lr: float) -> Array:
        return w - lr * g


class AdamW:
    """torch.optim.AdamW with weight decay 0.1: the decay is scaled by the rate as well."""

    ours = cauce.AdamW(0.1, weight_decay=0.1, lr_factors=FACTORS)

    def __init__(self) -> None:
        self.t, self.m, self.v = 0, 0.0, 0.0

    def __call__(self, w: Array, g: Array, lr: float) -> Array:
        self.t += 1
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g * g
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return w - lr * 0.1 * w - lr * m / (np.sqrt(v) + 1e-8)


class Adam(AdamW):
    """torch.optim.Adam with weight decay 0.1: a part of the gradient."""

    ours = cauce.Adam(0.1, weight_decay=0.1, lr_factors=FACTORS)

    def __call__(self, w: Array, g: Array, lr: float) -> Array:
        return super().__call__(w, g + 0.1 * w, lr) + lr * 0.1 * w


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("formula", [Plain, Sgd, Adam, AdamW], ids=lambda f: f.__name__)
def test_each_parameter_moves_by_its_own_rate(formula: Any, backend: str) -> None:
    model, (x, target) = make(), data()
    step = cauce.train_step(model, "mse_loss", formula.ours, backend=backend)
    state, own = step.init(), {name: formula() for name in model.values}
    w, program = model.state_dict(), step.executable.program
    factors = {"body.weight": 0.25, "body.bias": 0.25, "head.weight": 1.0, "head.bias": 3.0}
    for rate in (None, *RATES):
        step(state, (x, target), lr=rate)
        lr = 0.1 if rate is None else rate
        slopes = gradients(w, x, target)
        w = {name: own[name](w[name], slopes[name], lr * factors[name]) for name in w}
        now = state.read()
        for name in w:
            np.testing.assert_allclose(now[name], w[name], rtol=1e-9, err_msg=name)
    assert step.executable.program is program  # no rate was compiled in


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_factor_of_zero_and_a_schedule(backend: str) -> None:
    x, target = (array.astype(np.float32) for array in data())
    model = make("f32")
    optimizer = cauce.SGD(0.1, lr_factors={"body.*": 0, "head.*": np.float32(2)})
    assert optimizer.lr_factors == {"body.*": 0.0, "head.*": 2.0}
    twice = cauce.train_step(model, "mse_loss", cauce.SGD(0.1), backend=backend)
    step = cauce.train_step(model, "mse_loss", optimizer, backend=backend)
    state, fast = step.init(), twice.init()
    schedule = Cosine(0.1, total_steps=4)
    for number in range(4):
        step(state, (x, target), lr=schedule(number))
        fast.write({n: model.values[n] for n in ("body.weight", "body.bias")})
        twice(fast, (x, target), lr=2 * schedule(number))
    for name, array in state.read().items():
        if name.startswith("body"):
            np.testing.assert_array_equal(array, model.values[name])
        else:
            np.testing.assert_allclose(array, fast.read()[name], rtol=1e-6)


def test_a_trainer_takes_factors_for_what_is_frozen_and_what_is_not() -> None:
    rng = np.random.default_rng(1)
    images = rng.standard_normal((12, 4, 1, 1)).astype(np.float32)
    train = Dataset(images, np.arange(12) % 2, ("a", "b"))

    @cauce.network
    def classes(image):
        return net(nn.flatten(image), name="part")

    model = classes.init(image=("N", 4, 1, 1))
    model.freeze("part.body.*")
    optimizer = cauce.SGD(0.1, lr_factors={"part.body.*": 0.0, "part.head.bias": 0.0})
    trainer = cauce.Trainer(model, optimizer=optimizer, backend="numpy")
    before = model.state_dict()
    trainer.fit(train, 1, batch_size=4, progress=False)
    moved = {n for n, a in model.values.items() if not np.array_equal(a, before[n])}
    assert moved == {"part.head.weight"}
    model.unfreeze("part.body.weight")  # its factor is still 0
    trainer.fit(train, 1, batch_size=4, progress=False)
    np.testing.assert_array_equal(model.values["part.body.weight"], before["part.body.weight"])


def test_options_in_order_mean_what_they_did() -> None:
    optimizer = cauce.SGD(0.1, 0.9, 1e-4, True)
    assert (optimizer.momentum, optimizer.weight_decay, optimizer.nesterov) == (0.9, 1e-4, True)
    assert cauce.Adam(0.1, (0.5, 0.5)).betas == (0.5, 0.5)
    assert hash(cauce.SGD(0.1, lr_factors=FACTORS)) == hash(cauce.SGD(0.1, lr_factors=FACTORS))
    assert cauce.SGD(0.1, lr_factors=FACTORS) != cauce.SGD(0.1)


# ---- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factors", "kind", "message"),
    [
        ([("head.*", 0.1)], TypeMismatch, "SGD: lr_factors are numbers by patterns on names"),
        ({3: 0.1}, TypeMismatch, "SGD: lr_factors are numbers by patterns on names, got 3"),
        ({"head.*": -1}, AttributeMistake, r"lr_factors\['head.\*'\] must be a finite number >= 0"),
        ({"head.*": float("nan")}, AttributeMistake, "must be a finite number"),
        ({"head.*": "0.1"}, AttributeMistake, "must be a finite number"),
    ],
)
def test_factors_that_are_none(factors: Any, kind: type[CauceError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        cauce.SGD(0.1, lr_factors=factors)
    assert caught.value.fix == "pass for example {'backbone.*': 0.1}"


def test_a_pattern_that_no_parameter_matches() -> None:
    optimizer = cauce.SGD(0.1, lr_factors={"head.*": 1.0, "backbone.*": 0.1})
    with pytest.raises(GraphError, match=r"no parameter matches 'backbone.\*'") as caught:
        cauce.Trainer(image_model(), optimizer=optimizer, backend="numpy")
    assert caught.value.fix == "there are body.weight, body.bias, head.weight, head.bias"


def image_model() -> cauce.Model:
    return net.init(x=("N", 4))


def test_two_patterns_for_one_parameter() -> None:
    optimizer = cauce.SGD(0.1, lr_factors={"*.bias": 1.0, "head.*": 0.1})
    with pytest.raises(GraphError, match=r"match head.bias: '\*.bias' and 'head.\*'"):
        cauce.train_step(make(), "mse_loss", optimizer, backend="numpy")


def test_a_rate_that_a_factor_makes_infinite() -> None:
    x, target = (array.astype(np.float32) for array in data())
    optimizer = cauce.SGD(1e20, lr_factors={"head.*": 1e20})
    step = cauce.train_step(make("f32"), "mse_loss", optimizer, backend="numpy")
    state = step.init()
    before = state.read()
    with pytest.raises(AttributeMistake, match=r"times as much for some, is infinite in f32"):
        step(state, (x, target))
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, before[name])


def test_groups_of_parameters_as_in_pytorch() -> None:
    with pytest.raises(TypeMismatch) as caught:
        cauce.SGD(0.1, param_groups=[{"lr": 0.1}])  # type: ignore[call-arg]
    assert caught.value.fix == "learning rates by name: lr_factors={'backbone.*': 0.1}"
