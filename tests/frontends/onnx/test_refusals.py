"""One error for all that a model has and cauce lacks: operators, attributes, forms."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import cauce
from cauce.ir.errors import UnsupportedOp

from .build import model

node = helper.make_node


def said(proto: object) -> str:
    with pytest.raises(UnsupportedOp) as caught:
        cauce.load_onnx(proto)
    return str(caught.value)


def test_all_forms_are_in_one_error_with_what_lacks_a_rule() -> None:
    """Those behind the first one too: ONNX tells the types of what was refused."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], "stem", auto_pad="ODD"),
        node("Relu", ["a"], ["b"], "act"),
        node("Conv", ["b", "w"], ["c"], "second", auto_pad="ODD"),
        node("MaxPool", ["c"], ["d"], "pool", kernel_shape=[2, 2], pads=[-1, 0, 0, 0]),
        node("Fancy", ["d"], ["e"], "own", domain="my"),
        node("LSTM", ["x"], ["f"], "rnn"),
        node("Relu", ["x"], ["g"], "odd", slope=1),
    ]
    stored = {"w": np.ones((2, 2, 1, 1), np.float32)}
    text = said(model(nodes, {"x": ("N", 2, 8, 8)}, ["e", "f", "g"], stored))
    for line in (
        "2 operators that cauce does not import, in 2 of its 7 nodes",
        "1 attributes that ONNX does not have in this opset",
        "2 forms of operators that it does not have, in 3 nodes",
        "1 x my.Fancy (opset ?): own",
        "1 x LSTM (opset 18): rnn",
        "1 x Relu (opset 18) with the attribute slope: odd",
        "2 x Conv (opset 18): stem, second: auto_pad 'ODD' is no padding",
        "1 x MaxPool (opset 18): pool: pads [-1, 0, 0, 0] for a kernel of [2, 2]",
    ):
        assert line in text, text
    assert "add-an-onnx-op.md" in text


def test_one_form_of_one_node_keeps_its_place_and_its_remedy() -> None:
    nodes = [node("Neg", ["x"], ["a"]), node("Flatten", ["a"], ["b"], "flat", axis=1)]
    nodes += [node("Scan", ["b"], ["y"], "scan", num_scan_inputs=1)]
    proto = model(nodes, {"x": ("N", 2, 8, 8)}, ["y"], opset=8)
    text = said(proto)
    assert "Scan of opset 8: it scans batches of sequences" in text
    assert "Scan-8 scan:3" in text and "fix: export the model with opset 9" in text


def test_forms_alone_with_one_remedy_keep_it() -> None:
    nodes = [node("Scan", ["x"], [f"y{i}"], f"scan{i}", num_scan_inputs=1) for i in range(5)]
    text = said(model(nodes, {"x": ("N", 2)}, ["y0"], opset=8))
    assert "uses 1 forms of operators that it does not have, in 5 nodes" in text
    assert "5 x Scan (opset 8): scan0, scan1, scan2, ...: it scans batches" in text
    assert "fix: export the model with opset 9" in text


def test_what_follows_from_a_refusal_is_not_listed() -> None:
    """What has no type is passed over, and so is what stand-ins do not fit."""
    nodes = [
        node("Fancy", ["x"], ["a"], "own", domain="my"),
        node("Add", ["a", "x"], ["b"], "add"),
        node("Reshape", ["x", "a"], ["c"], "shape"),
        node("Conv", ["c", "c"], ["d"], "conv", auto_pad="ODD"),
    ]
    text = said(model(nodes, {"x": ("N", 2)}, ["b", "d"]))
    assert "1 x my.Fancy" in text
    assert "add" not in text.partition("fix:")[0] and "forms" not in text


def test_what_branches_and_functions_lack_is_listed_with_its_place() -> None:
    inner = helper.make_graph(
        [node("Fancy", ["x"], ["y"], "own", domain="my")],
        "then",
        [],
        [helper.make_empty_tensor_value_info("y")],
    )
    nodes = [
        node("If", ["yes"], ["a"], "choice", then_branch=inner, else_branch=inner),
        node("LSTM", ["x"], ["b"], "rnn"),
    ]
    text = said(model(nodes, {"x": ("N", 2)}, ["a", "b"], {"yes": np.bool_(True)}))
    assert "1 x my.Fancy (opset ?): choice: own" in text and "1 x LSTM" in text


def test_a_list_without_end_is_cut() -> None:
    nodes = [node(f"Own{i}", ["x"], [f"y{i}"], domain="my") for i in range(99)]
    text = said(model(nodes, {"x": ("N", 2)}, ["y0"]))
    assert "and 49 more" in text and "99 operators" in text
