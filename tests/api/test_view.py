"""``cauce.view``: what is on the page of a network."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir.errors import GraphError, MissingFile, TypeMismatch


@cauce.network
def net(image: Any) -> Any:
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 8, 3, padding=1, bias=False)))
    return nn.linear(nn.dropout(nn.global_avg_pool(x), 0.1), 5)


def model() -> cauce.Model:
    return net.init(image=("N", 3, 8, 8), seed=0)


def block(text: str, name: str) -> Any:
    """A block of data of a page, unpacked where it is packed."""
    found = re.search(rf'<script type="([a-z/]+)" id="data-{name}">([^<]*)</script>', text)
    assert found is not None, name
    if found[1] == "application/json":
        return json.loads(found[2])
    return json.loads(zlib.decompress(base64.b64decode(found[2]), -zlib.MAX_WBITS))


def test_a_model_goes_from_the_network_to_the_kernels(tmp_path: Path) -> None:
    image = np.zeros((2, 3, 8, 8), np.float32)
    found = cauce.view(model(), tmp_path / "net.html", inputs=image, backend="llvm", threads=1)
    assert found.stages[0] == "network" and found.stages[-1] == "kernels"
    assert "fold_batch_norm" in found.stages
    assert repr(found) == f"<View of net, inference: {len(found.stages)} stages>"
    text = (tmp_path / "net.html").read_text(encoding="utf-8")
    shown = block(text, "view")
    assert shown["name"] == "net" and dict(shown["facts"])["sizes"] == "N = 2"
    folded = next(stage for stage in shown["stages"] if stage["name"] == "fold_batch_norm")
    (rule,) = (rule for rule in folded["rules"] if rule["fired"])
    assert rule["name"] == "ConvBatchNorm" and "conv(x, w * s" in rule["equation"]
    assert rule["fired"] == [["bn1", 1]]
    kernel = shown["stages"][-1]["set"]["n:relu1"]
    assert kernel["path"] == "conv1" and "tile" in kernel["schedule"] and kernel["choices"]
    rows = {(path, op): seconds for path, op, seconds, _, _ in shown["profile"]["rows"]}
    assert rows[tuple(kernel["row"])] > 0
    for form, word in (("llvm", "define"), ("assembly", "ret")):
        functions = block(text, f"code-{form}")
        assert all(word in functions[name] for name in kernel["functions"])


def test_the_memory_plan_is_that_of_the_program() -> None:
    predict = cauce.compile(model(), "llvm", threads=1)
    shown = block(cauce.view(model(), backend="llvm", threads=1, batch=3).page.html(), "view")
    main = next(plan for plan in shown["memory"] if plan["entry"] == "main")
    assert f"arena of {main['bytes']} bytes" in predict.plan(N=3)
    for buffer in main["buffers"]:
        assert buffer["at"] >= 0 and buffer["at"] + buffer["bytes"] <= main["bytes"]
        assert 0 <= buffer["first"] <= buffer["last"] < len(main["launches"])
        assert buffer["names"]
    for one in main["buffers"]:
        for other in main["buffers"]:
            alive = one["first"] <= other["last"] and other["first"] <= one["last"]
            apart = (
                one["at"] >= other["at"] + other["bytes"] or other["at"] >= one["at"] + one["bytes"]
            )
            assert one is other or not alive or apart or not one["bytes"] or not other["bytes"]


def test_a_training_step_has_its_phases_and_can_be_profiled() -> None:
    step = cauce.train_step(model(), "cross_entropy", cauce.SGD(0.1), "numpy")
    batch = (np.zeros((4, 3, 8, 8), np.float32), np.zeros(4, np.int64))
    found = cauce.view(step, inputs=batch)
    assert found.stages[:2] == ["network", "training step"]
    shown = block(found.page.html(), "view")
    phases = {record["phase"] for record in shown["stages"][1]["set"].values()}
    assert phases == {0, 1, 2}
    assert shown["profile"]["seconds"] > 0 and dict(shown["facts"])["sizes"] == "N = 4"
    with pytest.raises(TypeMismatch, match="compiled already"):
        cauce.view(step, backend="numpy")


def test_a_graph_and_a_given_profile() -> None:
    predict = cauce.compile(model(), "numpy")
    profile = predict.profile(np.zeros((1, 3, 8, 8), np.float32))
    shown = block(cauce.view(model().graph, profile=profile, backend="numpy").page.html(), "view")
    assert shown["kind"] == "graph" and len(shown["profile"]["rows"]) == len(profile)
    assert shown["memory"] == [] and shown["forms"] == []


def test_code_can_be_left_out() -> None:
    text = cauce.view(model(), backend="llvm", threads=1, code=False).page.html()
    assert block(text, "view")["forms"] == [] and 'id="data-code' not in text


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cauce.view(3), TypeMismatch, "view takes a Model, a Graph or a TrainStep, got 3"),  # type: ignore[arg-type]
        (lambda: cauce.view(model(), inputs=[1, 2], backend="numpy"), GraphError, "got 2 arrays"),
        (lambda: cauce.view(model(), "no/net.html", backend="numpy"), MissingFile, "no folder no"),
        (lambda: cauce.view(model(), schedule=1), TypeMismatch, "schedule"),
    ],
)
def test_mistakes(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.slow
def test_resnet50_with_its_code_is_small(tmp_path: Path) -> None:
    resnet = cauce.models.resnet50.init(image=("N", 3, 224, 224))
    cauce.view(resnet, tmp_path / "resnet50.html", backend="llvm")
    assert 300_000 < (tmp_path / "resnet50.html").stat().st_size < 10_000_000
