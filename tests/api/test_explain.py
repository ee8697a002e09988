"""``cauce.explain``: what runs, what can be asked, the page and its data."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.explaining import Explained
from cauce.ir.errors import (
    AttributeMistake,
    CauceError,
    GraphError,
    MissingFile,
    OutOfRange,
    ShapeError,
    TypeMismatch,
    UnsupportedOp,
)
from tests.project.house import ROOT


@cauce.network
def small(image, classes=3):
    x = nn.batch_norm(nn.conv2d(image, 2, 3, padding=1))
    x = nn.max_pool2d(nn.relu(x), 2)
    x = nn.dropout(nn.linear(nn.flatten(x), classes), 0.5)
    return nn.softmax(x)


MODEL = small.init(image=("N", 1, 4, 4), seed=3)
X = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)


def data_of(html: str, name: str) -> Any:
    """A deflated block of a page."""
    found = re.search(rf'<script type="text/plain" id="data-{name}">([^<]*)</script>', html)
    assert found is not None
    return json.loads(zlib.decompress(b64decode(found[1]), -zlib.MAX_WBITS))


def test_every_value_is_kept_and_those_with_rules_are_explained() -> None:
    found = cauce.explain(MODEL, X)
    assert repr(found) == "<small explained: 6 of 7 nodes>"
    assert [node.op.name for node in found.nodes] == [
        *("conv2d", "batch_norm", "relu", "max_pool2d", "linear", "softmax")
    ]
    wanted = cauce.compile(MODEL, backend="numpy")(X)
    (output,) = found.graph.outputs.values()
    np.testing.assert_allclose(found.arrays[output.name], wanted, rtol=1e-5)
    one = found.explanation(output.name, (1, 2))
    assert one.value == found.arrays[output.name][1, 2]
    assert one.computed == pytest.approx(one.value, rel=1e-5)


def test_text_names_a_layer_or_a_value() -> None:
    found = cauce.explain(MODEL, X)
    text = found.text("conv1", (0, 1, 0, 0))
    assert text.startswith("y[0,1,0,0] of conv2d\n")
    assert text.count("padding [") == 5
    assert found.text("conv1", (0, -1, 0, 0)) == text
    assert str(found.explanation("conv1", np.array([0, 1, 0, 0]))) == text


def test_training_has_the_statistics_of_the_batch_and_drops() -> None:
    found = cauce.explain(MODEL, X, training=True)
    names = [node.op.name for node in found.nodes]
    assert "batch_norm_train" in names and "dropout" in names
    mean = found.explanation("bn1", (0,), "mean")
    assert len(mean.terms) == 2 * 4 * 4
    assert mean.computed == pytest.approx(mean.value, rel=1e-5)
    (dropout,) = (node.results[0].name for node in found.nodes if node.op.name == "dropout")
    draws = [found.explanation(dropout, (n, k)).steps[0] for n in (0, 1) for k in range(3)]
    assert {line.rpartition(": ")[2] for line in draws} == {"kept", "dropped"}
    # The model is as it was.
    again = cauce.explain(MODEL, X, training=True)
    assert again.text(dropout, (0, 0)) == found.text(dropout, (0, 0))


def test_a_graph_takes_the_values_of_its_parameters_by_name() -> None:
    feeds = {"image": X, **MODEL.values}
    feeds = {value.name: feeds[value.name] for value in MODEL.graph.inputs}
    found = cauce.explain(MODEL.graph, feeds)
    assert found.text("conv1", (0, 0, 0, 0)) == cauce.explain(MODEL, X).text("conv1", (0, 0, 0, 0))


def test_several_inputs_come_in_order_or_by_name() -> None:
    @cauce.network
    def net(a, b):
        return a * b

    model = net.init(a=(2,), b=(2,))
    a, b = np.array([1, 2], np.float32), np.array([3, 5], np.float32)
    texts = {cauce.explain(model, x).text("mul", (1,)) for x in ([a, b], {"b": b, "a": a})}
    assert len(texts) == 1 and "y[1] = 10" in texts.pop().replace("z", "y")


def test_sizes_in_attributes_are_those_of_the_input() -> None:
    @cauce.network
    def net(image):
        return nn.conv_transpose2d(image, 1, 2, stride=2)

    found = cauce.explain(net.init(image=(1, 1, "H", "W")), np.ones((1, 1, 2, 3), np.float32))
    (node,) = (node for node in found.nodes if "backward_data" in node.op.name)
    one = found.explanation(node.results[0].name, (0, 0, 3, 5))
    assert one.computed == pytest.approx(one.value, rel=1e-6)


# ---- the page ----------------------------------------------------------------------------------


def test_the_page_holds_every_element_as_the_arrays_have_it(tmp_path: Path) -> None:
    found = cauce.explain(MODEL, X, training=True)
    found.save(tmp_path / "net.html")
    html = (tmp_path / "net.html").read_text("utf-8")
    told = {entry["name"]: entry for entry in data_of(html, "nodes")}
    values = [value for node in found.nodes for value in node.results]
    assert list(told) == [value.name for value in values]
    for value in values:
        entry, array = told[value.name], found.arrays[value.name]
        assert entry["shape"] == list(array.shape)
        assert [f"{x:.5g}" for x in array.reshape(-1)] == [
            f"{float(text):.5g}" for text in entry["texts"]
        ]
        assert len(entry["elements"]) == array.size
        for element, text in zip(entry["elements"], entry["texts"]):
            assert element["steps"][-1].endswith(f" {text}")


def test_what_is_read_stands_in_its_box_with_the_padding() -> None:
    entry, *_ = data_of(cauce.explain(MODEL, X).page().html(), "nodes")
    assert entry["op"] == "conv2d"
    x = entry["sources"][[s["name"] for s in entry["sources"]].index("x")]
    assert (x["low"], x["shape"], x["size"]) == ([0, 0, -1, -1], [2, 1, 6, 6], [2, 1, 4, 4])
    assert x["padding"] == "0"
    places = [term[0] for term in entry["elements"][0]["terms"] if len(term[0]) == 4]
    first = [place[place.index(0) + 1] for place in places]
    assert first == [0, 1, 2, 6, 7, 8, 12, 13, 14]


def test_a_notebook_gets_a_frame_and_a_terminal_one_line() -> None:
    found = cauce.explain(MODEL, X)
    assert found._repr_html_().startswith("<iframe")
    assert "\n" not in repr(found)


def test_the_value_to_begin_with() -> None:
    html = cauce.explain(MODEL, X).page("softmax1").html()
    assert '"first":5' in html


def test_names_cannot_be_markup(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    evil = "</script><script>alert(1)</script>"
    node = onnx.helper.make_node("Relu", ["x"], ["y"], name=evil)
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 2]) for n in "xy"]
    graph = onnx.helper.make_graph([node], evil, info[:1], info[1:])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = cauce.load_onnx(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10))
    html = cauce.explain(model, np.ones((1, 2), np.float32)).page().html()
    assert "alert(1)</script>" not in html


def test_the_page_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "explain.md").read_text("utf-8")
    found = re.search(r"^```python\n(.*?)^```\n\n```\n(.*?)^```", text, re.M | re.S)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(found[1], "explain.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == found[2]
    assert (tmp_path / "small.html").is_file()


# ---- mistakes ----------------------------------------------------------------------------------


def explained() -> Explained:
    return cauce.explain(MODEL, X)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cauce.explain("net", X), TypeMismatch, "explain takes a Model or a Graph"),
        (lambda: cauce.explain(MODEL), GraphError, "no value was given for image"),
        (lambda: cauce.explain(MODEL, X[0]), ShapeError, "image"),
        (lambda: cauce.explain(MODEL, X.astype(np.float64)), TypeMismatch, "image"),
        (lambda: cauce.explain(MODEL, {"picture": X}), GraphError, "picture"),
        (lambda: cauce.explain(MODEL.graph, X), GraphError, r"conv1\.weight"),
        (lambda: cauce.explain(MODEL.graph, X, training=True), GraphError, "as it stands"),
        (lambda: cauce.explain(MODEL, X, training="yes"), AttributeMistake, "True or False"),
        (lambda: cauce.explain(MODEL, X, layers=["conv9"]), GraphError, "called 'conv9'"),
        (lambda: cauce.explain(MODEL, X, layers="conv1"), TypeMismatch, "a list of names"),
        (lambda: explained().text("conv2", (0,)), GraphError, "computes no value called 'conv2'"),
        (lambda: explained().text("image", (0,)), GraphError, "image is an input"),
        (lambda: explained().text("flatten1", (0, 0)), UnsupportedOp, "flatten"),
        (lambda: explained().text("conv1", (0, 0)), OutOfRange, "no element"),
        (lambda: explained().text("conv1", (0, 0, 0, 0), "z"), GraphError, "no result called 'z'"),
        (lambda: explained().text(3, (0,)), TypeMismatch, "named by text"),
        (lambda: explained().save("absent/net.html"), MissingFile, "no folder"),
    ],
)
def test_mistakes(call: Any, error: type[CauceError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.fix


def test_what_is_too_large_is_refused_before_it_runs() -> None:
    large = cauce.models.lenet5.init(image=("N", 1, 28, 28))
    x = np.zeros((2, 1, 28, 28), np.float32)
    with pytest.raises(ShapeError, match=r"lenet5 has [\d,]+ operations with this input") as caught:
        cauce.explain(large, x)
    assert "layers=['conv1'], one image, x[:1]" in str(caught.value)
    found = cauce.explain(large, x[:1], layers=["c1"])
    assert [node.path for node in found.nodes] == ["c1"]
    assert found.text("c3", (0, 0, 0, 0)).startswith("y[0,0,0,0] of conv2d")
    huge = cauce.models.resnet18.init(image=("N", 3, 224, 224))
    with pytest.raises(ShapeError, match="resnet18 has"):
        cauce.explain(huge, np.zeros((1, 3, 224, 224), np.float32), layers=["fc"])


def test_layers_are_chosen_by_patterns() -> None:
    found = cauce.explain(MODEL, X, layers=["conv*", "softmax1"])
    assert [node.path for node in found.nodes] == ["conv1", "softmax1"]
    told = data_of(found.page().html(), "nodes")
    assert [entry["path"] for entry in told] == ["conv1", "softmax1"]
