"""Optimiser updates: several steps against plain loops over numbers, closed forms, mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cauce.ir import Array, Op, TensorType
from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch
from cauce.ir.ops.update import AdamUpdate, SGDMomentumUpdate, SGDUpdate

from .evaluation import graph_on, run, run_graph, run_primitives

Execution = Callable[..., list[Array]]
both = pytest.mark.parametrize("execute", [run, run_primitives])
STEPS = 6
START = [0.7, -1.2, 0.0, 3.0]


def pull(parameters: Sequence[float], step: int) -> list[float]:
    """A gradient that depends on the parameter and on the step."""
    return [math.sin(3 * p + step) - 0.2 * i for i, p in enumerate(parameters)]


def rates(step: int) -> float:
    """A schedule: the learning rate is an operand, so it may change."""
    return 0.1 / step


# ---- SGD ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_sgd(execute: Execution, weight_decay: float) -> None:
    parameter, wanted = np.array(START), list(START)
    for step in range(1, STEPS):
        gradient, lr = np.array(pull(parameter.tolist(), step)), np.array(rates(step))
        (parameter,) = execute(SGDUpdate(weight_decay), parameter, gradient, lr)
        slopes = pull(wanted, step)
        wanted = [p - rates(step) * (g + weight_decay * p) for p, g in zip(wanted, slopes)]
        np.testing.assert_allclose(parameter, wanted, rtol=1e-13)


@both
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum(execute: Execution, nesterov: bool, weight_decay: float) -> None:
    """The loop is PyTorch's: its first step sets the velocity to the gradient."""
    momentum = 0.8
    op = SGDMomentumUpdate(momentum, nesterov, weight_decay)
    parameter, velocity = np.array(START), np.zeros(4)
    wanted, buffers = list(START), [math.nan] * 4
    for step in range(1, STEPS):
        gradient, lr = np.array(pull(parameter.tolist(), step)), np.array(rates(step))
        parameter, velocity = execute(op, parameter, gradient, velocity, lr)
        for i, g in enumerate(pull(wanted, step)):
            g += weight_decay * wanted[i]
            buffers[i] = g if step == 1 else momentum * buffers[i] + g
            g = g + momentum * buffers[i] if nesterov else buffers[i]
            wanted[i] -= rates(step) * g
        np.testing.assert_allclose(parameter, wanted, rtol=1e-13)
        np.testing.assert_allclose(velocity, buffers, rtol=1e-13)


@both
def test_the_velocity_of_a_constant_gradient_is_a_geometric_sum(execute: Execution) -> None:
    parameter, velocity, lr = np.zeros(1), np.zeros(1), np.array(1.0)
    for _ in range(20):
        op = SGDMomentumUpdate(0.5)
        parameter, velocity = execute(op, parameter, np.array([3.0]), velocity, lr)
    assert velocity[0] == pytest.approx(6 * (1 - 0.5**20), rel=1e-14)
    assert parameter[0] == pytest.approx(-6 * (20 - (1 - 0.5**20)), rel=1e-14)


def test_momentum_zero_is_plain_sgd() -> None:
    parameter, gradient, lr = np.array(START), np.array(pull(START, 1)), np.array(0.3)
    (plain,) = run(SGDUpdate(0.01), parameter, gradient, lr)
    op = SGDMomentumUpdate(0.0, weight_decay=0.01)
    heavy, _ = run(op, parameter, gradient, np.ones(4), lr)
    np.testing.assert_array_equal(plain, heavy)


# ---- Adam --------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(execute: Execution, decoupled: bool, weight_decay: float) -> None:
    """The loop has PyTorch's order: step size and denominator corrected apart."""
    beta1, beta2, epsilon = 0.8, 0.95, 1e-3
    op = AdamUpdate(beta1, beta2, epsilon, weight_decay, decoupled)
    parameter, first, second = np.array(START), np.zeros(4), np.zeros(4)
    wanted, m, v = list(START), [0.0] * 4, [0.0] * 4
    for step in range(1, STEPS):
        gradient, lr = np.array(pull(parameter.tolist(), step)), np.array(rates(step))
        parameter, first, second = execute(
            op, parameter, gradient, first, second, np.array(step), lr
        )
        for i, g in enumerate(pull(wanted, step)):
            if decoupled:
                wanted[i] *= 1 - rates(step) * weight_decay
            else:
                g += weight_decay * wanted[i]
            m[i] += (1 - beta1) * (g - m[i])
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            denominator = math.sqrt(v[i]) / math.sqrt(1 - beta2**step) + epsilon
            wanted[i] -= rates(step) / (1 - beta1**step) * m[i] / denominator
        np.testing.assert_allclose(parameter, wanted, rtol=1e-12)
        np.testing.assert_allclose(first, m, rtol=1e-12)
        np.testing.assert_allclose(second, v, rtol=1e-12)


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_step_of_adam_is_the_learning_rate(execute: Execution, dtype: type) -> None:
    """Kingma and Ba 2014, section 2.1: whatever the gradient's scale.

    In float32 this needs the corrections in double: 1 - 0.999 loses four digits.
    """
    gradient = np.array([1e-3, -1.0, 5e2], dtype)
    zeros, lr = np.zeros(3, dtype), np.array(0.01, dtype)
    new, m, v = execute(AdamUpdate(epsilon=0.0), zeros, gradient, zeros, zeros, np.array(1), lr)
    assert new.dtype == m.dtype == v.dtype == dtype
    np.testing.assert_allclose(new, [-0.01, 0.01, -0.01], rtol=4 * np.finfo(dtype).eps)


@both
def test_a_zero_gradient_moves_nothing_but_the_decay(execute: Execution) -> None:
    parameter, zeros = np.array(START), np.zeros(4)
    operands = (parameter, zeros, zeros, zeros, np.array(1), np.array(0.5))
    new, _, _ = execute(AdamUpdate(), *operands)
    np.testing.assert_array_equal(new, parameter)
    new, _, _ = execute(AdamUpdate(weight_decay=0.1, decoupled=True), *operands)
    np.testing.assert_allclose(new, 0.95 * parameter, rtol=1e-15)


# ---- symbols and mistakes ----------------------------------------------------------------------


def test_symbolic_parameters() -> None:
    slot, scalar = TensorType.make("f64", ("K", 2)), TensorType.make("f64", ())
    step = TensorType.make("i64", ())
    graph = graph_on(AdamUpdate(), [slot, slot, slot, slot, step, scalar])
    assert [str(value.type) for value in graph.outputs.values()] == ["f64[K,2]"] * 3
    operands = [np.full((3, 2), float(i)) for i in range(1, 5)] + [np.array(4), np.array(0.1)]
    for actual, wanted in zip(run_graph(graph, operands), run(AdamUpdate(), *operands)):
        np.testing.assert_array_equal(actual, wanted)


def test_mistakes() -> None:
    three, four, lr, step = np.zeros(3), np.zeros(4), np.array(0.1), np.array(1)
    with pytest.raises(ShapeError, match=r"the parameter is f64\[3\], gradient is f64\[4\]"):
        run(SGDUpdate(), three, four, lr)
    with pytest.raises(ShapeError, match=r"the parameter is f64\[3\], velocity is f64\[4\]"):
        run(SGDMomentumUpdate(0.9), three, three, four, lr)
    with pytest.raises(ShapeError, match=r"the parameter is f64\[3\], second_moment is f64\[4\]"):
        run(AdamUpdate(), three, three, three, four, step, lr)
    with pytest.raises(ShapeError, match=r"lr must be a scalar, got f64\[3\]"):
        run(SGDUpdate(), three, three, three)
    with pytest.raises(TypeMismatch, match=r"f64\[3\] and f32\[\]"):
        run(SGDUpdate(), three, three, lr.astype(np.float32))
    with pytest.raises(TypeMismatch, match=r"step must be i64\[\], got f64\[\]"):
        run(AdamUpdate(), three, three, three, three, lr, lr)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGDUpdate(-0.1), "weight_decay must not be negative, got -0.1"),
        (lambda: SGDMomentumUpdate(-0.9), "momentum must not be negative, got -0.9"),
        (lambda: AdamUpdate(beta1=1.0), r"beta1 must lie in \[0, 1\), got 1.0"),
        (lambda: AdamUpdate(beta2=-0.5), r"beta2 must lie in \[0, 1\), got -0.5"),
        (lambda: AdamUpdate(epsilon=-1.0), "epsilon must not be negative, got -1.0"),
    ],
)
def test_attributes_that_cannot_be(make: Callable[[], Op], message: str) -> None:
    with pytest.raises(AttributeMistake, match=message):
        make()
