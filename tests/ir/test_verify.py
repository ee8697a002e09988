"""The verifier finds each kind of corruption, and names the node and its line."""

from __future__ import annotations

import pytest

from cauce.ir import (
    Array,
    Builder,
    DType,
    Frame,
    Graph,
    Location,
    Op,
    Role,
    TensorType,
    Value,
    parse,
    symbol,
    verify,
)
from cauce.ir.errors import CauceError, VerifyError
from cauce.ir.graph import Node
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.constant import DimSize
from cauce.ir.ops.elementwise import Neg
from cauce.ir.ops.fused import Fused

F32 = TensorType.make("f32", ("N", 4))
TEXT = """
graph net(%x: f32[N,4]) -> f32[N,2] {
  @fc.weight: f32[2,4] parameter
  @step: i64[] state
  %stage1.act = relu(%x) : f32[N,4] loc(net.py:14 < net.py:31)
  %fc = linear(%stage1.act, @fc.weight) : f32[N,2] loc(net.py:15)
  %one = constant() value=dense(i64[], [1]) : i64[]
  %next = add(@step, %one) : i64[]
  return %fc
  update @step = %next
}
"""


@pytest.fixture
def graph() -> Graph:
    return parse(TEXT)


def node(graph: Graph, name: str) -> Node:
    made = graph.value(name).node
    assert made is not None
    return made


def found(graph: Graph, outer: frozenset[str] = frozenset()) -> CauceError:
    with pytest.raises(CauceError) as caught:
        verify(graph, outer)
    return caught.value


def test_a_sound_graph_passes(graph: Graph) -> None:
    verify(graph)
    graph.verify()
    verify(Graph())


# ---- values and types --------------------------------------------------------------------------


def test_a_result_of_another_type_than_the_op_gives(graph: Graph) -> None:
    graph.value("stage1.act").type = F32.with_dtype(DType.F16)
    error = found(graph)
    assert error.what == "%stage1.act is f16[N,4], but relu gives f32[N,4]"
    assert error.path == "stage1.act"
    assert str(error.loc) == "net.py:14 < net.py:31"
    assert isinstance(error, VerifyError) and isinstance(error, ValueError)


def test_operands_that_no_longer_fit(graph: Graph) -> None:
    graph.inputs[1].type = TensorType.make("f32", (2, 5))
    error = found(graph)
    assert "linear: f32[N,4] has 4 features, the weight f32[2,5] takes 5" in str(error)
    assert error.path == "fc" and str(error.loc) == "net.py:15"


def test_two_values_of_one_name(graph: Graph) -> None:
    graph.value("fc").name = "stage1.act"
    error = found(graph)
    assert error.what == "two values are called 'stage1.act'"
    assert error.path == "stage1.act"


def test_two_inputs_of_one_name(graph: Graph) -> None:
    graph.inputs[1].name = "x"
    assert found(graph).what == "two values are called 'x'"


def test_an_input_that_a_node_makes(graph: Graph) -> None:
    graph.inputs[0].node = node(graph, "fc")
    assert found(graph).what == "input x is also the result of a node"


def test_a_result_that_does_not_point_back(graph: Graph) -> None:
    graph.value("fc").node = node(graph, "one")
    error = found(graph)
    assert error.what == "%fc does not point back to linear" and error.path == "fc"


def test_a_missing_result(graph: Graph) -> None:
    fc = node(graph, "fc")
    fc.results = (*fc.results, Value("more", F32, fc))
    error = found(graph)
    assert error.what == "linear has 2 results, its types are 1" and error.path == "fc"


# ---- nodes -------------------------------------------------------------------------------------


def test_an_operand_defined_later(graph: Graph) -> None:
    act = node(graph, "stage1.act")
    act.operands = (graph.value("fc"),)
    error = found(graph)
    assert error.what == "relu reads %fc, which is not defined before it"
    assert error.path == "stage1.act" and str(error.loc) == "net.py:14 < net.py:31"


def test_an_operand_of_another_graph(graph: Graph) -> None:
    node(graph, "fc").operands = (parse(TEXT).value("stage1.act"), graph.inputs[1])
    assert found(graph).what == "linear reads %stage1.act, which is not defined before it"


def test_a_wrong_number_of_operands(graph: Graph) -> None:
    node(graph, "fc").operands = (graph.value("stage1.act"),)
    error = found(graph)
    assert error.what == "linear takes 2 to 3 operands (x, weight, bias?), got 1"
    assert error.path == "fc"


def test_a_node_of_another_graph(graph: Graph) -> None:
    node(graph, "fc").graph = Graph("other")
    error = found(graph)
    assert error.what == "linear belongs to another graph" and error.path == "fc"


def test_users_that_are_not_what_nodes_read(graph: Graph) -> None:
    graph.value("stage1.act").users.clear()
    error = found(graph)
    assert error.what == "%stage1.act: its list of users is not what the nodes read"
    assert error.path == "stage1.act" and str(error.loc) == "net.py:14 < net.py:31"


def test_a_user_too_many(graph: Graph) -> None:
    graph.inputs[0].users.append(node(graph, "fc"))
    assert found(graph).what == "%x: its list of users is not what the nodes read"


class Unregistered(Op):
    """y = x, of a class that nobody registered."""

    name = "unregistered"

    def infer(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: Array) -> Array:
        return x


def test_an_op_that_is_not_registered(graph: Graph) -> None:
    graph.add_node(Unregistered(), (graph.inputs[0],), path="stage2.odd")
    error = found(graph)
    assert error.what == "op unregistered is not registered"
    assert error.path == "stage2.odd" and "@register" in str(error)


# ---- symbols -----------------------------------------------------------------------------------


def test_an_attribute_with_a_dimension_that_no_input_has(graph: Graph) -> None:
    Builder(graph, path="size")(DimSize(symbol("H") * 2))
    error = found(graph)
    assert error.what == "dim uses the dimension H, which no input has" and error.path == "size"
    verify(graph, frozenset({"H"}))  # a region may use those of the graph around it


def test_a_type_with_a_dimension_that_no_input_has(graph: Graph) -> None:
    x = graph.add_input("tokens", TensorType.make("f32", ("T", 4)))
    Builder(graph, path="act")(Relu(), x)
    verify(graph)
    graph.inputs.remove(x)
    assert "tokens" in found(graph).what


# ---- outputs and updates -----------------------------------------------------------------------


def test_an_output_that_is_not_in_the_graph(graph: Graph) -> None:
    graph.outputs["logits"] = parse(TEXT).value("fc")
    assert found(graph).what == "output logits is %fc, which is not in the graph"


def test_updates_of_what_cannot_be_updated(graph: Graph) -> None:
    foreign = parse(TEXT)
    weight, step = graph.inputs[1:]
    lr = graph.add_input("lr", TensorType.make("f32", ()), Role.HYPERPARAMETER)
    cases = [
        ((graph.inputs[0], graph.value("stage1.act")), "update of x, which is data"),
        ((lr, lr), "update of lr, which is hyperparameter"),
        ((foreign.inputs[2], graph.value("next")), "update of step, which is not an input"),
        ((step, foreign.value("next")), "update of step with %next, not in the graph"),
        ((weight, graph.value("fc")), "update of fc.weight: it is f32[2,4], its new value is f32"),
    ]
    for (target, value), message in cases:
        graph.updates = {target: value}
        assert found(graph).what.startswith(message)


def test_an_update_of_another_type_shows_the_line(graph: Graph) -> None:
    graph.updates = {graph.inputs[1]: graph.value("fc")}
    error = found(graph)
    assert error.path == "fc" and str(error.loc) == "net.py:15"


# ---- regions -----------------------------------------------------------------------------------


def region(graph: Graph) -> tuple[Graph, Node]:
    body = Graph("body")
    x = body.add_input("x", F32)
    y = body.add_node(Neg(), (x,), path="inner", loc=Location((Frame("net.py", 20),))).result
    body.outputs = {"y": y}
    outer = graph.add_node(Fused(body), (graph.inputs[0],), path="fused")
    verify(graph)
    return body, outer


def test_a_fault_in_a_region_is_found_and_named(graph: Graph) -> None:
    body, _ = region(graph)
    body.value("inner").type = F32.with_dtype(DType.F64)
    error = found(graph)
    assert error.what == "%inner is f64[N,4], but neg gives f32[N,4]"
    assert error.path == "inner" and str(error.loc) == "net.py:20"


def test_a_region_may_use_dimensions_from_around_it(graph: Graph) -> None:
    eight = graph.add_input("eight", TensorType.make("f32", (8,)))
    body = Graph("body")
    b = Builder(body)
    y = b(Neg(), body.add_input("x", eight.type))
    b(DimSize(symbol("N")))
    body.outputs = {"y": y}
    graph.add_node(Fused(body), (eight,))
    verify(graph)
    with pytest.raises(VerifyError, match="dimension N, which no input has"):
        verify(body)
