"""Native code of indices and of the greatest elements: ties, NaN, sizes, numbers of threads."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.ir import Array, Builder, DType, Graph, Op, TensorType, evaluate, symbol
from cauce.ir.errors import ShapeError
from cauce.ir.ops.indexing import REDUCTIONS, GatherElements, ScatterElements, TopK

from .both import both

RNG = np.random.default_rng(5)
# Many elements are equal, or are compared in a way of their own.
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -1.5, 2.0])
WHOLE = (DType.I8, DType.U8, DType.I32, DType.U64)


def numbers(dtype: DType, *shape: int) -> Array:
    if dtype.is_float:
        return RNG.choice(SPECIAL, shape).astype(dtype.numpy)
    info = np.iinfo(dtype.numpy)
    some = [info.min, info.max, 0, 1, 2, info.max // 2 + 1]
    return np.array(some, dtype.numpy)[RNG.integers(0, len(some), shape)]


@pytest.mark.parametrize("dtype", (DType.F32, DType.F64, *WHOLE), ids=str)
def test_topk_of_ties_and_of_what_is_no_number(dtype: DType) -> None:
    graph = Graph("greatest")
    b = Builder(graph)
    feeds = {}
    for size, k in ((1, 1), (2, 1), (7, 7), (33, 5), (64, 40)):
        feeds[f"x{size}"] = x = numbers(dtype, 3, size, 2)
        value = graph.add_input(f"x{size}", TensorType.of(x))
        for largest in (True, False):
            results = b.results(TopK(k, 1, largest), value)
            names = (f"{part} {k} of {size} {largest}" for part in ("values", "indices"))
            graph.outputs |= dict(zip(names, results))
    for name, (found, wanted) in both(graph, feeds).items():
        np.testing.assert_array_equal(found, wanted, name)


def test_topk_of_sizes_known_at_run_time() -> None:
    graph = Graph("greatest")
    x = graph.add_input("x", TensorType(DType.F32, (2, symbol("N"))))
    values, indices = Builder(graph).results(TopK((symbol("N") + 1) // 2), x)
    graph.outputs = {"values": values, "indices": indices}
    run = Executable(compile_program(graph))
    for size in (1, 2, 5, 64, 129):
        array = RNG.integers(0, 9, (2, size)).astype(np.float32)
        wanted = evaluate(graph, {"x": array}).outputs
        for found, expected in zip(run(array), wanted.values(), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_more_than_there_are_is_refused_at_run_time() -> None:
    graph = Graph("greatest")
    x = graph.add_input("x", TensorType(DType.F32, (2, symbol("N"))))
    graph.outputs = {"y": Builder(graph)(TopK(4), x)}
    with pytest.raises(ShapeError, match="topk: 4 of the 3 elements"):
        Executable(compile_program(graph))(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_updates_of_one_element_come_one_after_the_other(reduction: str) -> None:
    """The same bits for any number of threads, and those of the reference."""
    x, updates = (RNG.uniform(0.5, 2, (40, size)).astype(np.float32) for size in (3, 50))
    indices = RNG.integers(0, 3, (40, 50))
    feeds = {"x": x, "indices": indices, "updates": updates}
    graph = Graph("scatter")
    values = [graph.add_input(name, TensorType.of(array)) for name, array in feeds.items()]
    graph.outputs = {"y": Builder(graph)(ScatterElements(1, reduction), *values)}
    (wanted,) = evaluate(graph, feeds).outputs.values()
    for threads in (1, 2):
        found = Executable(compile_program(graph, threads=threads))(**feeds)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("op", [GatherElements(0), ScatterElements(0)], ids=lambda op: op.name)
def test_indices_beyond_another_axis_are_refused_at_run_time(op: Op) -> None:
    graph = Graph("beyond")
    operands = [
        graph.add_input("x", TensorType(DType.F32, (3, symbol("A")))),
        graph.add_input("indices", TensorType(DType.I64, (2, symbol("B")))),
        graph.add_input("updates", TensorType(DType.F32, (2, symbol("B")))),
    ][: len(op.operands)]
    graph.outputs = {"y": Builder(graph)(op, *operands)}
    if len(operands) == 2:
        graph.remove_input(graph.inputs[2])
    feeds = {
        "x": np.zeros((3, 4), np.float32),
        "indices": np.zeros((2, 5), np.int64),
        "updates": np.zeros((2, 5), np.float32),
    }
    run = Executable(compile_program(graph))
    with pytest.raises(ShapeError, match="reach beyond"):
        run(**{value.name: feeds[value.name] for value in graph.inputs})
