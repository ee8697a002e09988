"""Sizes in the place of symbols, and types inferred again."""

from __future__ import annotations

import pytest

from cauce.ir import DType, Graph, TensorType, evaluate, parse, verify
from cauce.ir.errors import AttributeMistake, GraphError, ShapeError
from cauce.ir.validation import random_feeds
from cauce.passes.fusion import FuseElementwise
from cauce.passes.shape_inference import InferShapes, Specialize

NETWORK = """\
graph g(%x: f64[N,2,H,W]) -> (f64[N,3,(H + 1)//2,(W + 1)//2], f64[N,2*H*W], f64[]) {
  @w: f64[3,2,3,3] parameter
  %conv1 = conv2d(%x, @w) stride=2 padding=1 : f64[N,3,(H + 1)//2,(W + 1)//2] loc(net.py:2)
  %flat = reshape(%x) shape=[N, 2*H*W] : f64[N,2*H*W]
  %area = dim() size=H*W : i64[]
  %size = cast(%area) to=f64 : f64[]
  %tanh1 = tanh(%conv1) : f64[N,3,(H + 1)//2,(W + 1)//2]
  %exp1 = exp(%tanh1) : f64[N,3,(H + 1)//2,(W + 1)//2]
  return %exp1, %flat, %size
}"""

SPECIALIZED = """\
graph g(%x: f64[N,2,7,W]) -> (f64[N,3,4,(W + 1)//2], f64[N,14*W], f64[]) {
  @w: f64[3,2,3,3] parameter
  %conv1 = conv2d(%x, @w) stride=2 padding=1 : f64[N,3,4,(W + 1)//2] loc(net.py:2)
  %flat = reshape(%x) shape=[N, 14*W] : f64[N,14*W]
  %area = dim() size=7*W : i64[]
  %size = cast(%area) to=f64 : f64[]
  %tanh1 = tanh(%conv1) : f64[N,3,4,(W + 1)//2]
  %exp1 = exp(%tanh1) : f64[N,3,4,(W + 1)//2]
  return %exp1, %flat, %size
}"""


def test_specialize() -> None:
    graph = parse(NETWORK)
    assert Specialize({"H": 7}).run(graph)
    verify(graph)
    assert str(graph) == SPECIALIZED
    assert Specialize({"N": 2, "W": 5}).run(graph)
    assert graph.symbols() == frozenset()
    assert graph.value("exp1").type == TensorType.make("f64", (2, 3, 4, 3))


def test_specialize_nothing() -> None:
    graph = parse(NETWORK)
    assert not Specialize({}).run(graph)
    assert str(graph) == NETWORK


def test_regions_are_copied_not_changed() -> None:
    graph = parse(NETWORK)
    FuseElementwise().run(graph)
    twin = graph.copy()
    before = str(graph)
    Specialize({"N": 3, "H": 7, "W": 5}).run(twin)
    verify(twin)
    assert str(graph) == before
    feeds = random_feeds(twin)
    for name, array in evaluate(graph, feeds).outputs.items():
        assert (evaluate(twin, feeds).outputs[name] == array).all()


def test_mistaken_sizes() -> None:
    graph = parse(NETWORK)
    with pytest.raises(GraphError, match="g has no dimension called K, L"):
        Specialize({"K": 1, "H": 2, "L": 1}).run(graph)
    with pytest.raises(AttributeMistake, match=r"at least 1, got {'H': 0}"):
        Specialize({"H": 0}).run(graph)
    assert str(graph) == NETWORK


def test_sizes_that_do_not_fit_are_told_where() -> None:
    graph = parse("""
        graph g(%x: f64[N,1,H,5]) -> f64[N,1,H - 3,2] {
          @w: f64[1,1,4,4] parameter
          %conv1 = conv2d(%x, @w) : f64[N,1,H - 3,2] loc(net.py:2)
          return %conv1
        }""")
    with pytest.raises(ShapeError, match="larger than the padded input") as caught:
        Specialize({"H": 3}).run(graph)
    assert caught.value.path == "conv1" and str(caught.value.loc) == "net.py:2"


def retype(graph: Graph, name: str, *shape: object) -> None:
    graph.value(name).type = TensorType.make("f64", shape)


def test_infer_shapes() -> None:
    graph = parse(NETWORK)
    FuseElementwise().run(graph)
    assert not InferShapes().run(graph)
    # 3 input channels, which the weight takes too; the flat shape would not fit any more.
    del graph.outputs["flat"]
    graph.erase(graph.value("flat").node)  # type: ignore[arg-type]
    retype(graph, "x", "N", 3, "2*H", "W")
    retype(graph, "w", 4, 3, 3, 3)
    assert InferShapes().run(graph)
    verify(graph)
    assert str(graph.value("exp1").type) == "f64[N,4,H,(W + 1)//2]"
    assert not InferShapes().run(graph)


def test_infer_shapes_finds_what_does_not_fit() -> None:
    graph = parse(NETWORK)
    retype(graph, "x", "N", 3, "H", "W")
    with pytest.raises(ShapeError, match="has 3 channels"):
        InferShapes().run(graph)


def test_infer_shapes_carries_dtypes() -> None:
    graph = parse("""
        graph g(%x: f64[N]) -> f64[N] {
          %y = tanh(%x) : f64[N]
          return %y
        }""")
    graph.inputs[0].type = graph.inputs[0].type.with_dtype(DType.F32)
    assert InferShapes().run(graph)
    assert graph.value("y").type.dtype is DType.F32
