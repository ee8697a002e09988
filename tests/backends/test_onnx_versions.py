"""Exports for other opsets and IR versions: run by ONNX Runtime, or refused by what is lacking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import cauce
from cauce import nn
from cauce.backends.onnx import export
from cauce.ir import Array, Builder, Graph, TensorType, evaluate
from cauce.ir.errors import AttributeMistake, UnsupportedOp
from cauce.ir.ops.elementwise import Add
from cauce.ir.ops.reduce import Max, Mean
from cauce.ir.ops.shape import Reshape
from tests.backends.onnx_models import assert_agree, run

OPSETS = [13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]


@cauce.network
def net(image):  # type: ignore[no-untyped-def]
    """Convolutions, norm, all kinds of pooling, reductions, softmax over axis 1 of rank 4."""
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 4, 3, padding=1)))
    x = nn.max_pool2d(x, 3, stride=2, padding=1) + nn.avg_pool2d(x, 3, stride=2, padding=1)
    x = nn.softmax(x, dim=1) + nn.leaky_relu(nn.conv2d(x, 4, 3, padding=1))
    x = nn.adaptive_avg_pool2d(x, 3) * x.mean((2, 3), keepdim=True)
    x = nn.conv_transpose2d(x, 3, 2, stride=2)
    x = nn.concat([x.max(dim=(2, 3)), nn.flatten(nn.global_avg_pool(x))], dim=1)
    return nn.log_softmax(nn.linear(nn.clip(x, -1.0, 1.0), 5), dim=1)


IMAGE = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


def exported(opset: int | None = None, ir_version: int | None = None) -> onnx.ModelProto:
    model = net.init(image=("N", 3, 8, 8))
    return export(model.graph, model.values, opset=opset, ir_version=ir_version)


@pytest.fixture(scope="module")
def wanted() -> dict[str, Array]:
    model = net.init(image=("N", 3, 8, 8))
    return evaluate(model.graph, {"image": IMAGE, **model.values}).outputs


@pytest.mark.parametrize("opset", OPSETS)
def test_onnx_runtime_computes_the_same_in_every_opset(
    opset: int, wanted: dict[str, Array]
) -> None:
    model = exported(opset)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert_agree(run(model, {"image": IMAGE}), wanted, 1e-5)


def test_the_ir_version(wanted: dict[str, Array]) -> None:
    """ONNX's Versioning.md: IR 7 came with opset 13, IR 8 with opset 18, IR 11 with opset 23."""
    assert [exported(opset).ir_version for opset in (None, 13, 22, 23)] == [10, 10, 10, 11]
    model = exported(13, 7)
    assert model.ir_version == 7
    assert not any(node.metadata_props for node in model.graph.node)
    assert_agree(run(model, {"image": IMAGE}), wanted, 1e-5)
    assert all(node.metadata_props for node in exported(13).graph.node if "~" not in node.name)


@pytest.mark.parametrize("opset", [0, 12, 1000])
def test_an_opset_that_there_is_not(opset: int) -> None:
    with pytest.raises(AttributeMistake, match=f"opset must be from 13 to .*, got {opset}"):
        exported(opset)


@pytest.mark.parametrize(("opset", "ir_version"), [(18, 7), (23, 10), (13, 6), (18, 1000)])
def test_an_ir_version_that_does_not_have_the_opset(opset: int, ir_version: int) -> None:
    with pytest.raises(AttributeMistake, match=f"for opset {opset}, got {ir_version}") as caught:
        exported(opset, ir_version)
    remedy = str(caught.value.fix).removeprefix("write ir_version=").partition(",")[0]
    assert exported(opset, int(remedy)).ir_version == int(remedy)


@pytest.mark.parametrize("wrong", ["18", 18.0, True])
def test_versions_are_ints(wrong: object) -> None:
    with pytest.raises(AttributeMistake, match="must be an int"):
        exported(wrong)  # type: ignore[arg-type]


def lacking(graph: Graph, opset: int, message: str, enough: int) -> None:
    with pytest.raises(UnsupportedOp, match=message) as caught:
        export(graph, opset=opset)
    assert caught.value.fix == f"choose opset={enough} or above"
    export(graph, opset=enough)
    with pytest.raises(UnsupportedOp):
        export(graph, opset=enough - 1)


def test_an_operator_that_came_later() -> None:
    """BitwiseXor and BitwiseAnd are of opset 18; both draw random numbers."""

    @cauce.network
    def dropped(image):  # type: ignore[no-untyped-def]
        return nn.dropout(image, 0.5, name="half")

    graph = dropped.init(image=("N", 3, 8, 8)).training_graph
    with pytest.raises(UnsupportedOp, match=r"cannot be written in opset 17: it has no Bitwise"):
        export(graph, opset=17)
    lacking(graph, 13, "cannot be written in opset 13", 18)


def test_an_attribute_that_came_later() -> None:
    """allowzero of Reshape is of opset 14."""
    graph = Graph("reshaped")
    x = graph.add_input("x", TensorType.make("f32", ("N", "H", "W")))
    n, h, w = x.type.shape
    graph.outputs = {"y": Builder(graph, path="head.flat")(Reshape((n, h * w)), x)}
    lacking(graph, 13, "its Reshape has no attribute allowzero", 14)


def test_a_type_that_came_later() -> None:
    """Add takes bytes since opset 14; the message names the layer."""
    graph = Graph("ints")
    x = graph.add_input("x", TensorType.make("u8", ("N", 3)))
    graph.outputs = {"y": Builder(graph, path="head.sum")(Add(), x, x)}
    lacking(graph, 13, r"add cannot be written in opset 13: its Add takes no tensor\(uint8\)", 14)
    with pytest.raises(UnsupportedOp) as caught:
        export(graph, opset=13)
    assert "in layer: head.sum" in str(caught.value)


@pytest.mark.parametrize("op", [Mean((1,)), Mean((0, 2), keepdims=True), Max((-1,)), Mean(())])
def test_reductions_before_their_axes_were_operands(op: Mean | Max) -> None:
    graph = Graph("reduced")
    x = graph.add_input("x", TensorType.make("f32", ("N", 3, 4)))
    graph.outputs = {"y": Builder(graph)(op, x)}
    feed = {"x": np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)}
    assert_agree(run(export(graph, opset=17), feed), evaluate(graph, feed).outputs, 1e-6)


def test_the_file_that_users_write(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    cauce.export_onnx(net.init(image=("N", 3, 8, 8)), path, opset=15, ir_version=8)
    model = onnx.load(path)
    assert (model.ir_version, model.opset_import[0].version) == (8, 15)
