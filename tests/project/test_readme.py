"""The README says what is so."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from .house import HEAVY, ROOT

README = (ROOT / "README.md").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Where a package is imported by another name than it is installed by.
IMPORTED = {"scikit-learn": "sklearn", "pillow": "PIL"}


def installed_by(extras: Iterable[str]) -> set[str]:
    """The packages that some extras bring, by the names they are imported by."""
    found = set()
    for extra in extras:
        for wanted in PROJECT["optional-dependencies"][extra]:
            own = re.fullmatch(r"cauce\[(.*)\]", wanted)
            if own:
                found |= installed_by(own[1].split(","))
            else:
                name = re.split(r"[<>=]", wanted)[0]
                found.add(IMPORTED.get(name, name))
    return found


def test_the_example_of_the_readme_runs_after_the_install_line_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, but for the epochs; what that line does not install is as if it were not."""
    above, code = re.fullmatch(r"(.*?)```python\n(.*?)```.*", README, re.DOTALL).groups()  # type: ignore[union-attr]
    line = re.findall(r"^pip install '\.\[(.*?)\]'", above, re.MULTILINE)[-1]
    there = installed_by(line.split(",")) | {"networkx"}
    for name in HEAVY - there:
        monkeypatch.setitem(sys.modules, name, None)
    short = code.replace("epochs=5", "epochs=1")
    assert short != code
    monkeypatch.chdir(tmp_path)
    exec(compile(short, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"small_resnet.onnx"}


def test_the_packages_of_an_extra() -> None:
    assert installed_by(["images"]) == {"PIL"}
    assert installed_by(["demo"]) >= {"llvmlite", "onnx", "safetensors", "rich", "sklearn"}
    assert not {"matplotlib", "PIL"} & installed_by(["demo"])
