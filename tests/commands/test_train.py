"""``cauce train``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import cauce

from ..api.nets import shapes
from .calls import Call


@pytest.fixture
def data(folder: Path) -> Path:
    """Images of three classes, data.npz in the folder."""
    made = shapes()
    np.savez(folder / "data.npz", images=made.images, labels=made.labels)
    return folder / "data.npz"


ARGUMENTS = ("train", "net.py:small", "--data", "data.npz", "--backend", "numpy", "--epochs")


def test_a_network_is_trained_and_saved(data: Path, tmp_path: Path, call: Call) -> None:
    target = tmp_path / "out.safetensors"
    done = call(
        *ARGUMENTS, 2, "--option", "classes=4", "-o", target, "--history", tmp_path / "h.csv"
    )
    assert done.code == 0, done.err
    assert [line.split("  ")[0] for line in done.out.splitlines()] == ["epoch 1", "epoch 2"]
    assert "validation accuracy" in done.out
    model = cauce.load(target)
    assert [str(v.type) for v in model.graph.outputs.values()] == ["f32[N,4]"]
    assert len(list(csv.DictReader((tmp_path / "h.csv").open()))) == 2


def test_shape_and_classes_are_those_of_the_data(data: Path, tmp_path: Path, call: Call) -> None:
    target = tmp_path / "out.safetensors"
    found = call(*ARGUMENTS, 1, "-o", target, "--json").json
    assert found["output"] == str(target) and len(found["epochs"]) == 1
    model = cauce.load(target)
    (image,) = model.graph.inputs_with(cauce.ir.Role.DATA)
    assert str(image.type) == "f32[N,1,6,6]"
    assert [str(v.type) for v in model.graph.outputs.values()] == ["f32[N,3]"]


def test_it_is_the_training_of_the_library(data: Path, tmp_path: Path, call: Call) -> None:
    from cauce.commands.model_argument import _module  # the network of the file

    target = tmp_path / "out.safetensors"
    options = ("--validate", 0, "--optimizer", "adam", "--lr", 0.01, "--clip", 1, "--seed", 4)
    assert call(*ARGUMENTS, 2, *options, "--schedule", "cosine", "-o", target).code == 0
    made = shapes()
    model = _module("net.py").small.init(image=("N", 1, 6, 6), seed=4)
    trainer = cauce.Trainer(
        model, optimizer=cauce.Adam(0.01), clip=cauce.ClipNorm(1.0), seed=4, backend="numpy"
    )
    trainer.fit(made, 2, lr=cauce.training.Cosine(0.01, 2), progress=False)
    found = cauce.load(target).values
    assert all(np.array_equal(found[name], array) for name, array in model.values.items())


def test_a_run_goes_on(data: Path, tmp_path: Path, call: Call) -> None:
    kept = ("--checkpoints", tmp_path / "runs")
    assert call(*ARGUMENTS, 1, *kept).code == 0
    again = call(*ARGUMENTS, 1, *kept)
    assert again.code == 1 and "holds checkpoints of another run" in again.err
    resumed = call(*ARGUMENTS, 3, *kept, "--resume", "--history", tmp_path / "h.json")
    assert resumed.code == 0, resumed.err
    epochs = json.loads((tmp_path / "h.json").read_text())["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]


def test_a_saved_model_is_trained_further(data: Path, tmp_path: Path, call: Call) -> None:
    target = tmp_path / "out.safetensors"
    done = call(
        "train", "net.safetensors", *ARGUMENTS[2:], 1, "--augment", "flip,crop", "-o", target
    )
    assert done.code == 0, done.err
    weights = [cauce.load(path).values["conv1.weight"] for path in ("net.safetensors", target)]
    assert not np.array_equal(*weights)


OWN = """\
import cauce
from cauce import nn
@cauce.network
def own(image, classes=3):
    return nn.linear(nn.flatten(nn.normalize(image, 0.3, 0.2)), classes)
"""


def test_bytes_become_floats(folder: Path, tmp_path: Path, call: Call) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 6, 6), dtype=np.uint8)
    np.savez("bytes.npz", images=images, labels=np.arange(12) % 3)
    arguments = (*ARGUMENTS[:3], "bytes.npz", *ARGUMENTS[4:], 1, "--validate", 0)
    done = call(*arguments, "-o", tmp_path / "out.safetensors")
    assert done.code == 0, done.err
    told = cauce.load(tmp_path / "out.safetensors").preprocessing
    assert told is not None and told.scale == pytest.approx(1 / 255)
    assert np.ravel(told.mean) == pytest.approx([images.mean() / 255])
    assert np.ravel(told.std) == pytest.approx([images.std() / 255])
    # What a model knows is not measured again, and what its graph does is not done twice.
    done = call(
        *("train", tmp_path / "out.safetensors", *arguments[2:], "--augment", "flip"),
        *("-o", tmp_path / "again.safetensors"),
    )
    assert done.code == 0, done.err
    assert cauce.load(tmp_path / "again.safetensors").preprocessing == told
    (folder / "own.py").write_text(OWN)
    done = call("train", "own.py:own", *arguments[2:], "-o", tmp_path / "own.safetensors")
    assert done.code == 0, done.err
    found = cauce.load(tmp_path / "own.safetensors").preprocessing
    assert found is not None and found.normalized_in_graph and found.mean in (0.3, (0.3,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nothing"], "there is no data set nothing"),
        (["-o", "out.onnx"], "does not end in .safetensors"),
        (["-o", "missing/out.safetensors"], "there is no folder missing"),
        (["--history", "h.txt"], "does not end in .csv or .json"),
        (["--resume"], "add --checkpoints"),
        (["--checkpoints", __file__], "is a file, and checkpoints lie in a folder"),
        (["--validate", "2"], "splits 48 images"),
        (["--lr", "-1"], "lr"),
    ],
)
def test_what_is_refused_before_training(
    arguments: list[str], message: str, data: Path, call: Call
) -> None:
    done = call(*ARGUMENTS, 1, *arguments)
    assert done.code == 1 and message in done.err and done.out == ""


def test_what_was_trained_until_an_interruption_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    target = tmp_path / "out.safetensors"
    train_on = cauce.Trainer._train_on
    count = iter(range(100))

    def interrupted(trainer: object, *arguments: object) -> None:
        if next(count) == 2:
            raise KeyboardInterrupt
        train_on(trainer, *arguments)

    monkeypatch.setattr(cauce.Trainer, "_train_on", interrupted)
    done = call(*ARGUMENTS, 5, "-o", target, "--validate", 0)
    assert done.code == 130 and cauce.load(target).name == "small"
