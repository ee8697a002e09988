"""What a run shows: lines that stay whole, with rich and without, in a terminal and in a file."""

from __future__ import annotations

import io
import sys

import pytest

from cauce.training.progress import progress_bar

LINE = "epoch 12  loss 0.1234  accuracy 0.9876  " + "validation f1[macro] 0.5000  " * 4


def shown() -> None:
    with progress_bar(True, 3) as (advance, say):
        advance("epoch 12 loss 0.1234")
        say(LINE)


def test_without_rich_there_are_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    shown()
    assert capsys.readouterr().out == LINE + "\n"


def test_a_log_file_gets_whole_lines_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one of 80 columns, and no bar; each line is there before the run goes on."""
    raw = io.BytesIO()
    log = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8")
    monkeypatch.setattr(sys, "stdout", log)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with progress_bar(True, 3) as (advance, say):
        advance("epoch 12 loss 0.1234")
        say(LINE)
        assert raw.getvalue().decode() == LINE + "\n"
    log.flush()
    assert raw.getvalue().decode() == LINE + "\n"


class Terminal(io.StringIO):
    """Takes what a program writes, and says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_the_line_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither broken at the width of the terminal nor read as markup (``[macro]``)."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    shown()
    assert LINE in terminal.getvalue()
    assert "1/3" in terminal.getvalue()


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(False, 3) as (advance, say):
        advance("epoch 12 loss 0.1234")
        say(LINE)
    assert capsys.readouterr().out == ""
