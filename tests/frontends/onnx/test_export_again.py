"""Import, then export: a file that ONNX Runtime runs with the same results, metadata kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import cauce

from ...backends.onnx_models import assert_agree, run
from .build import model
from .test_importer import network

node = helper.make_node
_RANDOM = np.random.default_rng(3)


def described(proto: onnx.ModelProto) -> onnx.ModelProto:
    proto.producer_name, proto.producer_version = "pytorch", "2.13"
    proto.domain, proto.model_version, proto.doc_string = "org.example", 7, "faces, 2 lines\nof ü"
    proto.graph.name, proto.graph.doc_string = "main graph", "the graph"
    proto.metadata_props.add(key="labels", value='["cat", "dog"]')
    proto.metadata_props.add(key="stride", value="32")
    return proto


def several() -> onnx.ModelProto:
    """Inputs and outputs whose order is no other's; an output that a constant is."""
    nodes = [
        node("Add", ["b", "a"], ["sum:0"]),
        node("Mul", ["a", "w"], ["prod/1"]),
        node("Shape", ["a"], ["size"]),
        node("Identity", ["prod/1"], ["again"]),
    ]
    stored = {"w": _RANDOM.standard_normal(3).astype(np.float32)}
    outputs = ["size", "sum:0", "again", "prod/1"]
    return model(nodes, {"b": ("N", 3), "a": ("N", 3)}, outputs, stored)


@pytest.mark.parametrize("opset", [None, 21])
@pytest.mark.parametrize("made", [network, several])
def test_a_model_that_came_in_goes_out_again(made: Any, opset: int | None, tmp_path: Path) -> None:
    proto = described(made())
    model = cauce.load_onnx(proto)
    model.save(tmp_path / "net.safetensors")
    feeds = {
        value.name: _RANDOM.standard_normal(
            [dim.dim_value or (2, 3, 6, 8)[i] for i, dim in enumerate(_dims(value))]
        ).astype(np.float32)
        for value in proto.graph.input
    }
    wanted = run(proto, feeds)
    for loaded in (model, cauce.load(tmp_path / "net.safetensors"), cauce.load_onnx(proto)):
        path = tmp_path / "again.onnx"
        cauce.export_onnx(loaded, path, opset=opset)
        back = onnx.load(path)
        assert_agree(run(back, feeds), wanted, 1e-5)
        for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
            assert getattr(back, field) == getattr(proto, field), field
        assert (back.graph.name, back.graph.doc_string) == ("main graph", "the graph")
        assert [(e.key, e.value) for e in back.metadata_props] == [
            *(("labels", '["cat", "dog"]'), ("stride", "32"))
        ]
        assert [v.name for v in back.graph.input] == [v.name for v in proto.graph.input]
        assert [v.name for v in back.graph.output] == [v.name for v in proto.graph.output]


def _dims(value: Any) -> Any:
    return value.type.tensor_type.shape.dim


def test_a_model_that_was_made_here_says_so(tmp_path: Path) -> None:
    @cauce.network
    def net(x: Any) -> Any:
        return cauce.nn.relu(x)

    cauce.export_onnx(net.init(x=("N", 2)), tmp_path / "net.onnx")
    made = onnx.load(tmp_path / "net.onnx")
    assert (made.producer_name, list(made.metadata_props)) == ("cauce", [])
