"""The command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cauce
from cauce.commands.main import main
from cauce.ir.version import VERSION
from cauce.support import support_table

from .nets import small


@pytest.fixture
def model(tmp_path: Path) -> cauce.Model:
    made = small.init(image=("N", 1, 6, 6), seed=3)
    made.save(tmp_path / "net.safetensors")
    return made


def test_show_prints_the_layers_or_the_graph(model, tmp_path: Path, capsys) -> None:
    path = str(tmp_path / "net.safetensors")
    assert main(["show", path]) == 0
    assert capsys.readouterr().out == f"{model.summary(print_fn=None)}\n"
    assert main(["show", "--graph", path]) == 0
    text = capsys.readouterr().out
    assert cauce.parse(text, model.graph.constants()).same_as(model.graph)


def test_export_writes_the_inference_graph(model, tmp_path: Path, capsys) -> None:
    onnx = pytest.importorskip("onnx")
    target = tmp_path / "net.onnx"
    assert main(["export", str(tmp_path / "net.safetensors"), str(target)]) == 0
    assert capsys.readouterr() == ("", "")
    exported = onnx.load(target)
    assert [value.name for value in exported.graph.output] == list(model.graph.outputs)
    assert "conv1.weight" in {tensor.name for tensor in exported.graph.initializer}


def test_ops_prints_the_table(capsys) -> None:
    assert main(["ops"]) == 0
    assert capsys.readouterr().out == f"{support_table()}\n"


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"cauce {VERSION}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nett.safetensors"], "there is no file nett.safetensors"),
        (["show", "text.txt"], "text.txt"),
        (["export", "net.safetensors", "missing/net.onnx"], "there is no folder missing"),
    ],
)
def test_mistakes_go_to_stderr(
    arguments: list[str], message: str, model, tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "text.txt").write_text("no model")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("cauce: ") and message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [[], ["shwo"], ["show"]])
def test_usage(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: cauce" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    command = [sys.executable, "-m", "cauce", "ops"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
