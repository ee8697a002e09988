"""Gradient clipping: the numbers, their limits, and its place in the training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cauce.ir import Array, Builder, DType, Graph, Role, TensorType, evaluate, parse, verify
from cauce.ir.errors import AttributeMistake
from cauce.ir.ops.elementwise import Mul
from cauce.ir.ops.reduce import Sum
from cauce.ir.ops.shape import Concat
from cauce.passes.gradient_clipping import ClipNorm, ClipValue, GradientClipping
from cauce.passes.optimizer_step import add_training_step
from cauce.passes.optimizers import SGD

GRADIENTS = [np.array([[1.0, -2.0, 0.5], [3.0, 0.0, -1.5]]), np.array([4.0, -0.25]), np.array(6.0)]
NORM = math.sqrt(sum(float((g**2).sum()) for g in GRADIENTS))  # 8.28...


def clipped(clip: GradientClipping, arrays: Sequence[Array], *dtypes: DType) -> list[Array]:
    """What becomes of gradients; every array has its own dtype where none are given."""
    graph = Graph()
    types = [TensorType.of(array) for array in arrays]
    if dtypes:
        types = [type_.with_dtype(dtype) for type_, dtype in zip(types, dtypes)]
    inputs = [graph.add_input(f"g{i}", type_) for i, type_ in enumerate(types)]
    results = clip.apply(Builder(graph, path="optimizer", suffix="clip"), inputs)
    assert [value.type for value in results] == types
    graph.outputs = {f"c{i}": value for i, value in enumerate(results)}
    verify(graph)
    feeds = {value.name: value.type.dtype.round(a) for value, a in zip(inputs, arrays)}
    return list(evaluate(graph, feeds).outputs.values())


def test_a_norm_above_the_bound_becomes_the_bound() -> None:
    results = clipped(ClipNorm(2.0), GRADIENTS)
    for result, gradient in zip(results, GRADIENTS, strict=True):
        np.testing.assert_allclose(result, gradient * 2.0 / (NORM + 1e-6), rtol=1e-14)


def test_the_numbers_are_those_of_pytorch() -> None:
    """torch.nn.utils.clip_grad_norm_(parameters, 2.0), torch 2.13 in float64."""
    matrix, vector, number = clipped(ClipNorm(2.0), GRADIENTS)
    row = [0.241538642285206, -0.483077284570412, 0.120769321142603]
    np.testing.assert_allclose(matrix[0], row, rtol=1e-12)
    np.testing.assert_allclose(vector, [0.966154569140824, -0.0603846605713015], rtol=1e-12)
    np.testing.assert_allclose(number, 1.449231853711236, rtol=1e-12)


@pytest.mark.parametrize("bound", [8.5, 1000.0])
def test_a_norm_below_the_bound_leaves_every_bit(bound: float) -> None:
    for result, gradient in zip(clipped(ClipNorm(bound), GRADIENTS), GRADIENTS, strict=True):
        assert np.array_equal(result, gradient)


def test_the_norm_of_small_types_is_taken_in_f32() -> None:
    """300**2 is beyond f16, and the sum of many squares beyond the digits of both."""
    half = clipped(ClipNorm(1.0), [np.full((40, 40), 300.0, np.float16)])
    np.testing.assert_allclose(half[0], np.full((40, 40), 1 / 40), rtol=2e-3)
    brain = clipped(ClipNorm(1.0), [np.full((40, 40), 300.0)], DType.BF16)
    np.testing.assert_allclose(brain[0], np.full((40, 40), 1 / 40), rtol=1e-2)


def test_gradients_of_different_types_share_one_norm() -> None:
    arrays = [np.full(9, 2.0, np.float32), np.full(16, 2.0, np.float64)]
    for result in clipped(ClipNorm(5.0), arrays):
        np.testing.assert_allclose(result, np.ones_like(result), rtol=1e-6)


def test_gradients_of_zero_stay_zero() -> None:
    assert np.array_equal(clipped(ClipNorm(1.0), [np.zeros(3)])[0], np.zeros(3))


def test_nan_does_not_hide() -> None:
    results = clipped(ClipNorm(1.0), [np.array([1.0, np.nan]), np.array([2.0])])
    assert all(np.isnan(result).all() for result in results)
    assert np.isnan(clipped(ClipValue(1.0), [np.array([np.nan])])[0]).all()


def test_values_are_held_within_the_limit() -> None:
    matrix, vector, number = clipped(ClipValue(1.25), GRADIENTS)
    assert matrix.tolist() == [[1.0, -1.25, 0.5], [1.25, 0.0, -1.25]]
    assert vector.tolist() == [1.25, -0.25]
    assert number == 1.25


@pytest.mark.parametrize("make", [ClipNorm, ClipValue])
@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_that_is_no_positive_number_is_refused(
    make: Callable[[float], GradientClipping], bound: float
) -> None:
    with pytest.raises(AttributeMistake, match=f"got {bound}") as caught:
        make(bound)
    assert caught.value.fix


# ---- in the training step ----------------------------------------------------------------------


def training_step(clip: GradientClipping | None) -> Graph:
    """loss = sum(3 w) + sum(4 v): the gradients are 3 and 4 everywhere, their norm is 5."""
    graph = Graph("step")
    w = graph.add_input("w", TensorType(DType.F64, (1,)), Role.PARAMETER)
    v = graph.add_input("v", TensorType(DType.F64, (1,)), Role.PARAMETER)
    x = graph.add_input("x", TensorType(DType.F64, (2,)))
    b = Builder(graph, path="layer")
    graph.outputs["loss"] = b(Sum(), b(Mul(), b(Concat(0), w, v), x))
    add_training_step(graph, "loss", SGD(0.1), clip=clip)
    verify(graph)
    return graph


def updated(graph: Graph) -> list[float]:
    feeds = {"w": np.zeros(1), "v": np.zeros(1), "x": np.array([3.0, 4.0]), "lr": np.array(1.0)}
    updates = evaluate(graph, feeds).updates
    return [float(updates["w"][0]), float(updates["v"][0])]


@pytest.mark.parametrize(
    ("clip", "wanted"),
    [
        (None, [-3.0, -4.0]),
        (ClipNorm(1.0), [-0.6, -0.8]),
        (ClipNorm(10.0), [-3.0, -4.0]),
        (ClipValue(3.5), [-3.0, -3.5]),
    ],
)
def test_the_update_takes_the_clipped_gradients(
    clip: GradientClipping | None, wanted: list[float]
) -> None:
    np.testing.assert_allclose(updated(training_step(clip)), wanted, rtol=1e-6)


def test_a_step_that_clips_keeps_its_names_and_its_text() -> None:
    graph = training_step(ClipNorm(1.0))
    again = parse(graph.to_text(), graph.constants())
    assert again.to_text() == graph.to_text()
    assert {node.path for node in graph.nodes} == {"layer", "optimizer", "w", "v"}
