"""Graphs: names, users, edits, updates, networkx."""

from __future__ import annotations

import networkx
import pytest

from cauce.ir import (
    Frame,
    Graph,
    Location,
    Role,
    TensorType,
    verify,
)
from cauce.ir.errors import GraphError, ShapeError, TypeMismatch
from cauce.ir.ops.activation import Relu, Sigmoid, Tanh
from cauce.ir.ops.elementwise import Abs, Add, Mul, Neg
from cauce.ir.ops.linear import Linear
from cauce.ir.ops.normalize import BatchNormTrain
from cauce.ir.ops.reduce import Sum
from cauce.ir.ops.shape import Concat

F32 = TensorType.make("f32", ("N", 3))


def names(graph: Graph) -> list[str]:
    return [value.name for value in graph.values]


def ops(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


# ---- names -------------------------------------------------------------------------------------


def test_names_by_path_suffix_and_number() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    for suffix in ("", "", "", "grad", "grad", "grad"):
        graph.add_node(Relu(), (x,), path="net.act", suffix=suffix)
    graph.add_node(Relu(), (x,))
    assert names(graph) == [
        "x",
        "net.act",
        "net.act~1",
        "net.act~2",
        "net.act~grad",
        "net.act~grad1",
        "net.act~grad2",
        "relu",
    ]
    assert {value.path for value in graph.values} == {"x", "net.act", "relu"}


def test_a_number_skips_names_that_are_taken() -> None:
    graph = Graph()
    x = graph.add_input("a~1", F32)
    assert [graph.add_node(Relu(), (x,), path="a").result.name for _ in range(3)] == [
        "a",
        "a~2",
        "a~3",
    ]


def test_a_name_is_free_again_once_its_node_is_erased() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    first, second = (graph.add_node(Relu(), (x,), path="a") for _ in range(2))
    graph.erase(first)
    assert [graph.add_node(Relu(), (x,), path="a").result.name for _ in range(2)] == ["a", "a~2"]
    assert second.result.name == "a~1"


def test_taken_names_are_refused_and_leave_the_graph_whole(small: Graph) -> None:
    before = str(small)
    x = small.inputs[0]
    with pytest.raises(GraphError, match="'x' already"):
        small.add_input("x", F32)
    with pytest.raises(GraphError, match="'act' already"):
        small.add_node(Relu(), (x,), names=("act",))
    with pytest.raises(GraphError, match="'act' already"):
        small.rename(small.value("y"), "act")
    batch = small.add_input("batch", TensorType.make("f32", ("N", 3, 2, 2)))
    vectors = [small.add_input(name, TensorType.make("f32", (3,))) for name in ("g", "b")]
    with pytest.raises(GraphError, match="'fresh' already"):
        small.add_node(BatchNormTrain(), (batch, *vectors), names=("fresh", "fresh", "other"))
    for value in (batch, *vectors):
        small.remove_input(value)
    assert str(small) == before
    verify(small)
    assert small.unique_name("fresh") == "fresh"


def test_operands_that_do_not_fit_leave_the_graph_whole(small: Graph) -> None:
    before = str(small)
    x, w = small.inputs
    loc = Location((Frame("net.py", 3),))
    with pytest.raises(ShapeError) as caught:
        small.add_node(Add(), (x, w), path="stage1.sum", loc=loc)
    assert caught.value.path == "stage1.sum" and caught.value.loc is loc
    with pytest.raises(GraphError, match=r"add takes 2 operands \(x, y\), got 1"):
        small.add_node(Add(), (x,))
    with pytest.raises(GraphError, match="linear takes 2 to 3 operands"):
        small.add_node(Linear(), (x,))
    with pytest.raises(GraphError, match="concat takes 1 or more operands"):
        small.add_node(Concat(0), ())
    assert str(small) == before
    verify(small)


def test_rename(small: Graph) -> None:
    small.rename(small.value("act"), "hidden")
    small.rename(small.inputs[0], "image")
    verify(small)
    assert names(small) == ["image", "fc.weight", "fc", "hidden", "y", "fc~new"]
    assert small.unique_name("act") == "act"


def test_value_by_name_suggests_near_ones(small: Graph) -> None:
    assert small.value("fc~new") is small.updates[small.inputs[1]]
    with pytest.raises(GraphError, match=r"no value called 'fc\.wieght'") as caught:
        small.value("fc.wieght")
    assert "fc.weight" in str(caught.value)


# ---- edits -------------------------------------------------------------------------------------


def test_nodes_stand_where_they_are_put() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    last = graph.add_node(Relu(), (x,))
    graph.add_node(Tanh(), (x,), before=last)
    first = next(graph.nodes)
    graph.add_node(Neg(), (x,), before=first)
    graph.add_node(Sigmoid(), (x,), before=last)
    assert ops(graph) == ["neg", "tanh", "sigmoid", "relu"]
    assert [node.op.name for node in graph.nodes_reversed] == ["relu", "sigmoid", "tanh", "neg"]


@pytest.mark.parametrize("backwards", [False, True])
def test_nodes_may_be_erased_while_walking(backwards: bool) -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    for op in (Relu(), Tanh(), Neg(), Relu()):
        graph.add_node(op, (x,))
    seen = []
    for node in graph.nodes_reversed if backwards else graph.nodes:
        seen.append(node.op.name)
        if isinstance(node.op, Relu):
            graph.erase(node)
    assert sorted(seen) == ["neg", "relu", "relu", "tanh"]
    assert ops(graph) == ["tanh", "neg"]
    assert [node.op.name for node in graph.nodes_reversed] == ["neg", "tanh"]
    verify(graph)


def test_all_nodes_can_go() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    graph.add_node(Neg(), (graph.add_node(Relu(), (x,)).result,))
    for node in graph.nodes_reversed:
        graph.erase(node)
    assert ops(graph) == [] and x.users == []
    graph.add_node(Tanh(), (x,))
    assert ops(graph) == ["tanh"]


@pytest.mark.parametrize(("node", "before"), [(3, 0), (3, 2), (2, 1), (1, 0), (0, 1), (0, 3)])
def test_a_node_moves_before_another(node: int, before: int) -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    nodes = [graph.add_node(op, (x,)) for op in (Relu(), Tanh(), Neg(), Abs())]
    graph.move(nodes[node], nodes[before])
    moved = nodes.pop(node)
    nodes.insert(before - (node < before), moved)
    assert list(graph.nodes) == nodes and list(graph.nodes_reversed) == nodes[::-1]
    graph.add_node(Relu(), (x,))
    assert ops(graph) == [*(own.op.name for own in nodes), "relu"]
    verify(graph)


def test_what_is_read_cannot_be_erased(small: Graph) -> None:
    for name in ("fc", "y", "fc~new"):  # read by a node, an output, an update
        node = small.value(name).node
        assert node is not None
        with pytest.raises(GraphError, match=f"%{name} cannot be erased: it is still used"):
            small.erase(node)


def test_users_count_every_place() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    square = graph.add_node(Mul(), (x, x))
    assert x.users == [square, square]
    y = graph.add_node(Neg(), (x,)).result
    square.operands = (x, y)
    assert x.users.count(square) == 1 and y.users == [square]
    # Order matters: y is defined after square now.
    with pytest.raises(GraphError, match="not defined before"):
        verify(graph)


def test_replace_reaches_nodes_outputs_and_updates(small: Graph) -> None:
    x, w = small.inputs
    act = small.value("act")
    small.replace(act, x)
    last = small.value("y").node
    assert last is not None and last.operands == (x, x)
    assert x.users.count(last) == 2 and act.users == []
    small.replace(small.value("y"), x)
    assert small.outputs == {"y": x}
    small.replace(small.updates[w], w)
    assert small.updates == {w: w}
    for node in small.nodes_reversed:
        small.erase(node)
    verify(small)
    assert x.users == [] and w.users == []


def test_replace_in_an_operand_list_that_reads_a_value_twice() -> None:
    graph = Graph()
    x, z = graph.add_input("x", F32), graph.add_input("z", F32)
    square = graph.add_node(Mul(), (x, x))
    graph.replace(x, z)
    assert square.operands == (z, z) and z.users == [square, square] and x.users == []


def test_remove_input(small: Graph) -> None:
    x, w = small.inputs
    spare = small.add_input("spare", F32)
    small.remove_input(spare)
    assert small.inputs == [x, w]
    with pytest.raises(GraphError, match="input x cannot be removed"):
        small.remove_input(x)
    graph = Graph()
    only = graph.add_input("x", F32)
    graph.outputs = {"y": only}
    with pytest.raises(GraphError, match="still used"):
        graph.remove_input(only)


def test_roles(small: Graph) -> None:
    x, w = small.inputs
    assert small.inputs_with(Role.DATA) == [x]
    assert small.inputs_with(Role.STATE, Role.PARAMETER) == [w]
    assert repr(x) == "<%x: f32[N,3] data>"
    assert repr(w) == "<@fc.weight: f32[3,3] parameter>"
    assert repr(small.value("fc").node) == "<%fc = linear(%x, %fc.weight)>"
    assert repr(small) == "<graph small: 4 nodes>"


# ---- other views -------------------------------------------------------------------------------


def test_to_networkx(small: Graph) -> None:
    view = small.to_networkx()
    assert list(networkx.topological_sort(view))[-1] in ("y", "fc~new")
    assert set(view.edges()) == {
        ("x", "fc"),
        ("fc.weight", "fc"),
        ("fc", "act"),
        ("act", "y"),
        ("x", "y"),
        ("fc.weight", "fc~new"),
    }
    assert [data["operand"] for _, _, data in view.in_edges("fc", data=True)] == [0, 1]
    assert view.nodes["x"] == {"type": F32, "op": None, "role": Role.DATA}
    assert view.nodes["act"]["op"] == Relu() and view.nodes["act"]["role"] is None


def test_to_networkx_keeps_both_edges_of_a_square() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    graph.add_node(Mul(), (x, x), path="square")
    assert graph.to_networkx().number_of_edges("x", "square") == 2


def test_symbols() -> None:
    graph = Graph()
    graph.add_input("x", TensorType.make("f32", ("N", "H//2")))
    graph.add_input("y", TensorType.make("f32", (3,)))
    assert graph.symbols() == {"N", "H"}
    assert Graph().symbols() == frozenset()


def test_wrong_kinds_of_operands_say_so(small: Graph) -> None:
    flags = small.add_input("flags", TensorType.make("bool", ("N", 3)))
    with pytest.raises(TypeMismatch, match=r"add takes numbers, got bool\[N,3\]"):
        small.add_node(Add(), (flags, flags))
    with pytest.raises(TypeMismatch, match="relu takes floating-point values"):
        small.add_node(Relu(), (flags,))
    with pytest.raises(TypeMismatch):
        small.add_node(Sum(), (flags,))
