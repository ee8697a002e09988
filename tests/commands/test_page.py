"""docs/command-line.md says what the commands print."""

from __future__ import annotations

import sys

import pytest

from cauce.commands.main import COMMANDS

from .page import EXAMPLES, PAGE, render


def test_the_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = PAGE.read_text(encoding="utf-8")
    assert text == render(earlier=text), "run `make docs`"
    sys.modules.pop("net", None)


def test_every_command_has_an_example() -> None:
    modules = {module for module, _ in COMMANDS.values()}
    assert {name for name, examples in EXAMPLES.items() if examples} == modules
