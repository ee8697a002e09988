"""The page on fine-tuning runs as it stands, on photographs and weights that the test makes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from safetensors.numpy import save_file

import cauce
from cauce import models
from cauce.ir import Array
from tests.project.house import ROOT
from tests.stand_ins import TorchTensor

PAGE = (ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
COLOURS = {"daisy": (220, 220, 90), "rose": (190, 40, 60), "tulip": (90, 50, 170)}


def pretrained() -> dict[str, Array]:
    """By torchvision's names, with the counters of its batch norms; nobody trained them."""
    values = models.resnet18.init(image=("N", 3, 64, 64), seed=11).state_dict()
    rng = np.random.default_rng(0)
    for name in list(values):
        layer, _, part = name.rpartition(".")
        if part == "running_mean":
            values[name] = rng.normal(0, 0.1, values[name].shape).astype(np.float32)
            values[f"{layer}.num_batches_tracked"] = np.array(9)
    return values


def stand_in_for_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two modules of the first block, with what it uses of them."""

    def resnet18(weights: str) -> SimpleNamespace:
        assert weights == "DEFAULT"
        tensors = {name: TorchTensor(array) for name, array in pretrained().items()}
        return SimpleNamespace(state_dict=lambda: tensors)

    def save(tensors: dict[str, TorchTensor], path: str) -> None:
        save_file({name: np.asarray(tensor) for name, tensor in tensors.items()}, path)

    for name, contents in (
        ("torchvision", {"models": SimpleNamespace(resnet18=resnet18)}),
        ("safetensors.torch", {"save_file": save}),
    ):
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)


def take_photographs(folder: Path) -> None:
    """Noise around the colour of each class, in files of several sizes and formats."""
    rng = np.random.default_rng(1)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(16):
            pixels = rng.normal(colour, 40, (70 + number, 90, 3)).clip(0, 255).astype(np.uint8)
            ending = "jpg" if number % 2 else "png"
            Image.fromarray(pixels).save(folder / name / f"{number}.{ending}")


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    monkeypatch.chdir(tmp_path)
    stand_in_for_torchvision(monkeypatch)
    take_photographs(tmp_path / "flowers")
    names: dict[str, Any] = {"__name__": "page"}
    held: list[dict[str, Array]] = []
    for number, block in enumerate(blocks):
        code = compile(block, f"fine-tuning.md, block {number + 1}", "exec", dont_inherit=True)
        exec(code, names)
        if "model" in names:
            held.append(names["model"].state_dict())
    loaded, replaced, first, second, _ = held

    given = pretrained()
    wanted = {f"backbone.{name}" for name in given if not name.endswith("batches_tracked")}
    assert loaded.keys() == wanted
    for name in wanted:
        np.testing.assert_array_equal(loaded[name], given[name.removeprefix("backbone.")])
    twin = names["flower_net"].init(image=("N", 3, 64, 64), dtype="u8")
    models.load_torch_weights(twin, names["weights"], prefix="backbone")
    assert all(np.array_equal(twin.values[name], array) for name, array in loaded.items())

    head = {"backbone.fc.weight", "backbone.fc.bias"}
    assert {n for n in loaded if loaded[n].shape != replaced[n].shape} == head
    assert moved(replaced, first) == head
    assert moved(first, second) == {name for name in wanted if "running" not in name}

    epochs = names["history"]
    best = max(epochs, key=lambda epoch: epoch.validation["accuracy"])  # the first of equals
    assert names["accuracy"] == pytest.approx(best.validation["accuracy"])
    assert names["accuracy"] > 0.9
    again = names["trainer"].evaluate(names["test"])
    assert again["loss"] == pytest.approx(best.validation["loss"], rel=1e-5)

    images, logits = names["test"].images[:8], names["logits"]
    session = onnxruntime.InferenceSession("flowers.onnx")
    (elsewhere,) = session.run(None, {"image": images})
    np.testing.assert_allclose(elsewhere, logits, rtol=1e-3, atol=1e-3)
    back = cauce.compile(cauce.load("flowers.safetensors"))
    np.testing.assert_array_equal(back(images), logits)


def moved(before: dict[str, Array], after: dict[str, Array]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_the_table_names_the_heads() -> None:
    """Each is what ``replace_head`` replaces, and the networks are all that torchvision has."""
    rows = re.findall(r"^\| (`.*?) \| `([\w.]+)`.*? \| .* \|$", PAGE, re.MULTILINE)
    named = 0
    for networks, head in rows:
        for name in re.findall(r"`([a-z]\w+)", networks):
            graph = getattr(models, name).graph(image=("N", 3, 64, 64))
            *_, last = [v.name for v in graph.inputs if v.name.endswith(".weight")]
            assert last == f"{head}.weight", name
            named += 1
    assert named >= 6
