"""Batch normalisation: the formula by hand, ONNX Runtime, gradients to second order, mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir import Array, TensorType
from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch
from cauce.ir.ops.normalize import BatchNorm, BatchNormTrain, BatchNormTrainBackward

from .evaluation import add_gradients, graph_on, run, run_gradients, run_graph, run_primitives

EXECUTIONS: list[Callable[..., list[Array]]] = [run, run_primitives]
both = pytest.mark.parametrize("execute", EXECUTIONS)
SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every test."""
    return np.random.default_rng(15)


def channel_statistics(x: Array) -> tuple[list[float], list[float]]:
    """Mean and biased variance of every channel, each sum exact to the last bit."""
    means, variances = [], []
    for c in range(x.shape[1]):
        values = [float(value) for value in np.take(x, c, axis=1).ravel()]
        mean = math.fsum(values) / len(values)
        means.append(mean)
        variances.append(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return means, variances


def normalised(
    x: Array, gamma: Array, beta: Array, means: list[float], variances: list[float], eps: float
) -> Array:
    """The formula, one element at a time."""
    y = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        c = index[1]
        ratio = (float(x[index]) - means[c]) / math.sqrt(variances[c] + eps)
        y[index] = ratio * gamma[c] + beta[c]
    return y


# ---- values ------------------------------------------------------------------------------------


@both
@given(SHAPES, st.sampled_from([1e-5, 1e-3, 0.5]), st.integers(0, 2**16))
def test_both_modes_are_the_formula(
    execute: Callable[..., list[Array]], shape: tuple[int, ...], epsilon: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    gamma, beta, mean = (rng.standard_normal(shape[1]) for _ in range(3))
    variance = rng.uniform(0.1, 2, shape[1])
    (y,) = execute(BatchNorm(epsilon), x, gamma, beta, mean, variance)
    wanted = normalised(x, gamma, beta, mean.tolist(), variance.tolist(), epsilon)
    np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)
    if x.size == shape[1]:
        return  # one value for each channel has no variance to train on
    y, found_mean, found_variance = execute(BatchNormTrain(epsilon), x, gamma, beta)
    means, variances = channel_statistics(x)
    np.testing.assert_allclose(found_mean, means, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found_variance, variances, rtol=1e-13, atol=1e-30)
    wanted = normalised(x, gamma, beta, means, variances, epsilon)
    np.testing.assert_allclose(y, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)])
def test_one_value_for_each_channel_is_refused_when_it_runs(shape: tuple[int, ...]) -> None:
    """As torch.nn.functional.batch_norm with training=True does; the graph itself may be made."""
    x, channels = np.ones(shape), np.ones(3)
    graph = graph_on(BatchNormTrain(), [TensorType.of(a) for a in (x, channels, channels)])
    with pytest.raises(ShapeError, match="one value for each channel in f64"):
        run_graph(graph, [x, channels, channels])
    run(BatchNorm(), x, *(channels,) * 4)


def test_worked_channel() -> None:
    x = np.array([[1.0], [2], [3], [6]])  # mean 3, squares 4 + 1 + 0 + 9
    y, mean, variance = run(BatchNormTrain(0.0), x, np.array([2.0]), np.array([1.0]))
    assert (mean.tolist(), variance.tolist()) == ([3], [3.5])
    np.testing.assert_allclose(y[:, 0], 1 + 2 * np.array([-2, -1, 0, 3]) / 3.5**0.5, rtol=1e-15)


@both
def test_a_large_mean_costs_no_digits(
    execute: Callable[..., list[Array]], rng: np.random.Generator
) -> None:
    """In float32 E[x**2] - E[x]**2 of numbers around 3000 has no correct digit left."""
    x = (3000 + rng.standard_normal((16, 2, 8, 8))).astype(np.float32)
    one = np.ones(2, np.float32)
    y, mean, variance = execute(BatchNormTrain(), x, one, 0 * one)
    means, variances = channel_statistics(x)
    np.testing.assert_allclose(mean, means, rtol=1e-6)
    np.testing.assert_allclose(variance, variances, rtol=1e-4)
    np.testing.assert_allclose(y, normalised(x, one, 0 * one, means, variances, 1e-5), atol=1e-3)
    naive = (x * x).mean(axis=(0, 2, 3)) - x.mean(axis=(0, 2, 3)) ** 2
    assert np.abs(naive / variances - 1).max() > 0.05


def test_a_constant_channel_gives_beta() -> None:
    x = np.full((4, 1, 3), 7.0)
    y, mean, variance = run(BatchNormTrain(), x, np.array([5.0]), np.array([0.25]))
    assert (mean.tolist(), variance.tolist()) == ([7], [0])
    assert (y == 0.25).all()


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_batch_norm_is_onnx_batch_normalization(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    f32 = onnx.TensorProto.FLOAT
    names = ["x", "gamma", "beta", "mean", "variance"]
    node = onnx.helper.make_node("BatchNormalization", names, ["y"], epsilon=1e-3)
    arrays = [rng.standard_normal(shape)] + [rng.uniform(0.5, 2, 3) for _ in names[1:]]
    operands = [array.astype(np.float32) for array in arrays]
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [onnx.helper.make_tensor_value_info(n, f32, a.shape) for n, a in zip(names, operands)],
        [onnx.helper.make_tensor_value_info("y", f32, shape)],
    )
    opset = [onnx.helper.make_opsetid("", 15)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (wanted,) = session.run(None, dict(zip(names, operands)))
    np.testing.assert_allclose(run(BatchNorm(1e-3), *operands)[0], wanted, rtol=1e-5, atol=1e-5)


# ---- gradients ---------------------------------------------------------------------------------


def directional(
    function: Callable[..., float], operands: list[Array], place: int, direction: Array
) -> float:
    """The slope of ``function`` along ``direction`` of one operand, to fourth order."""

    def at(step: float) -> float:
        moved = list(operands)
        moved[place] = moved[place] + step * direction
        return function(*moved)

    h = 1e-3
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 3), (3, 2, 2, 3)])
@pytest.mark.parametrize("taken", [p for p in np.ndindex(2, 2, 2) if any(p)])
def test_train_gradient_through_every_subset_of_results(
    shape: tuple[int, ...], taken: tuple[int, ...], rng: np.random.Generator
) -> None:
    op = BatchNormTrain(1e-3)
    operands = [rng.standard_normal(shape), *(rng.standard_normal(shape[1]) for _ in range(2))]
    shapes = (shape, shape[1:2], shape[1:2])
    dys = [rng.standard_normal(s) if take else None for s, take in zip(shapes, taken)]

    def loss(*arrays: Array) -> float:
        results = zip(run(op, *arrays), dys)
        return sum(float((y * dy).sum()) for y, dy in results if dy is not None)

    grads = run_gradients(op, operands, dys)
    assert [grad is not None for grad in grads] == [True, bool(taken[0]), bool(taken[0])]
    for place, grad in enumerate(grads):
        direction = rng.uniform(-1, 1, operands[place].shape)
        numeric = directional(loss, operands, place, direction)
        if grad is None:
            assert numeric == 0
        else:
            parts = grad * direction
            assert abs(parts.sum() - numeric) < 1e-7 * np.abs(parts).sum()


def test_train_gradient_is_orthogonal_to_what_normalising_removes(rng: np.random.Generator) -> None:
    """y does not change when x is shifted, nor (with epsilon = 0) when it is scaled."""
    x = rng.standard_normal((6, 3, 2, 2))
    gamma, beta, dy = rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal(x.shape)
    dx, dgamma, dbeta = run_gradients(BatchNormTrain(0.0), (x, gamma, beta), (dy, None, None))
    assert dx is not None and dgamma is not None and dbeta is not None
    np.testing.assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=1e-13)
    np.testing.assert_allclose((dx * x).sum(axis=(0, 2, 3)), 0, atol=1e-13)
    np.testing.assert_allclose(dbeta, dy.sum(axis=(0, 2, 3)), rtol=1e-13)


def test_backward_is_the_matrix_of_slopes(rng: np.random.Generator) -> None:
    """One channel with dx written from its Jacobian: dy_i/dx_j = g s (1_ij - 1/M - x'_i x'_j/M)."""
    x, dy = rng.standard_normal((7, 1)), rng.standard_normal((7, 1))
    gamma = np.array([1.7])
    mean, variance = x.mean(axis=0), x.var(axis=0)
    s = 1 / np.sqrt(variance + 0.01)
    normal = (x - mean) * s
    jacobian = gamma * s * (np.eye(7) - 1 / 7 - normal @ normal.T / 7)
    results = run(BatchNormTrainBackward(0.01), x, gamma, mean, variance, dy)
    wanted = (jacobian.T @ dy, (dy * normal).sum(axis=0), dy.sum(axis=0))
    for actual, expected in zip(results, wanted):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def test_second_order(rng: np.random.Generator) -> None:
    """The gradient of the gradient of y, statistics included, against finite differences."""
    shape = (4, 2, 3)
    arrays = [rng.standard_normal(shape), rng.standard_normal(2), rng.standard_normal(2)]
    arrays.append(rng.standard_normal(shape))  # dy
    ddx = rng.standard_normal(shape)
    types = [TensorType.of(array) for array in arrays[:3]]

    def slope_of_dx(*operands: Array) -> float:
        graph = graph_on(BatchNormTrain(1e-3), types)
        add_gradients(graph, (True, False, False))
        return float((run_graph(graph, operands)[0] * ddx).sum())

    graph = graph_on(BatchNormTrain(1e-3), types)
    add_gradients(graph, (True, False, False))
    for name in list(graph.outputs)[1:]:
        del graph.outputs[name]
    second = add_gradients(graph, (True,))
    assert [grad is not None for grad in second] == [True, True, False, True]
    found = iter(run_graph(graph, [*arrays, ddx]))
    for place in (0, 1, 3):
        direction = rng.uniform(-1, 1, arrays[place].shape)
        parts = next(found) * direction
        numeric = directional(slope_of_dx, arrays, place, direction)
        assert abs(parts.sum() - numeric) < 1e-7 * np.abs(parts).sum()


# ---- symbols and mistakes ----------------------------------------------------------------------


def test_symbolic_sizes(rng: np.random.Generator) -> None:
    x, channels = TensorType.make("f64", ("N", 3, "H", "W")), TensorType.make("f64", (3,))
    graph = graph_on(BatchNormTrain(), [x, channels, channels])
    assert [str(value.type) for value in graph.outputs.values()] == [
        "f64[N,3,H,W]",
        "f64[3]",
        "f64[3]",
    ]
    add_gradients(graph, (True, True, True))
    assert "dim() size=H*N*W" in str(graph)
    for shape in ((2, 3, 4, 5), (5, 3, 1, 2)):
        operands = [rng.standard_normal(shape), rng.standard_normal(3), rng.standard_normal(3)]
        dys = [rng.standard_normal(s) for s in (shape, (3,), (3,))]
        wanted = run_gradients(BatchNormTrain(), operands, dys)
        for actual, expected in zip(run_graph(graph, [*operands, *dys]), wanted):
            np.testing.assert_array_equal(actual, expected)


def test_mistakes() -> None:
    x, three, four = np.zeros((2, 3, 4, 4)), np.zeros(3), np.zeros(4)
    with pytest.raises(ShapeError, match=r"gamma is f64\[4\], x f64\[2,3,4,4\] has 3 channels"):
        run(BatchNormTrain(), x, four, three)
    with pytest.raises(ShapeError, match=r"batch_norm: variance is f64\[4\]"):
        run(BatchNorm(), x, three, three, three, four)
    with pytest.raises(ShapeError, match=r"2 to 5 dimensions, channels second, got f64\[3\]"):
        run(BatchNorm(), three, three, three, three, three)
    with pytest.raises(ShapeError, match=r"x is f64\[2,3,4,4\], dy is f64\[2,3,4\]"):
        run(BatchNormTrainBackward(), x, three, three, three, x[..., 0])
    with pytest.raises(TypeMismatch, match=r"f64\[2,3,4,4\] and f32\[3\]"):
        run(BatchNormTrain(), x, three.astype(np.float32), three.astype(np.float32))
    with pytest.raises(TypeMismatch, match=r"takes floating-point values, got i64\[2,3,4,4\]"):
        run(BatchNormTrain(), x.astype(np.int64), three, three)
    with pytest.raises(AttributeMistake, match=r"epsilon must not be negative, got -1.0"):
        BatchNorm(-1.0)
