"""Functions of a model, functions by which ONNX defines operators, and graphs within nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import cauce
from cauce.importing import open_onnx
from cauce.ir.errors import CauceError, GraphError, UnsupportedOp

from .build import agrees, model

node = helper.make_node
_RANDOM = np.random.default_rng(3)
OWN = helper.make_opsetid("", 18)
LOCAL = helper.make_opsetid("local", 1)


def floats(*shape: int) -> Any:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def function(name: str, inputs: list[str], outputs: list[str], nodes: Any, **more: Any) -> Any:
    return helper.make_function("local", name, inputs, outputs, nodes, [OWN, LOCAL], **more)


def with_functions(
    nodes: list[onnx.NodeProto], functions: list[Any], inputs: Any, outputs: list[str], **more: Any
) -> onnx.ModelProto:
    proto = model(nodes, inputs, outputs, **more)
    proto.opset_import.append(LOCAL)
    proto.functions.extend(functions)
    return proto


def referring(
    op_type: str, operands: list[str], result: str, name: str, own: str, kind: Any
) -> Any:
    """A node with an attribute that is the function's own."""
    made = node(op_type, operands, [result])
    made.attribute.add(name=name, ref_attr_name=own, type=kind)
    return made


def local(
    op_type: str, operands: list[str], results: list[str], name: str = "", **more: Any
) -> Any:
    return node(op_type, operands, results, name, domain="local", **more)


def test_functions_are_taken_in_where_they_are_called() -> None:
    """A function in a function, called twice, with attributes, and an operand that is left out."""
    leaky = function(
        "leaky",
        ["x"],
        ["y"],
        [referring("LeakyRelu", ["x"], "y", "alpha", "slope", onnx.AttributeProto.FLOAT)],
        attribute_protos=[helper.make_attribute("slope", 0.25)],
    )
    block = function(
        "block",
        ["x", "weight", "bias"],
        ["y", "unread"],
        [
            node("Gemm", ["x", "weight", "bias"], ["h"]),
            local("leaky", ["h"], ["y"], "act", slope=0.5),
            local("leaky", ["h"], ["unread"]),
        ],
    )
    nodes = [
        local("block", ["x", "w", "b"], ["h", "unused"], "first"),
        local("block", ["h", "v"], ["y", "z"], "second"),
    ]
    proto = with_functions(
        nodes,
        [leaky, block],
        {"x": ("N", 3)},
        ["y", "z"],
        stored={"w": floats(3, 4), "b": floats(4), "v": floats(4, 5)},
    )
    loaded = agrees(proto, {"x": floats(2, 3)})
    assert [n.path for n in loaded.graph.nodes if n.op.name == "leaky_relu"] == [
        *("first.act.LeakyRelu_0", "second.act.LeakyRelu_0", "second.leaky_2.LeakyRelu_0")
    ]
    assert sorted(p.name for p in loaded.parameters) == ["b", "v", "w"]


def test_constants_of_a_function_are_those_of_each_call() -> None:
    made = function(
        "shifted",
        ["x"],
        ["y"],
        [
            referring("Constant", [], "c", "value_floats", "by", onnx.AttributeProto.FLOATS),
            node("Add", ["x", "c"], ["y"]),
        ],
        attributes=["by"],
    )
    nodes = [
        local("shifted", ["x"], ["h"], "one", by=[1.0, 2.0]),
        local("shifted", ["h"], ["y"], "two", by=[10.0, 20.0]),
    ]
    loaded = agrees(
        with_functions(nodes, [made], {"x": ("N", 2)}, ["y"]), {"x": np.zeros((1, 2), np.float32)}
    )
    assert [p.name for p in loaded.parameters] == ["one.c", "two.c"]


def test_a_function_has_an_opset_of_its_own() -> None:
    """Softmax of opset 11 within a model of opset 18: over all dimensions from axis 1 on."""
    old = helper.make_function(
        "local", "old", ["x"], ["y"], [node("Softmax", ["x"], ["y"])], [helper.make_opsetid("", 11)]
    )
    proto = with_functions([local("old", ["x"], ["y"])], [old], {"x": ("N", 2, 3)}, ["y"])
    x = floats(2, 2, 3)
    (y,) = cauce.compile(cauce.load_onnx(proto), "numpy").run({"x": x}).values()
    np.testing.assert_allclose(y.sum(axis=(1, 2)), [1, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ([("f", ["f"])], "the function 'f' calls itself"),
        ([("f", ["g"]), ("g", ["f"])], "the function 'f' calls itself"),
        ([("f", ["g"] * 64)] + [(a, [b] * 64) for a, b in ("gh", "hi", "ij", "jk")] + [("k", [])],
         "functions and repeated graphs make more than 16384 nodes"),
    ],
)  # fmt: skip
def test_functions_that_never_end_or_grow_without_bounds_are_refused(
    functions: list[tuple[str, list[str]]], message: str
) -> None:
    made = []
    for name, called in functions:
        inner = [local(other, ["x"], [f"y{i}"]) for i, other in enumerate(called)]
        made.append(function(name, ["x"], ["x"], inner))
    proto = with_functions([local("f", ["x"], ["y"])], made, {"x": ("N", 2)}, ["y"])
    with pytest.raises(GraphError, match=message):
        cauce.load_onnx(proto)


def test_what_functions_lack_is_listed_with_all_else() -> None:
    made = function("f", ["x"], ["y"], [node("Fancy", ["x"], ["y"], "inner")])
    nodes = [local("f", ["x"], ["h"]), local("f", ["h"], ["i"]), node("Fancy", ["i"], ["y"], "own")]
    with pytest.raises(UnsupportedOp, match="2 x Fancy") as caught:
        cauce.load_onnx(with_functions(nodes, [made], {"x": ("N", 2)}, ["y"]))
    assert "own, f: inner" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (local("f", ["x", "x"], ["y"]), "the function 'f' has 1 inputs, not 2"),
        (local("g", ["x"], ["y"]), "1 x local.g"),
        (local("f", [""], ["y"]), "has no operand 0"),
    ],
)
def test_wrong_calls_are_refused(call: onnx.NodeProto, message: str) -> None:
    made = function("f", ["x"], ["y"], [node("Relu", ["x"], ["y"])])
    with pytest.raises(CauceError, match=message):
        cauce.load_onnx(with_functions([call], [made], {"x": ("N", 2)}, ["y"]))


@pytest.mark.parametrize("opset", [23, 24])
def test_operators_are_imported_by_their_definition_in_onnx(opset: int) -> None:
    operands = ["x", "cos", "sin", "at"]
    nodes = [node("RotaryEmbedding", operands, ["y"], "rope", interleaved=1, num_heads=2)]
    feeds = {
        "x": floats(2, 3, 8),
        "cos": floats(5, 2),
        "sin": floats(5, 2),
        "at": np.array([[0, 4, 1], [2, 2, 3]]),
    }
    loaded = agrees(model(nodes, feeds, ["y"], opset=opset), feeds)
    assert all(n.path.startswith("rope.") for n in loaded.graph.nodes)


@pytest.mark.parametrize("window", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_attributes_that_a_definition_reads_have_their_defaults(window: str) -> None:
    nodes = [node(window, ["size"], ["w"]), node("Mul", ["x", "w"], ["y"])]
    agrees(model(nodes, {"x": (2, 9)}, ["y"], {"size": np.array(9)}), {"x": floats(2, 9)})


# ---- graphs within nodes -----------------------------------------------------------------------


def branches(condition: str, stored: Any = None, inputs: Any = None) -> onnx.ModelProto:
    """If the condition then x + w (of the branch) else relu(h), h being of the graph around."""
    leaf = onnx.ValueInfoProto(name="r")
    weight = onnx.numpy_helper.from_array(np.array([1, 2], np.float32), "w")
    then = helper.make_graph([node("Add", ["x", "w"], ["r"])], "then", [], [leaf], [weight])
    other = helper.make_graph([node("Relu", ["h"], ["r"])], "else", [], [leaf])
    nodes = [
        node("Neg", ["x"], ["h"]),
        node("If", [condition], ["y"], "choice", then_branch=then, else_branch=other),
    ]
    return model(nodes, {"x": ("N", 2), **(inputs or {})}, ["y"], stored)


@pytest.mark.parametrize("condition", [True, False])
def test_the_branch_of_a_known_condition_is_taken(condition: bool) -> None:
    loaded = agrees(branches("c", {"c": np.array(condition)}), {"x": floats(3, 2)})
    paths = [n.path for n in loaded.graph.nodes]
    assert paths == (["choice.Add_0"] if condition else ["Neg_0", "choice.Relu_0"])
    assert [p.name for p in loaded.parameters] == (["choice.w"] if condition else [])


def test_a_condition_that_is_an_input_has_to_be_given() -> None:
    proto = branches("c", inputs={"c": np.array(True)})
    with pytest.raises(UnsupportedOp, match="give the value of c when loading"):
        cauce.load_onnx(proto)
    assert len(list(cauce.load_onnx(proto, inputs={"c": np.array(False)}).graph.nodes)) == 2
    predict, x = cauce.compile(open_onnx(proto), "numpy"), floats(3, 2)
    for condition, wanted in ((True, x + np.array([1, 2], np.float32)), (False, np.maximum(-x, 0))):
        np.testing.assert_array_equal(predict(x, np.array(condition)), wanted)


def body(inputs: list[str], outputs: list[str], nodes: list[Any]) -> Any:
    types = {"step": onnx.TensorProto.INT64, "going": onnx.TensorProto.BOOL}
    types["on"] = types["going"]
    infos = [
        [
            helper.make_tensor_value_info(n, types.get(n, onnx.TensorProto.FLOAT), None)
            for n in names
        ]
        for names in (inputs, outputs)
    ]
    return helper.make_graph(nodes, "body", *infos)


def looping(condition: Any = None) -> onnx.ModelProto:
    """acc = acc * x + step, four times at most; each acc is scanned."""
    graph = body(
        ["step", "going", "acc"],
        ["on", "next", "row"],
        [
            node("Identity" if condition is None else "Less", condition or ["going"], ["on"]),
            node("Mul", ["acc", "x"], ["m"]),
            node("Cast", ["step"], ["f"], to=1),
            node("Add", ["m", "f"], ["next"]),
            node("Identity", ["next"], ["row"]),
        ],
    )
    nodes = [node("Loop", ["trips", "", "x"], ["last", "rows"], "loop", body=graph)]
    stored = {"trips": np.array(4), "two": np.array(2)}
    return model(nodes, {"x": ("N", 2)}, ["last", "rows"], stored)


@pytest.mark.parametrize("condition", [None, ["step", "two"]])
def test_a_loop_of_known_length_is_written_out(condition: Any) -> None:
    """ONNX Runtime does not run it with its first condition left out: by the definition."""
    x = floats(3, 2)
    rows = [x * x]
    for step in range(1, 4 if condition is None else 3):
        rows.append(rows[-1] * x + np.float32(step))
    last, scanned = cauce.compile(cauce.load_onnx(looping(condition)), "numpy")(x)
    np.testing.assert_allclose(scanned, rows, rtol=1e-6)
    np.testing.assert_allclose(last, rows[-1], rtol=1e-6)


def test_a_loop_of_unknown_length_asks_for_it() -> None:
    proto = looping()
    trips = proto.graph.initializer.pop(0)
    proto.graph.input.append(helper.make_tensor_value_info("trips", trips.data_type, []))
    with pytest.raises(UnsupportedOp, match="give the value of trips when loading"):
        cauce.load_onnx(proto)


@pytest.mark.parametrize("backwards", [0, 1])
def test_a_scan_is_written_out(backwards: int) -> None:
    graph = body(
        ["state", "element"],
        ["next", "row"],
        [node("Add", ["state", "element"], ["next"]), node("Neg", ["next"], ["row"])],
    )
    scan = node(
        "Scan",
        ["start", "x"],
        ["last", "rows"],
        "scan",
        body=graph,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[-1],
        scan_input_directions=[backwards],
        scan_output_directions=[backwards],
    )
    feeds = {"x": floats(3, 4, 2), "start": floats(3, 2)}
    loaded = agrees(model([scan], feeds, ["last", "rows"]), feeds)
    assert next(loaded.graph.nodes).path == "scan"
    free = model([scan], {"x": (3, "L", 2), "start": (3, 2)}, ["last", "rows"])
    predict = cauce.compile(cauce.load_onnx(free), "numpy")
    assert predict(floats(3, 5, 2), floats(3, 2))[1].shape == (3, 2, 5)
    assert "specialised on L" in repr(predict)


def test_endless_loops_are_refused() -> None:
    proto = looping()
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array(2**62), "trips"))
    with pytest.raises(GraphError, match="make more than 16384 nodes"):
        cauce.load_onnx(proto)
