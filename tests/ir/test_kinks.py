"""Gradients at ties, kinks and other places that finite differences must keep away from.

The conventions are PyTorch's, and are listed in docs/semantics.md.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import cauce
from cauce.ir import Array, Builder, Graph, Op, TensorType, evaluate
from cauce.ir.dims import sizes
from cauce.ir.ops.activation import Clip, LeakyRelu, LogSoftmax, Relu, Sigmoid, Softmax
from cauce.ir.ops.elementwise import Abs, Maximum, Minimum, Mul, Pow, Sign, Sqrt
from cauce.ir.ops.reduce import ArgMax, Max, Sum
from cauce.passes.autodiff import gradients

INF = math.inf


def gradient(op: Op, *operands: object, dy: object = 1.0) -> list[list[float]]:
    """The gradient of sum(dy * op(...)) by every operand."""
    graph = Graph()
    arrays = [np.asarray(operand, np.float64) for operand in operands]
    inputs = [graph.add_input(f"x{i}", TensorType.of(a)) for i, a in enumerate(arrays)]
    result = Builder(graph)(op, *inputs)
    weights = graph.add_input("dy", result.type)
    loss = Builder(graph)(Sum(), Builder(graph)(Mul(), result, weights))
    grads = gradients(graph, loss, inputs)
    graph.outputs = {f"g{i}": grad for i, grad in enumerate(grads) if grad is not None}
    feeds = {f"x{i}": a for i, a in enumerate(arrays)}
    feeds["dy"] = np.broadcast_to(np.asarray(dy, np.float64), sizes(result.type.shape))
    return [array.tolist() for array in evaluate(graph, feeds).outputs.values()]


def value(op: Op, *operands: object, dtype: type = np.float64) -> Array:
    graph = Graph()
    arrays = [np.asarray(operand, dtype) for operand in operands]
    inputs = [graph.add_input(f"x{i}", TensorType.of(a)) for i, a in enumerate(arrays)]
    graph.outputs = {"y": Builder(graph)(op, *inputs)}
    return evaluate(graph, {f"x{i}": a for i, a in enumerate(arrays)}).outputs["y"]


@pytest.mark.parametrize(
    ("op", "x", "dx"),
    [
        (Relu(), [-1.0, 0.0, -0.0, 1.0], [0.0, 0.0, 0.0, 1.0]),
        (LeakyRelu(0.25), [-1.0, 0.0, 1.0], [0.25, 0.25, 1.0]),
        (Abs(), [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]),
        (Clip(-1.0, 1.0), [-1.5, -1.0, 0.0, 1.0, 1.5], [0.0, 1.0, 1.0, 1.0, 0.0]),
        (Clip(None, 0.0), [-1.0, 0.0, 1.0], [1.0, 1.0, 0.0]),
        # hardtanh's backward: (x <= min or x >= max) ? 0 : dy
        (Clip(0.0, 6.0, open=True), [-1.0, 0.0, 1.0, 6.0, 7.0], [0.0, 0.0, 1.0, 0.0, 0.0]),
        (Clip(0.0, open=True), [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
        (Max(), [3.0, 1.0, 3.0, 2.0], [0.5, 0.0, 0.5, 0.0]),
    ],
)
def test_at_kinks_and_ties(op: Op, x: list[float], dx: list[float]) -> None:
    assert gradient(op, x) == [dx]


@pytest.mark.parametrize(
    ("op", "dx"),
    [
        (Relu(), 1.0),
        (LeakyRelu(0.25), 0.25),
        (Clip(-1.0, 1.0), 1.0),
        (Clip(0.0, 6.0, open=True), 1.0),
        (Max(), 1 / 3),
        (Abs(), math.nan),
        (Sqrt(), math.nan),
    ],
    ids=str,
)
def test_what_compares_passes_the_gradient_at_nan(op: Op, dx: float) -> None:
    (found,) = gradient(op, [math.nan, math.nan, math.nan])
    np.testing.assert_array_equal(found, [dx] * 3)


@pytest.mark.parametrize("op", [Maximum(), Minimum()])
def test_a_pair_with_nan_shares_the_gradient(op: Op) -> None:
    x, y = [math.nan, 1.0, math.nan], [1.0, math.nan, math.nan]
    assert gradient(op, x, y) == [[0.5] * 3, [0.5] * 3]


def test_relu6_is_pytorchs_at_its_bounds() -> None:
    @cauce.network
    def net(x):  # type: ignore[no-untyped-def]
        return cauce.nn.relu6(x)

    graph = net.init(x=("N", 5), seed=0).graph.copy()
    (x,), (y,) = graph.inputs, graph.outputs.values()
    (dx,) = gradients(graph, Builder(graph)(Sum(), y), [x])
    assert dx is not None
    graph.outputs = {"dx": dx}
    feed = np.array([[-1, 0, 3, 6, 7]], np.float32)
    assert evaluate(graph, {"x": feed}).outputs["dx"].tolist() == [[0, 0, 1, 0, 0]]


def test_the_greatest_of_several_axes_is_shared_within_each_group() -> None:
    x = [[[1.0, 1.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 5.0]]]
    third = 1 / 3
    assert gradient(Max((1, 2)), x, dy=[3.0, 7.0]) == [
        [[[3 * third, 3 * third], [0, 3 * third]], [[0, 0], [0, 7]]]
    ]


@pytest.mark.parametrize("op", [Maximum(), Minimum()])
def test_equal_operands_get_half_each(op: Op) -> None:
    assert gradient(op, [2.0, 0.0], [2.0, -0.0]) == [[0.5, 0.5], [0.5, 0.5]]


def test_maximum_and_minimum_choose() -> None:
    x, y = [1.0, 4.0], [3.0, 2.0]
    assert gradient(Maximum(), x, y) == [[0, 1], [1, 0]]
    assert gradient(Minimum(), x, y) == [[1, 0], [0, 1]]


def test_powers_at_zero() -> None:
    x, y = [0.0, 0.0, 0.0, 2.0], [0.0, 1.0, 2.0, 0.0]
    dx, dy = gradient(Pow(), x, y)
    assert dx == [0.0, 1.0, 0.0, 0.0]
    assert dy == [0.0, 0.0, 0.0, math.log(2)]


def test_powers_of_negative_numbers() -> None:
    dx, dy = gradient(Pow(), [-2.0, -2.0], [2.0, 3.0])
    assert dx == [-4.0, 12.0]
    assert all(map(math.isnan, dy))


def test_sqrt_has_no_slope_at_zero() -> None:
    assert gradient(Sqrt(), [0.0, 4.0]) == [[INF, 0.25]]


def test_nan_and_infinity_pass_through() -> None:
    nan = math.nan
    np.testing.assert_array_equal(value(Relu(), [nan, INF, -INF]), [nan, INF, 0])
    np.testing.assert_array_equal(value(Maximum(), [nan, 1.0], [1.0, nan]), [nan, nan])
    np.testing.assert_array_equal(value(Sign(), [-INF, -0.0, nan]), [-1, 0, nan])
    np.testing.assert_array_equal(value(Clip(0.0, 1.0), [nan, INF, -INF]), [nan, 1, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_sigmoid_and_softmax_do_not_overflow(dtype: type) -> None:
    great = float(np.finfo(dtype).max)
    np.testing.assert_array_equal(value(Sigmoid(), [-great, 0, great], dtype=dtype), [0, 0.5, 1])
    np.testing.assert_array_equal(value(Softmax(), [great, 0, great], dtype=dtype), [0.5, 0, 0.5])
    y = value(LogSoftmax(), [great, 0], dtype=dtype)
    np.testing.assert_array_equal(y, [0, -great])
    assert y.dtype == dtype


def test_sigmoid_is_symmetric_and_keeps_small_values() -> None:
    y = value(Sigmoid(), [-700.0, -30.0])
    np.testing.assert_allclose(y, np.exp([-700.0, -30.0]), rtol=1e-12)


def test_argmax_takes_the_first_of_equals() -> None:
    assert value(ArgMax(), [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]).tolist() == [1, 0]
