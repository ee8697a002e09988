"""Names from files are hostile until shown otherwise: they survive all that is done to a model."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import cauce
from cauce.ir import Array, Graph
from cauce.ir.errors import GraphError

from ...backends.onnx_models import run
from .build import agrees, model
from .mutations import NAMES

node = helper.make_node
X = np.array([[1.0, -2.0]], np.float32)


def weights(number: int) -> Array:
    return np.random.default_rng(number).standard_normal(2).astype(np.float32)


def chain(names: tuple[str, ...], kind: str) -> onnx.ModelProto:
    """x plus a weight for each name, which is that of the weight, the node or the result."""
    nodes, stored, at = [], {}, "the input"
    for i, name in enumerate(names):
        weight = name if kind == "weight" and name else f"the weight {i}"
        result = name if kind == "result" and name else f"the result {i}"
        stored[weight] = weights(i)
        nodes.append(node("Add", [at, weight], [result], name if kind == "node" else f"add {i}"))
        at = result
    nodes.append(node("Mul", [at, at], ["the output"], "last"))
    return model(nodes, {"the input": ("N", 2)}, ["the output"], stored)


def wanted(count: int) -> Array:
    total = X
    for i in range(count):
        total = total + weights(i)
    return total * total


@pytest.mark.parametrize("kind", ["weight", "node", "result"])
def test_hostile_names_survive(kind: str, tmp_path: Path) -> None:
    loaded = cauce.load_onnx(chain(NAMES, kind))
    expected = wanted(len(NAMES))
    for backend in ("numpy", "llvm"):
        predict = cauce.compile(loaded, backend=backend)
        np.testing.assert_allclose(predict(**{"the input": X}), expected, rtol=1e-5)
        assert repr(predict).isprintable()
    for shown in (predict.plan(), repr(loaded.graph)):
        assert all(line.isprintable() for line in str(shown).splitlines())
    if kind == "weight":
        named = {name for name in NAMES if name and name != "random.key"}
        assert {n for n in named if not n.startswith("constant ")} <= loaded.state_dict().keys()
    again = cauce.parse(loaded.graph.to_text(), loaded.graph.constants())
    assert again.same_as(loaded.graph) and loaded.training_graph.same_as(loaded.graph)

    loaded.save(tmp_path / "net.safetensors")
    other = cauce.load(tmp_path / "net.safetensors")
    assert list(other.state_dict()) == list(loaded.state_dict())
    assert other.graph.same_as(loaded.graph)
    np.testing.assert_array_equal(
        cauce.compile(other, backend="numpy")(X), cauce.compile(loaded, backend="numpy")(X)
    )
    cauce.export_onnx(loaded, tmp_path / "net.onnx")
    (exported,) = run(onnx.load(tmp_path / "net.onnx"), {"the input": X}).values()
    np.testing.assert_allclose(exported, expected, rtol=1e-5)
    back = cauce.load_onnx(tmp_path / "net.onnx")
    assert back.state_dict().keys() == loaded.state_dict().keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_of_all_that_a_caller_names(name: str, tmp_path: Path) -> None:
    """The input, the output, the graph and a free size; what is empty has no name."""
    proto = model([node("Neg", [name or "x"], ["y"])], {name or "x": (name, 2)}, ["y"])
    proto.graph.name = name
    proto.graph.node[0].output[0] = proto.graph.output[0].name = f"{name}."
    loaded = cauce.load_onnx(proto)
    assert [value.name for value in loaded.graph.inputs] == [name or "x"]
    predict = cauce.compile(loaded, backend="numpy")
    np.testing.assert_array_equal(predict(**{name or "x": X}), -X)
    assert cauce.parse(loaded.graph.to_text()).same_as(loaded.graph)
    assert list(loaded.graph.outputs) == [f"{name}."]
    cauce.export_onnx(loaded, tmp_path / "net.onnx")
    assert cauce.load_onnx(tmp_path / "net.onnx").graph.outputs.keys() == {f"{name}."}


@given(st.text(), st.text(), st.text())
def test_any_text_is_a_name(graph: str, value: str, output: str) -> None:
    built = Graph(graph)
    made = built.add_input(value, cauce.ir.TensorType.make("f32", (2,)))
    built.outputs[output] = made
    again = cauce.parse(built.to_text())
    assert again.name == graph and list(again.outputs) == [output]
    assert [v.name for v in again.inputs] == [value]


def with_bytes(raw: bytes) -> bytes:
    """A model with bytes in the place of QQ in all of its names."""
    nodes = [
        node("Add", ["xQQ", "wQQ"], ["aQQ"], "addQQ"),
        node("Neg", ["aQQ"], ["yQQ"], "negQQ"),
    ]
    proto = model(nodes, {"xQQ": ("nQQ", 2)}, ["yQQ"], {"wQQ": weights(0)})
    proto.graph.name = "gQQ"
    return proto.SerializeToString().replace(b"QQ", raw)


@pytest.mark.parametrize("raw", [b"\xed\xa0", b"\xff\xfe", b"\xc3\x28"])
def test_names_that_are_no_text(raw: bytes, tmp_path: Path) -> None:
    """protobuf gives them as bytes; each wrong one, as those of a lone surrogate, is \\xff."""
    loaded = cauce.load_onnx(with_bytes(raw))
    shown = raw.decode("utf-8", "backslashreplace")
    assert list(loaded.state_dict()) == [f"w{shown}"]
    got = cauce.compile(loaded)(**{f"x{shown}": X})
    np.testing.assert_allclose(got, -(X + weights(0)))
    loaded.save(tmp_path / "net.safetensors")
    assert cauce.load(tmp_path / "net.safetensors").graph.same_as(loaded.graph)
    cauce.export_onnx(loaded, tmp_path / "net.onnx")
    assert list(cauce.load_onnx(tmp_path / "net.onnx").graph.outputs) == [f"y{shown}"]


def test_a_message_with_names_that_are_no_text_is_not_changed() -> None:
    proto = onnx.ModelProto.FromString(with_bytes(b"\xff\xfe"))
    before = proto.SerializeToString()
    cauce.load_onnx(proto)
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("name", ["", "n", "n" * 2000, "a/b"])
def test_many_equal_names_take_no_time(name: str) -> None:
    """With a step for each of the earlier ones, 4,000 of them would take minutes."""
    nodes = [node("Tanh", [f"t{i}"], [f"t{i + 1}"], name) for i in range(4000)]
    start = time.process_time()
    loaded = cauce.load_onnx(model(nodes, {"t0": (2,)}, ["t4000"]))
    assert time.process_time() - start < 20
    assert len({n.path for n in loaded.graph.nodes}) == 4000


def test_many_sizes_without_names_take_no_time() -> None:
    inputs = {f"x{'-' * i}": ("?",) * 8 for i in range(400)}
    nodes = [node("Neg", ["x"], ["y"])]
    start = time.process_time()
    loaded = cauce.load_onnx(model(nodes, inputs, ["y"]))
    assert time.process_time() - start < 20
    assert len(loaded.graph.symbols()) == 3200


def test_a_weight_keeps_its_name_though_a_node_before_it_has_the_same() -> None:
    constant = numpy_helper.from_array(weights(0))
    nodes = [
        node("Neg", ["x"], ["a"], "w"),
        node("Constant", [], ["w"], value=constant),
        node("Add", ["a", "w"], ["y"]),
    ]
    loaded = agrees(model(nodes, {"x": ("N", 2)}, ["y"]), {"x": X})
    assert [p.name for p in loaded.parameters] == ["w"]


def test_an_input_that_is_an_output_too(tmp_path: Path) -> None:
    proto = model([node("Neg", ["x"], ["y"])], {"x": ("N", 2)}, ["y", "x"])
    loaded = cauce.load_onnx(proto)
    cauce.export_onnx(loaded, tmp_path / "net.onnx")
    y, x = run(onnx.load(tmp_path / "net.onnx"), {"x": X}).values()
    np.testing.assert_array_equal(y, -x)


def test_two_tensors_of_one_name_are_refused() -> None:
    proto = model([node("Neg", ["x"], ["y"])], {"x": (2,)}, ["y"], {"w": weights(0)})
    proto.graph.initializer.append(proto.graph.initializer[0])
    with pytest.raises(GraphError, match="defines the tensor 'w' twice"):
        cauce.load_onnx(proto)
