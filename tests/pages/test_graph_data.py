"""Graphs as data: what the page knows of a node, and the stages as differences."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import cauce
from cauce import nn
from cauce.ir import Graph, Op, parse, registry
from cauce.ir.rewrite import Event
from cauce.pages.graph_data import BACKWARD, FORWARD, UPDATE, GraphData, Texts, phases_of
from cauce.pages.stages import Stage, rules_data, stages_data

from ..facets.build import concrete
from ..facets.sample import strategy
from ..facets.test_facets import every_op

GRAPH = """
graph g(%x: f32[N,3,8,8]) -> f32[N,4,6,6] {
  @w: f32[4,3,3,3] parameter
  %c = constant() value=dense(f32[], [2.0]) : f32[]
  %scaled = mul(@w, %c) : f32[4,3,3,3]
  %conv1 = conv2d(%x, %scaled) : f32[N,4,6,6]
  %act = relu(%conv1) : f32[N,4,6,6]
  return y=%act
}"""


@cauce.network
def small(image: Any) -> Any:
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 4, 3, padding=1)))  # the line that is shown
    return nn.linear(nn.global_avg_pool(x), 3)


def records_of(graph: Graph, **sizes: int) -> tuple[dict[str, Any], Texts]:
    texts = Texts()
    return GraphData(texts, sizes).records(graph), texts


def test_a_record_says_what_a_node_is() -> None:
    records, texts = records_of(parse(GRAPH), N=2)
    assert list(records) == ["n:x", "n:w", "n:c", "n:scaled", "n:conv1", "n:act", "o:y"]
    conv = records["n:conv1"]
    assert (conv["op"], conv["path"], conv["in"]) == ("conv2d", "conv1", ["x", "scaled"])
    assert conv["out"] == [["conv1", "f32[N,4,6,6]"]] and conv["family"] == "conv"
    assert conv["flops"] == 2 * 2 * 4 * 36 * 27
    assert "sum over c, r, s" in str(texts.values[conv["formula"]])
    assert "conv2d_backward_data" in str(texts.values[conv["gradient"]])
    attributes = {name: (value, usual) for name, value, usual in texts.values[conv["attributes"]]}
    assert attributes["stride"] == ("1", True)
    assert [name for name, record in records.items() if record["fixed"]] == [
        "n:w",
        "n:c",
        "n:scaled",
    ]
    assert records["o:y"]["in"] == ["act"]


def test_costs_are_unknown_where_sizes_are() -> None:
    records, _ = records_of(parse(GRAPH))
    assert records["n:conv1"]["flops"] is None
    assert records["n:scaled"]["flops"] == 108


def test_the_line_of_the_user_is_there_with_those_around_it() -> None:
    model = small.init(image=("N", 3, 8, 8))
    records, texts = records_of(model.graph)
    ((file, line, around), *_) = texts.values[records["n:conv1"]["source"]]  # type: ignore[misc]
    assert file == "test_graph_data.py"
    assert dict(around)[line].endswith("# the line that is shown")
    assert len(around) > 1


def test_phases_of_a_training_step() -> None:
    step = cauce.train_step(
        small.init(image=("N", 3, 8, 8)), "cross_entropy", cauce.SGD(0.1, momentum=0.9), "numpy"
    )
    phases = phases_of(step.graph)
    by_name = {node.results[0].name: phase for node, phase in phases.items()}
    assert by_name["conv1"] == by_name["linear1"] == FORWARD
    assert {phase for name, phase in by_name.items() if "~grad" in name} == {BACKWARD}
    assert {phase for name, phase in by_name.items() if "~update" in name} == {UPDATE}
    moved = [v.node for t, v in step.graph.updates.items() if "running" in t.name]
    assert moved and {phases[node] for node in moved if node} == {FORWARD}
    assert phases_of(small.init(image=("N", 3, 8, 8)).graph) == {}


def replay(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of each stage, put together as the page does it."""
    found: list[dict[str, Any]] = []
    now: dict[str, Any] = {}
    for stage in stages:
        now = {id_: r for id_, r in now.items() if id_ not in stage["gone"]} | stage["set"]
        found.append(now)
    return found


def test_stages_are_differences_that_add_up() -> None:
    first = parse(GRAPH)
    second = first.copy()
    relu = second.value("act").node
    assert relu is not None
    second.outputs["y"] = second.value("conv1")
    second.erase(relu)
    third = first.copy()
    stages = [Stage(name, graph) for name, graph in (("a", first), ("b", second), ("c", third))]
    made = stages_data(stages, GraphData(Texts(), {}))
    assert made[1]["gone"] == ["n:act"] and list(made[1]["set"]) == ["o:y"]
    for records, graph in zip(replay(made), (first, second, third)):
        assert records == records_of(graph)[0]


def test_rules_are_counted_with_their_equations() -> None:
    events = [
        Event("AddZero", "a", None, "x + 0 = x"),
        Event("AddZero", "a", None, "x + 0 = x"),
        Event("AddZero", "b", "it has other readers", "x + 0 = x"),
        Event("MulOne", "c", None, "x * 1 = x"),
    ]
    first, second = rules_data(events)
    assert first["name"] == "AddZero" and first["equation"] == "x + 0 = x"
    assert first["fired"] == [("a", 2)] and first["refused"] == [("b", "it has other readers")]
    assert second["fired"] == [("c", 1)]


@every_op
@settings(max_examples=2)
@given(data=st.data())
def test_every_op_has_a_record(op: type[Op], data: st.DataObject) -> None:
    graph = concrete(data.draw(strategy(op))).graph()
    records, texts = records_of(graph)
    (record,) = (found for found in records.values() if "formula" in found)
    assert record["op"] == op.name and record["flops"] is not None
    assert texts.values[record["formula"]]
    assert "inner" in record or texts.values[record["gradient"]]


def test_a_formula_is_prose_without_the_lists_of_a_docstring() -> None:
    for op in registry().values():
        text = GraphData(texts := Texts(), {})._formula(op.__new__(op))
        shown = str(texts.values[text])
        assert shown and "``" not in shown and "Attributes:" not in shown and "Args:" not in shown


def test_equal_nodes_share_their_texts() -> None:
    model = cauce.models.resnet20.init(image=("N", 3, 32, 32))
    records, texts = records_of(model.graph, N=1)
    formulas = Counter(r["formula"] for r in records.values() if "formula" in r)
    assert max(formulas.values()) > 15
    assert len(texts.values) < len(records)
