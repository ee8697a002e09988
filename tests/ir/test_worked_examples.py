"""The worked examples of the course notes that cauce implements, by name; see docs/semantics.md.

Each runs by the plain reference and on every backend, in f64 and f32: all numbers are exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import cauce
from cauce.ir import Array, Builder, Graph, Op, TensorType, evaluate
from cauce.ir.ops.adaptive_pool import AdaptiveAvgPool2d
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight
from cauce.ir.ops.pool import AvgPool2d, MaxPool2d
from cauce.ir.ops.random import Dropout

INPUT = [[1, 2, 1, 0], [2, 3, 1, 1], [3, 0, 0, 2], [1, 1, 2, 3]]
FILTER = [[1, 0], [2, 1]]

Apply = Callable[..., Array]


def graph_of(op: Op, operands: tuple[Array, ...]) -> tuple[Graph, dict[str, Array]]:
    graph = Graph("example")
    feeds = {f"x{i}": operand for i, operand in enumerate(operands)}
    inputs = [graph.add_input(name, TensorType.of(array)) for name, array in feeds.items()]
    graph.outputs = {"y": Builder(graph)(op, *inputs)}
    return graph, feeds


def by_reference(op: Op, *operands: Array) -> Array:
    graph, feeds = graph_of(op, operands)
    return evaluate(graph, feeds).outputs["y"]


def by_numpy(op: Op, *operands: Array) -> Array:
    graph, feeds = graph_of(op, operands)
    result = cauce.compile(graph, backend="numpy")(**feeds)
    assert isinstance(result, np.ndarray)
    return result


@pytest.fixture(params=[by_reference, by_numpy], ids=["reference", "numpy"])
def engine(request: pytest.FixtureRequest) -> Apply:
    chosen: Apply = request.param
    return chosen


@pytest.fixture(params=["f64", "f32"])
def apply(request: pytest.FixtureRequest, engine: Apply) -> Callable[..., list[object]]:
    """Runs an op over matrices, as images of one channel, and gives the one matrix that results."""
    dtype = {"f64": np.float64, "f32": np.float32}[request.param]

    def run(op: Op, *matrices: list[list[float]]) -> list[object]:
        y = engine(op, *(np.array(matrix, dtype)[None, None] for matrix in matrices))
        assert y.dtype == dtype and y.shape[:2] == (1, 1)
        return y[0, 0].tolist()

    return run


def test_convolution(apply: Callable[..., list[object]]) -> None:
    assert apply(Conv2d(), INPUT, FILTER) == [[8, 9, 4], [8, 3, 3], [6, 4, 7]]


def test_convolution_with_padding_1_and_stride_2(apply: Callable[..., list[object]]) -> None:
    op = Conv2d(stride=2, padding=1)
    assert apply(op, INPUT, FILTER) == [[1, 5, 0], [3, 3, 5], [0, 1, 3]]


def test_max_pooling(apply: Callable[..., list[object]]) -> None:
    assert apply(MaxPool2d(2), INPUT) == [[3, 1], [3, 3]]


def test_average_pooling(apply: Callable[..., list[object]]) -> None:
    assert apply(AvgPool2d(2), INPUT) == [[2, 0.75], [1.25, 1.75]]


def test_adaptive_average_pooling_to_3x3(apply: Callable[..., list[object]]) -> None:
    expected = [[2, 1.75, 0.75], [2, 1, 1], [1.25, 0.75, 1.75]]
    assert apply(AdaptiveAvgPool2d(3), INPUT) == expected


def test_dropout_of_the_first_row(apply: Callable[..., list[object]]) -> None:
    draws = [[0.6, 0.8, 0.2, 0.1]]
    assert apply(Dropout(0.5), INPUT[:1], draws) == [[2, 4, 0, 0]]


# ---- slips of the notes, where the correct form counts -----------------------------------------


def test_an_unpadded_convolution_has_h_minus_k_plus_1_rows() -> None:
    for height, kernel in ((4, 2), (7, 3), (5, 5)):
        x, weight = np.ones((1, 1, height, 9)), np.ones((1, 1, kernel, 2))
        assert by_reference(Conv2d(), x, weight).shape == (1, 1, height - kernel + 1, 8)


def test_a_pooling_window_has_k_places() -> None:
    # Were the window k <= K, the 9 beyond it would be seen.
    x = np.array([[1.0, 2, 9, 1, 2, 9]])[None, None]
    assert by_reference(MaxPool2d((1, 2), (1, 3)), x).tolist() == [[[[2, 2]]]]
    assert by_reference(AvgPool2d((1, 2), (1, 3)), x).tolist() == [[[[1.5, 1.5]]]]


def test_dropout_scales_by_1_over_1_minus_p() -> None:
    x = np.full(4, 3.0)
    y = by_reference(Dropout(0.25), x, np.array([0.1, 0.2, 0.3, 0.9]))
    assert y.tolist() == [0, 0, 4, 4]


def test_the_rows_of_an_adaptive_window_end_by_the_height() -> None:
    # Three rows of six columns to 2x2: rows 0..1 and 1..2, columns 0..2 and 3..5.
    x = np.arange(18.0).reshape(1, 1, 3, 6)
    expected = [[4, 7], [10, 13]]
    assert by_reference(AdaptiveAvgPool2d(2), x)[0, 0].tolist() == expected


# ---- the formulas of convolution, written out as sums ------------------------------------------


def convolution_sums(
    x: Array, f: Array, stride: int, pad: int
) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    """O[r,s] = sum over k,l of I[S r + k - P, S s + l - P] F[k,l], and its gradients by dO."""
    height, width = x.shape
    rows = (height - f.shape[0] + 2 * pad) // stride + 1
    columns = (width - f.shape[1] + 2 * pad) // stride + 1
    places = [
        (r, s, k, m, stride * r + k - pad, stride * s + m - pad)
        for r in range(rows)
        for s in range(columns)
        for k in range(f.shape[0])
        for m in range(f.shape[1])
    ]
    inside = [p for p in places if 0 <= p[4] < height and 0 <= p[5] < width]
    y = np.zeros((rows, columns))
    for r, s, k, m, i, j in inside:
        y[r, s] += x[i, j] * f[k, m]

    def gradients(dy: Array) -> tuple[Array, Array]:
        dx, df = np.zeros_like(x), np.zeros_like(f)
        for r, s, k, m, i, j in inside:
            dx[i, j] += dy[r, s] * f[k, m]
            df[k, m] += dy[r, s] * x[i, j]
        return dx, df

    return y, gradients


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pad", [0, 1, 2])
def test_convolution_and_its_gradients_are_the_sums_of_the_notes(
    engine: Apply, stride: int, pad: int
) -> None:
    rng = np.random.default_rng(stride * 10 + pad)
    # Small integers, so that sums in any order are exact.
    x, f = rng.integers(-4, 5, (6, 5)).astype(float), rng.integers(-4, 5, (3, 2)).astype(float)
    y, gradients = convolution_sums(x, f, stride, pad)
    dy = rng.integers(-4, 5, y.shape).astype(float)
    dx, df = gradients(dy)
    geometry = {"stride": stride, "padding": pad}

    def image(matrix: Array) -> Array:
        return matrix[None, None]

    np.testing.assert_array_equal(engine(Conv2d(**geometry), image(x), image(f)), image(y))
    data = Conv2dBackwardData(**geometry, size=x.shape)
    np.testing.assert_array_equal(engine(data, image(dy), image(f)), image(dx))
    weight = Conv2dBackwardWeight(**geometry, kernel=f.shape)
    np.testing.assert_array_equal(engine(weight, image(x), image(dy)), image(df))
