"""Sizes that only a call tells are checked node by node, and what is kept for them is bounded."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.recent import LIMIT
from cauce.ir import evaluate
from cauce.ir.errors import ShapeError


@cauce.network
def shrinking(x):
    return nn.conv2d(nn.conv2d(x, 2, 3), 2, 3)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_an_image_that_is_too_small_names_the_node_and_the_line(backend: str) -> None:
    model = shrinking.init(x=("N", 1, "H", "W"))
    predict = cauce.compile(model, backend=backend)
    assert predict(np.zeros((1, 1, 5, 5), np.float32)).shape == (1, 2, 1, 1)
    with pytest.raises(ShapeError, match="larger than the padded input: 2") as caught:
        predict(np.zeros((1, 1, 4, 5), np.float32))
    assert "in layer: conv2" in str(caught.value) and "test_sizes.py" in str(caught.value)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_the_greatest_of_nothing(backend: str) -> None:
    for function in (nn.softmax, lambda x: x.max(-1), lambda x: x.argmax(-1)):
        model = cauce.network(lambda x, f=function: f(x)).init(x=("N", "H"))
        with pytest.raises(ShapeError, match="over no element"):
            cauce.compile(model, backend=backend)(np.zeros((2, 0), np.float32))


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_an_empty_batch_gives_an_empty_result(backend: str) -> None:
    model = shrinking.init(x=("N", 1, 6, 6))
    result = cauce.compile(model, backend=backend)(np.zeros((0, 1, 6, 6), np.float32))
    assert result.shape == (0, 2, 2, 2)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_a_size_that_no_input_tells(backend: str) -> None:
    graph = cauce.parse(
        "graph g(%x: f32[N*M], %y: f32[M]) -> f32[N,M] {\n"
        "  %z = reshape(%x) shape=[N, M] : f32[N,M]\n  return %z\n}"
    )
    x = np.arange(6, dtype=np.float32)
    told = cauce.compile(graph, backend=backend)
    np.testing.assert_array_equal(told(x, x[:3]), x.reshape(2, 3))
    untold = cauce.parse(str(graph).replace(", %y: f32[M]", ""))
    with pytest.raises(ShapeError, match=r"dimension [NM]"):
        cauce.compile(untold, backend=backend)(x)


def test_what_is_kept_for_sizes_is_bounded() -> None:
    predict = cauce.compile(shrinking.init(x=("N", 1, 6, 6)), backend="numpy")
    for count in range(1, 3 * LIMIT):
        predict(np.zeros((count, 1, 6, 6), np.float32))
    assert len(predict._dims.keys()) == LIMIT


def test_the_evaluator_checks_shapes_too() -> None:
    graph = cauce.parse(
        "graph g(%x: f32[N,H]) -> f32[N,H - 1] {\n"
        "  %y = slice(%x) axes=[1] starts=[1] stops=[H] : f32[N,H - 1]\n  return %y\n}"
    )
    assert evaluate(graph, {"x": np.ones((2, 3), np.float32)}).outputs["y"].shape == (2, 2)
    with pytest.raises(ShapeError):
        evaluate(graph, {"x": np.ones((2, 0), np.float32)})
