"""The recipes, followed to the letter in a copy of the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from .recipes import BEGINNING, RECIPES, follow, steps

NAMES = sorted(path.name for path in RECIPES.glob("*.md"))


def test_there_are_recipes() -> None:
    assert {"add-an-op.md", "add-a-pass.md", "add-a-backend.md"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_reads_like_a_step_is_one(name: str) -> None:
    text = (RECIPES / name).read_text(encoding="utf-8")
    found = steps(text)
    assert len(found) == len(BEGINNING.findall(text)) > 3
    assert found[-1].file is None, "a recipe ends with its tests"
    assert any("pytest" in step.code for step in found if step.file is None)


def test_a_step_that_does_not_fit_fails(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    inserted, absent = steps(
        "In `a.py`, after the line `x = 1`:\n\n```python\ny = 2\n```\n\n"
        "In `a.py`, before the line `` z = `3` ``:\n\n```python\nw = 4\n```\n"
    )
    inserted.follow(tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 1\ny = 2\n"
    with pytest.raises(AssertionError, match="has no line"):
        absent.follow(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_recipe(name: str, tmp_path: Path) -> None:
    follow(name, tmp_path / "checkout")
