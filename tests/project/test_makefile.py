"""The targets of the Makefile say what they do where it takes time."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .house import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def commands(target: str, environment: Path) -> list[str]:
    """What make would do, with an environment that is not there yet."""
    done = subprocess.run(
        ["make", "--dry-run", f"VENV={environment}", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.replace("\\\n", "").splitlines()


def place(lines: list[str], part: str) -> int:
    return next(number for number, line in enumerate(lines) if part in line)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_installing_is_announced(target: str, tmp_path: Path) -> None:
    lines = commands(target, tmp_path / "none")
    said = place(lines, 'echo "making a virtual environment')
    assert said < place(lines, "-m venv")
    said = place(lines, 'echo "installing cauce')
    assert said < place(lines, "pip install")
    assert "minute" in lines[said]


@pytest.mark.parametrize(
    ("target", "work"), [("demo", "examples/demo.py"), ("test", '-m "not slow"')]
)
def test_the_time_of_the_work_is_said_before_it(target: str, work: str, tmp_path: Path) -> None:
    lines = commands(target, tmp_path / "none")
    assert "minute" in lines[place(lines, work) - 1]
    assert lines[place(lines, work) - 1].startswith("echo")
