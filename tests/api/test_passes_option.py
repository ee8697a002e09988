"""``passes=`` means in training and in the export what it means in ``compile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Graph
from cauce.ir.errors import TypeMismatch
from cauce.ir.ops.normalize import BatchNormTrain
from cauce.ir.pass_manager import Pass
from cauce.passes.decompose import Decompose
from cauce.passes.pipelines import INFERENCE, TRAINING

from .nets import shapes

SEEN: list[tuple[bool, bool]] = []


class Look(Pass):
    """Notes of each graph whether it updates anything, and whether it holds a composite norm."""

    name = "look"

    def run(self, graph: Graph) -> bool:
        norms = any(isinstance(node.op, BatchNormTrain) for node in graph.nodes)
        SEEN.append((bool(graph.updates), norms))
        return False


@cauce.network
def net(image):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 4, 3, bias=False)))
    return nn.linear(nn.flatten(x), 3)


def model() -> cauce.Model:
    return net.init(image=("N", 1, 6, 6), seed=1)


@pytest.fixture(autouse=True)
def _none_seen() -> None:
    SEEN.clear()


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_a_step_of_training_runs_through_the_passes(backend: str) -> None:
    data, losses = shapes(8), []
    for passes in (None, (*TRAINING, Look()), (*TRAINING, Decompose(), Look()), (Look(),)):
        options: dict[str, Any] = {"backend": backend, "passes": passes}
        step = cauce.train_step(model(), "cross_entropy", cauce.SGD(0.1), **options)
        state = step.init()
        losses.append([step(state, (data.images, data.labels)).loss for _ in range(3)])
    assert SEEN == [(True, True), (True, False), (True, True)]
    assert losses[0][0] > losses[0][2]
    for other in losses[1:]:
        np.testing.assert_allclose(other, losses[0], rtol=1e-4)


def test_a_trainer_hands_them_on() -> None:
    trainer = cauce.Trainer(model(), passes=[*TRAINING, Look()])
    assert SEEN == [(True, True)]
    trainer.fit(shapes(8), 1, progress=False)


def test_an_export_runs_through_the_passes(tmp_path: Path) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    trained, x, kinds, results = model(), shapes(5).images, [], []
    for passes in ((), (*INFERENCE, Look())):
        path = tmp_path / f"{len(kinds)}.onnx"
        cauce.export_onnx(trained, path, passes=passes)
        kinds.append({node.op_type for node in onnx.load(path).graph.node})
        results.append(runtime.InferenceSession(path).run(None, {"image": x})[0])
    assert SEEN == [(False, False)]
    assert "BatchNormalization" in kinds[0] and "BatchNormalization" not in kinds[1]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-5)
    assert trained.graph.same_as(model().graph)


def test_a_graph_with_its_values_too(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    trained = model()
    values = {v.name: trained.values[v.name] for v in trained.graph.inputs if v.name != "image"}
    cauce.export_onnx(trained.graph, tmp_path / "g.onnx", values, passes=[Look()])
    assert SEEN == [(False, False)]


@pytest.mark.parametrize("passes", [Look(), [Look], "inference"], ids=str)
def test_what_is_no_list_of_passes(passes: Any, tmp_path: Path) -> None:
    for use in (
        lambda: cauce.compile(model(), passes=passes),
        lambda: cauce.Trainer(model(), passes=passes),
        lambda: cauce.train_step(model(), "cross_entropy", cauce.SGD(0.1), passes=passes),
        lambda: cauce.export_onnx(model(), tmp_path / "no.onnx", passes=passes),
    ):
        with pytest.raises(TypeMismatch, match="passes= takes a list of passes"):
            use()
