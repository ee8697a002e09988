"""Long sums of one number, of which every rounding goes the same way, keep their digits.

The exact sum is the number of terms times the number. What is promised stands in
docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import cauce
from cauce.backends.contract import Program
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.numpy import NumpyProgram
from cauce.ir import Array, Builder, Dim, DType, Graph, TensorType, evaluate, symbol
from cauce.ir.ops.conv import Conv2dBackwardWeight
from cauce.ir.ops.loss import MSELoss
from cauce.ir.ops.normalize import BatchNormTrain, BatchNormTrainBackward
from cauce.ir.ops.reduce import Mean, Sum, Variance

TERM = np.float32(0.1)
LENGTH = 2**21
TOLERANCE = 5e-6

Run = Callable[[Graph, dict[str, Array]], list[Array]]


def by(program: Callable[[Graph], Program]) -> Run:
    return lambda graph, feeds: list(Executable(program(graph)).run(feeds).values())


RUNS: dict[str, Run] = {
    "reference": lambda graph, feeds: list(evaluate(graph, feeds).outputs.values()),
    "numpy": by(NumpyProgram),
    "llvm": by(compile_program),
}
every_run = pytest.mark.parametrize("run", RUNS)


def assert_near(found: Array, wanted: float, tolerance: float = TOLERANCE) -> None:
    error = np.max(np.abs(found.astype(np.float64) / wanted - 1))
    assert error <= tolerance, f"wrong by {error:.1e}"


def typed(array: Array, names: str) -> TensorType:
    """The type of an array, its sizes those symbols that are no dash."""
    dims: list[Dim] = [
        size if name == "-" else symbol(name) for name, size in zip(names, array.shape)
    ]
    return TensorType(DType.of(array.dtype), tuple(dims))


@every_run
@pytest.mark.parametrize("names", ["--", "N-", "-C", "NC"])
@pytest.mark.parametrize("shape", [(1, LENGTH), (LENGTH, 1), (3, LENGTH), (LENGTH, 3)])
@pytest.mark.parametrize("op", [Sum, Mean])
def test_rows_and_columns(
    op: type[Sum] | type[Mean], shape: tuple[int, ...], names: str, run: str
) -> None:
    x = np.full(shape, TERM)
    graph = Graph("g")
    axis = shape.index(LENGTH)
    graph.outputs = {"y": Builder(graph)(op((axis,)), graph.add_input("x", typed(x, names)))}
    (found,) = RUNS[run](graph, {"x": x})
    assert_near(found, float(TERM) * (LENGTH if op is Sum else 1))


@every_run
@pytest.mark.parametrize("names", ["----", "N---", "NCHW"])
@pytest.mark.parametrize("axes", [(2, 3), (0, 2, 3), (0,), (1,)])
def test_images(axes: tuple[int, ...], names: str, run: str) -> None:
    shape = tuple(1024 if axis in axes[-2:] else 2 for axis in range(4))
    shape = shape if len(axes) > 1 else tuple(2**20 if axis in axes else 2 for axis in range(4))
    x = np.full(shape, TERM)
    graph = Graph("g")
    b = Builder(graph)
    value = graph.add_input("x", typed(x, names))
    graph.outputs = {"mean": b(Mean(axes), value), "variance": b(Variance(axes), value)}
    mean, variance = RUNS[run](graph, {"x": x})
    assert_near(mean, float(TERM))
    assert variance.max() <= (TOLERANCE * float(TERM)) ** 2


@every_run
def test_statistics_of_a_batch(run: str) -> None:
    """Of channels-last and of planar images, an odd number of pixels."""
    x = np.empty((5, 3, 401, 403), np.float32)
    x[:, :, ::2] = TERM
    x[:, :, 1::2] = 0
    share = 201 / 401
    graph = Graph("g")
    b = Builder(graph)
    value = graph.add_input("x", typed(x, "N---"))
    ones = graph.add_input("ones", TensorType.make("f32", (3,)))
    _, mean, variance = b.results(BatchNormTrain(), value, ones, ones)
    _, dgamma, dbeta = b.results(BatchNormTrainBackward(0.0), value, ones, mean, variance, value)
    names = {"mean": mean, "variance": variance, "dgamma": dgamma, "dbeta": dbeta}
    graph.outputs = names
    found = RUNS[run](graph, {"x": x, "ones": np.ones(3, np.float32)})
    count, spread = 5 * 401 * 403, float(TERM) * (share * (1 - share)) ** 0.5
    wanted = (float(TERM) * share, spread**2, count * spread, count * share * float(TERM))
    for array, exact in zip(found, wanted):
        assert_near(array, exact, 1e-5)


@every_run
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses(reduction: str, run: str) -> None:
    x = np.full((LENGTH, 2), np.sqrt(TERM), np.float32)
    graph = Graph("g")
    values = [graph.add_input(name, typed(x, "NM")) for name in "xt"]
    graph.outputs = {"loss": Builder(graph)(MSELoss(reduction), *values)}
    (found,) = RUNS[run](graph, {"x": x, "t": np.zeros_like(x)})
    each = float(x[0, 0]) ** 2
    assert_near(found, each * (x.size if reduction == "sum" else 1))


@pytest.mark.parametrize("inner", ["K", LENGTH // 2])
@pytest.mark.parametrize("shape", [(1, 1), (4, 8)])
def test_products(shape: tuple[int, int], inner: str | int) -> None:
    """In native code; those of the NumPy backend are BLAS's."""
    rows, columns = shape
    text = (
        f"graph g(%x: f32[{rows},{inner}], %y: f32[{inner},{columns}]) -> f32[{rows},{columns}] {{"
        f"\n  %z = matmul(%x, %y) : f32[{rows},{columns}]\n  return %z\n}}"
    )
    x, y = np.full((rows, LENGTH // 2), TERM), np.ones((LENGTH // 2, columns), np.float32)
    (found,) = RUNS["llvm"](cauce.parse(text), {"x": x, "y": y})
    assert_near(found, float(TERM) * (LENGTH // 2), 3e-5)


@pytest.mark.parametrize("run", ["numpy", "llvm"])
@pytest.mark.parametrize("names", ["----", "N---", "N-HW"])
def test_gradients_of_weights(names: str, run: str) -> None:
    x, dy = np.full((2, 3, 700, 701), TERM), np.ones((2, 4, 700, 701), np.float32)
    graph = Graph("g")
    values = [
        graph.add_input("x", typed(x, names)),
        graph.add_input("dy", typed(dy, names)),
    ]
    graph.outputs = {"dw": Builder(graph)(Conv2dBackwardWeight(kernel=(1, 1)), *values)}
    (found,) = RUNS[run](graph, {"x": x, "dy": dy})
    assert_near(found, float(TERM) * 2 * 700 * 701, 3e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_reference_adds_one_more_to_many(dtype: str) -> None:
    """From 2048 and 2**24 on, 1 is lost beside the sum if it is added in the same dtype."""
    count = {"float16": 4096, "float32": 2**24 + 2}[dtype]
    x = np.ones((count, 1), dtype)
    assert Sum((0,)).reference(x) == count


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_pieces_make_no_nan_of_infinity(bad: float) -> None:
    text = """
        graph g(%x: f32[2,K], %y: f32[K,3]) -> f32[2,3] {
          %z = matmul(%x, %y) : f32[2,3]
          return %z
        }"""
    x = np.ones((2, 5000), np.float32)
    x[0, 100] = bad
    (found,) = RUNS["llvm"](cauce.parse(text), {"x": x, "y": np.ones((5000, 3), np.float32)})
    np.testing.assert_array_equal(found, [[bad] * 3, [5000] * 3])


@pytest.mark.parametrize("names", ["NC", "-C"])
def test_the_bits_do_not_depend_on_threads(names: str) -> None:
    x = np.random.default_rng(0).standard_normal((50_001, 5), np.float32)
    graph = Graph("g")
    value = graph.add_input("x", typed(x, names))
    graph.outputs = {"y": Builder(graph)(Sum((0,)), value)}
    results = [
        Executable(compile_program(graph, threads=threads)).run({"x": x})["y"]
        for threads in (1, 2, 3)
    ]
    assert all(result.tobytes() == results[0].tobytes() for result in results)
