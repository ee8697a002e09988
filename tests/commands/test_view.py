"""``cauce view``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from .calls import Call


@pytest.mark.parametrize(
    "network",
    [("net.safetensors",), ("net.onnx",), ("net.py:small", "--shape", "image=N,1,6,6")],
)
def test_any_model_becomes_a_page(
    network: tuple[str, ...], folder: Path, tmp_path: Path, call: Call
) -> None:
    file = tmp_path / "net.html"
    found = call("view", *network, "-o", file, "--backend", "numpy", "--json").json
    assert found["file"] == str(file) and found["bytes"] == file.stat().st_size
    assert found["stages"][0] == "network" and "fold_batch_norm" in found["stages"]
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    out = call("view", *network, "-o", file, "--backend", "numpy").out
    assert out.startswith(f"{file}: ") and out.endswith("stages\n")


def test_a_profile_of_arrays(folder: Path, tmp_path: Path, call: Call) -> None:
    np.save(tmp_path / "images.npy", np.zeros((5, 1, 6, 6), np.float32))
    file = tmp_path / "net.html"
    options = ("-o", file, "--no-code", "--threads", 1)
    found = call("view", "net.safetensors", tmp_path / "images.npy", "--profile", *options)
    assert found.code == 0 and "the sum of the kernels" in file.read_text(encoding="utf-8")
    assert '"N = 5"' in file.read_text(encoding="utf-8")
    assert 'id="data-code-llvm"' not in file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_of_a_training_step(folder: Path, tmp_path: Path, call: Call) -> None:
    file = tmp_path / "step.html"
    found = call("view", "net.safetensors", "--train", "cross_entropy", "-o", file, "--json").json
    assert found["stages"][:2] == ["network", "training step"] and found["stages"][-1] == "kernels"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("net.safetensors",), 2, "-o"),
        (("none.onnx", "-o", "x.html"), 1, "there is no file none.onnx"),
        (("net.safetensors", "-o", "none/x.html"), 1, "there is no folder none"),
        (("net.safetensors", "a.npy", "-o", "x.html"), 1, "add --profile"),
        (("net.safetensors", "--train", "mse", "--profile", "-o", "x.html"), 1, "leave one of"),
        (("net.safetensors", "--train", "none", "-o", "x.html"), 1, "none"),
        (("net.safetensors", "-o", "net.safetensors"), 1, "end it in .html"),
    ],
)
def test_mistakes(
    arguments: tuple[str, ...],
    code: int,
    text: str,
    folder: Path,
    call: Call,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if code == 2:
        with pytest.raises(SystemExit) as ended:
            call("view", *arguments)
        assert ended.value.code == 2 and text in capsys.readouterr().err
    else:
        found = call("view", *arguments)
        assert found.code == code and text in found.err
    assert not (folder / "x.html").exists()


def test_without_igraph_it_says_what_to_install(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    found = call("view", "net.safetensors", "-o", "x.html", "--backend", "numpy")
    assert found.code == 1 and "pip install" in found.err and "igraph" in found.err
    assert not (folder / "x.html").exists()
