"""Graphs: several results, copies, inlining, the builder."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.ir import (
    Builder,
    Frame,
    Graph,
    Location,
    Node,
    Role,
    TensorType,
    Value,
    evaluate,
    verify,
)
from cauce.ir.errors import GraphError
from cauce.ir.ops.activation import Relu, Tanh
from cauce.ir.ops.elementwise import Mul, Neg
from cauce.ir.ops.linear import Linear

from .test_graph import F32, names, ops

# ---- several results ---------------------------------------------------------------------------


def test_several_results_have_names_types_and_one_node(normalized: tuple[Graph, Node]) -> None:
    graph, node = normalized
    assert [value.name for value in node.results] == [
        "bn",
        *(f"bn~{r}" for r in node.op.results[1:]),
    ]
    assert all(value.node is node and value.path == "bn" for value in node.results)
    with pytest.raises(GraphError, match="batch_norm_train has 3 results, not one"):
        _ = node.result
    results = Builder(graph, path="bn", suffix="again").results(node.op, *node.operands)
    assert [value.name for value in results] == [
        "bn~again",
        "bn~again.mean",
        "bn~again.variance",
    ]


def test_a_node_goes_only_when_none_of_its_results_is_read(normalized: tuple[Graph, Node]) -> None:
    graph, node = normalized
    graph.outputs = {"mean": node.results[1]}
    with pytest.raises(GraphError, match=f"%{node.results[1].name} cannot be erased"):
        graph.erase(node)
    graph.outputs = {}
    graph.erase(node)
    assert names(graph) == ["x", "gamma", "beta"]


def test_several_results_evaluate_and_copy(normalized: tuple[Graph, Node]) -> None:
    graph, node = normalized
    graph.outputs = {value.name: value for value in node.results}
    x = np.random.default_rng(0).standard_normal((4, 2, 3, 3))
    feeds = {"x": x, "gamma": np.ones(2), "beta": np.zeros(2)}
    outputs = evaluate(graph, feeds).outputs
    np.testing.assert_allclose(outputs[node.results[1].name], x.mean((0, 2, 3)))
    again = evaluate(graph.copy(), feeds).outputs
    for name, array in outputs.items():
        np.testing.assert_array_equal(again[name], array)


# ---- copies and inlining -----------------------------------------------------------------------


def test_copy_is_the_same_and_shares_nothing_that_changes(small: Graph) -> None:
    twin = small.copy()
    verify(twin)
    assert str(twin) == str(small) and twin.same_as(small)
    assert not set(small.values) & set(twin.values)
    assert not set(small.nodes) & set(twin.nodes)
    twin.rename(twin.value("act"), "other")
    twin.updates.clear()
    assert "act" in names(small) and small.updates
    assert twin.unique_name("act") == "act" and small.unique_name("y") == "y~1"
    assert small.copy("renamed").name == "renamed"


def test_same_as_ignores_source_lines_and_nothing_else(small: Graph) -> None:
    twin = small.copy()
    node = next(twin.nodes)
    node.loc = Location((Frame("net.py", 7),))
    assert twin.same_as(small) and str(twin) != str(small)
    twin.rename(twin.value("act"), "other")
    assert not twin.same_as(small)


def test_inline_gives_new_names_and_keeps_places(small: Graph) -> None:
    outer = Graph("outer")
    image = outer.add_input("image", F32)
    w = outer.add_input("w", TensorType.make("f32", (3, 3)), Role.PARAMETER)
    act = outer.add_node(Relu(), (image,), path="act").result
    last = outer.add_node(Tanh(), (act,), path="last")
    mapping: dict[Value, Value] = {small.inputs[0]: act, small.inputs[1]: w}
    outer.inline(small, mapping, before=last)
    inlined = mapping[small.outputs["y"]]
    last.operands = (inlined,)
    outer.outputs = {"y": last.result}
    verify(outer)
    assert names(outer) == ["image", "w", "act", "fc", "act~1", "y", "fc~new", "last"]
    assert ops(outer)[-1] == "tanh"
    assert all(not value.users or value in outer.inputs for value in outer.inputs)

    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype("f4") for shape in ((2, 3), (3, 3)))
    hidden = np.maximum(x, 0)
    expected = np.tanh(evaluate(small, {"x": hidden, "fc.weight": weight}).outputs["y"])
    np.testing.assert_allclose(
        evaluate(outer, {"image": x, "w": weight}).outputs["y"], expected, rtol=1e-6
    )


def test_inline_twice_and_with_several_results(normalized: tuple[Graph, Node]) -> None:
    body, node = normalized
    outer = Graph("outer")
    mapping: dict[Value, Value] = {v: outer.add_input(v.name, v.type) for v in body.inputs}
    for _ in range(2):
        outer.inline(body, mapping)
    verify(outer)
    twice = [value.name for value in outer.values][3:]
    assert len(set(twice)) == 6
    assert twice[:3] == [value.name for value in node.results]
    assert all(name.startswith("bn~") for name in twice[3:])


def test_inline_with_names_kept_refuses_taken_ones(small: Graph) -> None:
    outer = Graph("outer")
    mapping: dict[Value, Value] = {v: outer.add_input(v.name, v.type) for v in small.inputs}
    outer.add_node(Relu(), (outer.inputs[0],), path="act")
    with pytest.raises(GraphError, match="'act' already"):
        outer.inline(small, mapping, keep_names=True)


def test_builder_places_names_and_locates() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    loc = Location((Frame("net.py", 3), Frame("blocks.py", 14)))
    first = Builder(graph, path="stage.conv", loc=loc)(Relu(), x)
    last = Builder(graph)(Neg(), first)
    assert first.node is not None and last.node is not None
    b = Builder.like(first.node, before=last.node, suffix="scaled")
    scaled = b(Mul(), first, first)
    assert scaled.name == "stage.conv~scaled" and scaled.loc is loc
    with b.at(last.node, suffix="grad"):
        inner = b(Tanh(), first)
    assert inner.name == "neg~grad" and inner.loc is None
    assert b(Tanh(), first).name == "stage.conv~scaled1"
    assert ops(graph) == ["relu", "mul", "tanh", "tanh", "neg"]


def test_builder_leaves_out_trailing_operands_only() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    w = graph.add_input("w", TensorType.make("f32", (2, 3)))
    b = Builder(graph)
    assert str(b(Linear(), x, w, None).type) == "f32[N,2]"
    with pytest.raises(GraphError, match="only trailing operands"):
        b(Linear(), x, None, w)
