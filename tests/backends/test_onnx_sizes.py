"""Sizes that exported models compute when they run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.backends.onnx import export
from cauce.ir import Builder, Dim, Frame, Graph, Location, TensorType, symbol
from cauce.ir.dims import substitute
from cauce.ir.errors import ExportFailure
from cauce.ir.ops.constant import DimSize
from cauce.ir.ops.shape import Reshape
from tests.backends.onnx_models import run

LINE = Location((Frame("net.py", 14),))

ATOMS = st.sampled_from([symbol("N"), symbol("H"), symbol("W")]) | st.integers(1, 5)
DIMS: st.SearchStrategy[Dim] = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: a - b, inner, inner),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, b: a // b, inner, st.integers(1, 4)),
        st.builds(lambda a, b: a // b, inner, st.just(symbol("N") + 1)),
    ),
    max_leaves=6,
)


@given(DIMS)
def test_a_dimension_as_a_value(dim: Dim) -> None:
    """Floor division of what may be negative included; H is learnt from 2*H + 3."""
    graph = Graph("sizes")
    graph.add_input("x", TensorType.make("f32", ("N", "2*H + 3", "W + N")))
    graph.add_input("y", TensorType.make("f32", ("W",)))
    graph.outputs = {"size": Builder(graph)(DimSize(dim))}
    model = export(graph)
    for sizes in ({"N": 2, "H": 5, "W": 3}, {"N": 7, "H": 1, "W": 4}):
        shape = [substitute(d, sizes) for d in graph.inputs[0].type.shape]
        feeds = {"x": np.zeros(shape, np.float32), "y": np.zeros(sizes["W"], np.float32)}
        assert run(model, feeds)["size"] == substitute(dim, sizes)


def test_a_symbol_that_no_input_tells_is_refused() -> None:
    graph = Graph("sizes")
    graph.add_input("x", TensorType.make("f32", ("N*H",)))
    graph.outputs = {"size": Builder(graph, path="head.size", loc=LINE)(DimSize(symbol("N")))}
    with pytest.raises(ExportFailure, match="no input of sizes tells the size of dimension N") as e:
        export(graph)
    assert "head.size" in str(e.value) and "net.py:14" in str(e.value)


def test_a_reshape_of_nothing() -> None:
    """In a reshape 0 would copy a size, were it not told to mean itself."""
    graph = Graph("empty")
    x = graph.add_input("x", TensorType.make("f32", ("N", 0, 4)))
    graph.outputs = {"y": Builder(graph)(Reshape((2, 0, symbol("N"))), x)}
    got = run(export(graph), {"x": np.zeros((3, 0, 4), np.float32)})
    assert got["y"].shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("N", 2, 3), ("N", 6)),
        (("N", "H", 3), ("N", "3*H")),
        (("N", "H", "W"), ("N", "H*W")),
        (("N", "H", "W"), ("N*H", "W")),
        (("N", "H", "W"), ("W", "N*H")),
        (("N", "H", "W"), ("N", 1, "H*W")),
        (("N", "H", 4), ("N*H", 4)),
        (("N", "H", 4), ("N*H", 2, 2)),
        (("N", 4, "H"), (4, "H", "N")),
        (("N", "H", "W"), ("N*H*W",)),
    ],
)
def test_a_reshape_where_a_symbol_is_zero(before: tuple[object], after: tuple[object]) -> None:
    """A copied size of 0 leaves -1 without a meaning; a computed one must not be copied."""
    graph = Graph("sizes")
    x = graph.add_input("x", TensorType.make("f32", before))
    wanted = TensorType.make("f32", after).shape
    graph.outputs = {"y": Builder(graph)(Reshape(wanted), x)}
    model = export(graph)
    for sizes in ({"N": 0}, {"H": 0}, {"W": 0}, {"N": 0, "H": 0}, {}):
        full = {"N": 2, "H": 3, "W": 5, **sizes}
        shape = [substitute(dim, full) for dim in x.type.shape]
        feed = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
        got = run(model, {"x": feed})["y"]
        np.testing.assert_array_equal(got, feed.reshape([substitute(dim, full) for dim in wanted]))
