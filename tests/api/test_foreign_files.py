"""Files that are no model, or no longer one: what is said, and that nothing raw comes through."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir.errors import CauceError, DataError, GraphError
from cauce.ir.tensors_file import load_tensors, save_tensors
from cauce.training import Checkpoints

DATA = cauce.Dataset(np.ones((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1]), ("a", "b"))


@cauce.network
def net(image):  # type: ignore[no-untyped-def]
    return nn.linear(nn.flatten(image), 2)


def new() -> cauce.Model:
    return net.init(image=("N", 1, 2, 2))


@pytest.mark.parametrize(
    ("name", "content", "what", "fix"),
    [
        ("resnet18.pth", b"PK\3\4", "is a file of PyTorch", "torch.load('{}', map_location='cpu'"),
        ("net.PT", b"\x80\2", "is a file of PyTorch", "weights_only=True"),
        ("net.onnx", b"\x08\x0a", "is an ONNX file", "cauce.load_onnx('{}') reads it"),
        ("net.npz", b"PK\3\4", "is a file of NumPy", "np.load('{}')"),
        ("net.keras", b"PK\3\4", "is a file of Keras", "let Keras read it"),
        ("net.safetensors", b"PK\3\4", "is not a safetensors file, or is damaged", "save wrote"),
    ],
)
def test_files_of_others_are_named(
    tmp_path: Path, name: str, content: bytes, what: str, fix: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (cauce.load, lambda path: cauce.models.load_torch_weights(new(), path)):
        with pytest.raises(DataError, match=what) as caught:
            read(path)
        assert fix.format(path) in str(caught.value.fix)


def test_the_remedy_for_an_onnx_file_works(tmp_path: Path) -> None:
    path, other = tmp_path / "net.onnx", net.init(image=("N", 1, 2, 2), seed=5)
    cauce.export_onnx(other, path)
    with pytest.raises(DataError) as caught:
        cauce.load(path)
    loaded = eval(str(caught.value.fix).removesuffix(" reads it"), {"cauce": cauce})
    for parameter in other.parameters:
        np.testing.assert_array_equal(loaded.values[parameter.name], other.values[parameter.name])


def test_the_remedy_for_a_file_of_numpy_works(tmp_path: Path) -> None:
    path, model, other = tmp_path / "net.npz", new(), net.init(image=("N", 1, 2, 2), seed=5)
    np.savez(path, **other.state_dict())  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        cauce.load(path)
    eval(str(caught.value.fix).partition(": ")[2], {"model": model, "np": np})
    np.testing.assert_array_equal(
        model.state_dict()["linear1.weight"], other.state_dict()["linear1.weight"]
    )


def rewritten(path: Path, change: Callable[[dict[str, str]], object]) -> None:
    """The same file with other metadata."""
    arrays, metadata = load_tensors(path)
    change(metadata)
    save_tensors(path, arrays, metadata)


@pytest.mark.parametrize("key", ["graph", "training_graph"])
def test_a_model_file_with_a_misspelt_key(tmp_path: Path, key: str) -> None:
    path = tmp_path / "net.safetensors"
    new().save(path)
    rewritten(path, lambda metadata: metadata.update({f"{key}s": metadata.pop(key)}))
    with pytest.raises(GraphError, match=rf"net.safetensors has no '{key}' among .*'{key}s'"):
        cauce.load(path).training_graph  # noqa: B018


@pytest.mark.parametrize("frozen", ["linear1.weight", "3", "[1]", "{}"])
def test_frozen_names_that_are_none(tmp_path: Path, frozen: str) -> None:
    path = tmp_path / "net.safetensors"
    new().save(path)
    rewritten(path, lambda metadata: metadata.update(frozen=frozen))
    with pytest.raises(GraphError, match="'frozen' is no list of names"):
        cauce.load(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = Checkpoints(tmp_path_factory.mktemp("runs"))
    cauce.Trainer(new(), backend="numpy").fit(DATA, 1, checkpoints=runs, progress=False)
    return runs.paths()[-1]


def progress(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, str]], None]:
    def rewrite(metadata: dict[str, str]) -> None:
        content = json.loads(metadata["progress"])
        change(content)
        metadata["progress"] = json.dumps(content)

    return rewrite


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.pop("progress"),
        lambda metadata: metadata.update(progress="{"),
        lambda metadata: metadata.update(progress="[1, 2]"),
        lambda metadata: metadata.update(progress="null"),
        *(
            progress(lambda content, key=key: content.pop(key))
            for key in ("position", "history", "made_with", "call")
        ),
        progress(lambda content: content["position"].update(epok=1)),
        progress(lambda content: content.update(position=None)),
        progress(lambda content: content["history"][0].pop("seconds")),
        progress(lambda content: content.update(history=[1])),
        progress(lambda content: content.update(made_with=3)),
    ],
)
@pytest.mark.parametrize("by", ["file", "folder"])
def test_a_damaged_checkpoint(
    checkpoint: Path, tmp_path: Path, change: Callable[[dict[str, str]], object], by: str
) -> None:
    path = Path(shutil.copy(checkpoint, tmp_path))
    rewritten(path, change)
    trainer = cauce.Trainer(new(), backend="numpy")
    with pytest.raises(CauceError, match="is damaged"):
        trainer.resume(path if by == "file" else tmp_path)
    assert trainer.history.epochs == []
    trainer.fit(DATA, 1, progress=False)  # as if nothing had been tried
    assert len(trainer.history.epochs) == 1


def test_files_of_a_later_version_are_refused_as_such(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    new().save(path)
    arrays, metadata = load_tensors(path)
    later = {"format": "cauce-model-2", "model": "cauce-model-2", "cauce": "3.1.0"}
    for changed in (later, {"model": "cauce-model-12", "cauce": "3.1.0"}):
        save_tensors(path, arrays, {**metadata, **changed})
        with pytest.raises(DataError, match=r"by cauce 3\.1\.0 in the format 'cauce-model-"):
            cauce.load(path)
    save_tensors(path, arrays, {**metadata, "format": "cauce-checkpoint-2", "cauce": "3.1.0"})
    with pytest.raises(DataError, match=r"3\.1\.0 in the format 'cauce-checkpoint-2'"):
        cauce.Trainer(new()).resume(path)
    save_tensors(path, arrays, {**metadata, "format": "cauce-model-1b", "model": "other-2"})
    with pytest.raises(GraphError, match="holds no cauce model"):
        cauce.load(path)
