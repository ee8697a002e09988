"""Follows a recipe of ``docs/recipes`` to the letter: ``python -m tests.project.recipes NAME``.

A step is a sentence right before a block of code, in one of these forms; all else is prose::

    At the end of `FILE`:
    A new file, `FILE`:
    In `FILE`, after the line `LINE`:            (or before it)
    Run:
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .house import ROOT

RECIPES = ROOT / "docs" / "recipes"
# How a line begins that is meant as a step.
BEGINNING = re.compile(
    r"^(?:Run:|At the end of `|A new file, `|In `[^`]+`, (?:after|before) )", re.M
)
_STEP = re.compile(
    r"^(?:(?P<run>Run)"
    r"|At\s+the\s+end\s+of\s+`(?P<end>[^`]+)`"
    r"|A\s+new\s+file,\s+`(?P<new>[^`]+)`"
    r"|In\s+`(?P<file>[^`]+)`,\s+(?P<side>after|before)\s+the\s+line\s+"
    r"(?P<ticks>`+)(?P<line>[^\n]+?)(?P=ticks)):\n\n"
    r"```\w*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """What to do: run ``code``, or write it into ``file`` beside a line (None for the end)."""

    code: str
    file: str | None = None
    new: bool = False
    side: str = "after"
    line: str | None = None

    def follow(self, folder: Path) -> None:
        """Do it in a checkout.

        Raises:
            AssertionError: a line that is not there, or a command that fails.
        """
        if self.file is None:
            self._run(folder)
            return
        path = folder / self.file
        assert path.exists() != self.new, f"{self.file} is {'there' if self.new else 'missing'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "" if self.new else path.read_text(encoding="utf-8")
        if self.line is None:
            text += self.code if self.new else f"\n\n{self.code}"
        else:
            lines = text.splitlines(keepends=True)
            places = [i for i, line in enumerate(lines) if line.strip() == self.line.strip()]
            assert places, f"{self.file} has no line {self.line!r}"
            lines.insert(places[0] + (self.side == "after"), self.code)
            text = "".join(lines)
        path.write_text(text, encoding="utf-8")

    def _run(self, folder: Path) -> None:
        # What is installed is new enough, whatever a step has done to pyproject.toml.
        for stamp in (".created", ".installed-dev"):
            (folder / ".venv" / stamp).touch()
        done = subprocess.run(
            ["sh", "-exc", self.code],
            cwd=folder,
            env={**os.environ, "CAUCE_HYPOTHESIS": "fast", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        print(done.stderr + done.stdout)


def steps(text: str) -> list[Step]:
    """The steps of a recipe, in order."""
    found = []
    for match in _STEP.finditer(text):
        code = match["code"]
        if match["run"]:
            found.append(Step(code))
        elif match["file"]:
            found.append(Step(code, match["file"], side=match["side"], line=match["line"]))
        else:
            found.append(Step(code, match["end"] or match["new"], new=bool(match["new"])))
    return found


def copy_of_the_checkout(folder: Path) -> None:
    """All files, and an environment that is the one which runs now."""
    left = (".git", ".venv*", ".models", "__pycache__", ".*_cache", ".hypothesis")
    ignore = shutil.ignore_patterns(*left)
    shutil.copytree(ROOT, folder, symlinks=True, ignore=ignore)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)


def follow(name: str, folder: Path) -> None:
    """Follow a recipe in a copy of the checkout."""
    copy_of_the_checkout(folder)
    for step in steps((RECIPES / name).read_text(encoding="utf-8")):
        step.follow(folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        follow(sys.argv[1], Path(place, "checkout"))
