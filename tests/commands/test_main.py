"""The command line as a whole: usage, errors, exit codes, pipes."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from cauce.commands import main as command_line
from cauce.commands.main import COMMANDS, main
from cauce.ir.version import VERSION

from .calls import Call, process


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"cauce {VERSION}\n"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if f"    {name} " not in out] == []
    assert "exit codes:" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    described = import_module(f"cauce.commands.{COMMANDS[name][0]}").__doc__
    assert " ".join(described.split()) in out and f"usage: cauce {name}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["shwo"], "invalid choice: 'shwo'"),
        (["show"], "MODEL"),
        (["show", "a.onnx", "--jso"], "unrecognized arguments: --jso"),
        (["show", "a.onnx", "--shape", "image=N,-3"], "'-3' is no size"),
        (["show", "a.onnx", "--shape", "image=N,0"], "'0' is no size"),
        (["show", "a.onnx", "--shape", ""], "image=N,3,224,224"),
        (["show", "a.onnx", "--batch", "x"], "'x' is not a number from 1 on"),
        (["show", "a.onnx", "--option", "classes"], "classes=10"),
        (["plan", "a.onnx", "--size", "1"], "N=1"),
    ],
)
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "usage: cauce" in err and message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nett.safetensors"], "there is no file nett.safetensors"),
        (["show", "nett.safetensors"], "did you mean net.safetensors"),
        (["show", "resnet18"], "cauce.models:resnet18"),
        (["show", "."], "is a folder"),
        (["show", "text.txt"], "text.txt is not a safetensors file"),
        (["show", "text.onnx"], "text.onnx"),
        (["export", "net.safetensors", "missing/net.onnx"], "there is no folder missing"),
    ],
)
def test_mistakes_go_to_stderr(
    arguments: list[str], message: str, folder: Path, call: Call
) -> None:
    for name in ("text.txt", "text.onnx"):
        (folder / name).write_text("no model")
    done = call(*arguments)
    assert done.code == 1
    assert done.out == "" and done.err.startswith("cauce: ") and message in done.err
    assert "Traceback" not in done.err


def test_faults_of_cauce_show_where_they_are(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    def fails(options: object) -> None:
        raise AssertionError("a fault")

    monkeypatch.setattr("cauce.commands.ops.run", fails)
    with pytest.raises(AssertionError, match="a fault"):
        call("ops")


def test_interrupted(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cauce.commands.ops.run", interrupted)
    done = call("ops")
    assert (done.code, done.out, done.err) == (130, "", "cauce: interrupted\n")


def test_warnings_are_lines_of_the_program(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    def warns(options: object) -> None:
        warnings.warn("o\x1bh", stacklevel=1)

    monkeypatch.setattr("cauce.commands.ops.run", warns)
    assert call("ops").err == "cauce: warning: o\\x1bh\n"


def test_only_the_module_of_the_command_is_imported() -> None:
    script = (
        "import sys; from cauce.commands.main import main; main(['ops', 'relu']); "
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1].split()
    own = {name for name in loaded if name.startswith("cauce.commands.")}
    assert own == {f"cauce.commands.{name}" for name in ("main", "ops", "output")}
    assert "rich" not in loaded and command_line is not None


def test_help_imports_nothing_of_the_compiler() -> None:
    script = (
        "import sys\nfrom cauce.commands.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    loaded = done.stdout.splitlines()[-1].split()
    assert {name for name in loaded if name.startswith("cauce")} == {
        "cauce",
        "cauce.commands",
        "cauce.commands.main",
    }
    assert "numpy" not in loaded


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
@pytest.mark.parametrize("arguments", [["ops"], ["--help"], ["ops", "--json"]])
def test_a_reader_that_has_seen_enough_ends_it_quietly(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "cauce", *arguments]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}  # argparse hides what it meets when it writes
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=buffered, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_an_error() -> None:
    command = [sys.executable, "-m", "cauce", "ops"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("cauce: ") and len(done.stderr.splitlines()) == 1


def test_names_that_an_encoding_lacks() -> None:
    done = process("ops", "sum", PYTHONIOENCODING="ascii")
    assert done.code == 0
    missing = process("show", "n\u00e9t.safetensors", PYTHONIOENCODING="ascii")
    assert missing.code == 1 and "n\\xe9t.safetensors" in missing.err
