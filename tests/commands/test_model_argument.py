"""MODEL: what it may be, and what is said of what it cannot be."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce.commands.model_argument import add_model, read_model

from .calls import SHAPE, Call


def read(*arguments: str) -> cauce.Model:
    """The model that some arguments name."""
    parser = argparse.ArgumentParser()
    add_model(parser)
    return read_model(parser.parse_args(arguments))


def inputs(model: cauce.Model) -> list[str]:
    """The types of what a call takes."""
    return [str(v.type) for v in model.graph.inputs_with(cauce.ir.Role.DATA)]


@pytest.mark.parametrize("name", ["net.safetensors", "net.onnx", "net.py:ready"])
def test_files_and_models_of_python_keep_their_weights(name: str, folder: Path, model) -> None:
    found = read(name)
    assert found.name == "small"
    assert inputs(found) == ["f32[N,1,6,6]"]
    if name != "net.py:ready":
        weight = model.values["conv1.weight"]
        assert any(np.array_equal(weight, array) for array in found.values.values())


@pytest.mark.parametrize("name", ["net.safetensors", "net.onnx", "net.py:ready"])
@pytest.mark.parametrize("shape", ["image=2,1,6,6", "2,1,6,6"])
def test_shapes_fix_symbols(name: str, shape: str, folder: Path) -> None:
    found = read(name, "--shape", shape)
    assert inputs(found) == ["f32[2,1,6,6]"]
    assert [value.type.shape[0] for value in found.graph.outputs.values()] == [2]
    trained = found.training_graph.inputs_with(cauce.ir.Role.DATA)
    assert [str(value.type) for value in trained] == ["f32[2,1,6,6]"]


def test_a_model_with_sizes_leaves_the_other_alone(folder: Path, model) -> None:
    from cauce.sizes import with_sizes

    before = model.graph.to_text()
    model.freeze("conv1.*")
    try:
        twin = with_sizes(model, {"N": 2})
        assert twin.frozen == model.frozen and twin.frozen is not model.frozen
        assert model.graph.to_text() == before and twin.graph.to_text() != before
        twin.load_state_dict(
            {name: array + 1 for name, array in twin.values.items() if array.dtype.kind == "f"},
            strict=False,
        )
        assert not np.array_equal(twin.values["conv1.weight"], model.values["conv1.weight"])
    finally:
        model.unfreeze("conv1.*")


def test_networks_of_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = read("net.py:small", "--shape", SHAPE, "--option", "classes=7", "--seed", "5")
    assert [str(v.type) for v in made.graph.outputs.values()] == ["f32[N,7]"]
    again = read("net.py:small", "--shape", SHAPE, "--option", "classes=7", "--seed", "5")
    other = read("net.py:small", "--shape", SHAPE, "--option", "classes=7")
    weights = [model.values["conv1.weight"] for model in (made, again, other)]
    assert np.array_equal(weights[0], weights[1]) and not np.array_equal(weights[0], weights[2])
    assert read("net.py:plain", "--shape", SHAPE).name == "plain"
    assert capsys.readouterr().out == ""  # what it prints is no result


def test_networks_of_modules(folder: Path) -> None:
    assert read("net:small", "--shape", SHAPE).name == "small"
    assert read("cauce.models:lenet5", "--shape", "N,1,28,28").name == "lenet5"


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["net.py:small"], ["needs the shape of image", "--shape image=N,3,224,224"]),
        (["net.py:smal", "--shape", SHAPE], ["nothing called 'smal'", "did you mean small"]),
        (["net.py:number"], ["net.py:number is 3, not a network"]),
        (["net.py:small", "--shape", "imag=N,1,6,6"], ["imag=N,1,6,6", "did you mean image"]),
        (["net.py:small", "--shape", SHAPE, "--option", "clases=3"], ["did you mean classes"]),
        (["net.py:small", "--shape", "image=N,1"], ["conv2d takes [N, C, H, W]", "net.py:8"]),
        (["net.py:mistaken", "--shape", SHAPE], ["ZeroDivisionError", "net.py:18", "1 / 0"]),
        (["missing.py:small"], ["there is no file missing.py"]),
        (["missing.module:small"], ["there is no module missing.module", "missing.module.py:"]),
        (["net.py"], ["is a file of Python", "name the one: net.py:"]),
        (["cauce.models"], ["is a module, not a model", "cauce.models:resnet18"]),
        (["no.such_file"], ["there is no file no.such_file"]),
        ([""], ["the name of the model is empty"]),
        (["no-module:small"], ["neither a Python file nor a module"]),
        (["net.safetensors", "--option", "classes=3"], ["leave out --option"]),
        (["net.safetensors", "--shape", "image=2,1,5,6"], ["does not fit", "[N, 1, 6, 6]"]),
        (["net.safetensors", "--shape", "image=2,1,6"], ["does not fit"]),
        (["net.safetensors", "--shape", "image=M,1,6,6"], ["does not fit"]),
    ],
)
def test_mistakes(arguments: list[str], messages: list[str], folder: Path, call: Call) -> None:
    done = call("show", *arguments)
    assert done.code == 1 and done.out == ""
    assert [message for message in messages if message not in done.err] == []
    assert "Traceback" not in done.err


def test_files_of_python_that_fail(folder: Path, call: Call, monkeypatch) -> None:
    for name, text, message in (
        ("broken.py", "def f(:\n", "broken.py:1"),
        ("leaves.py", "import sys\nsys.exit(7)\n", "leaves.py:2"),
        ("wants.py", "import no_such_package\n", "No module named 'no_such_package'"),
    ):
        (folder / name).write_text(text)
        done = call("show", f"{name}:f")
        assert done.code == 1 and message in done.err and f"{name} cannot be imported" in done.err
    monkeypatch.setenv("CAUCE_FULL_TRACEBACK", "1")
    with pytest.raises(ModuleNotFoundError):
        call("show", "wants.py:f")


def test_a_file_may_import_the_one_beside_it(folder: Path) -> None:
    below = folder / "below"
    below.mkdir(exist_ok=True)
    (below / "beside.py").write_text("from cauce import nn\n")
    (below / "own.py").write_text("from beside import nn\ndef f(x):\n    return nn.relu(x)\n")
    assert read("below/own.py:f", "--shape", "N,3").name == "f"
