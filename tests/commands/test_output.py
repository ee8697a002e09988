"""Tables, text and JSON: pipes, terminals, narrow ones, and names that would do harm."""

from __future__ import annotations

import io
import json
import math
import sys

import pytest

from cauce.commands import output

COLUMNS = ("layer", "op", "ms")
ROWS = [("stage1.block1.conv1", "conv2d", "1.25"), ("x", "a\nb\x1b[31m", "100.00")]


class Terminal(io.StringIO):
    """A terminal, as far as a program asks."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stdout from now on."""
    made = Terminal()
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return made


def test_a_table_in_a_pipe_has_whole_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    output.show_table(COLUMNS, ROWS, names=2)
    assert capsys.readouterr().out.splitlines() == [
        "layer                op                ms",
        "-------------------  ------------  ------",
        "stage1.block1.conv1  conv2d          1.25",
        "x                    a\\nb\\x1b[31m  100.00",
    ]


@pytest.mark.parametrize("with_rich", [False, True])
@pytest.mark.parametrize("width", [20, 30, 80])
def test_a_table_fits_a_terminal(
    with_rich: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(width))
    if with_rich:
        pytest.importorskip("rich")
        monkeypatch.setenv("TERM", "dumb")  # lines without colours
    else:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    output.show_table(COLUMNS, ROWS, names=2)
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= max(width, 8 + 8 + 6 + 2 * 2)
    text = "".join(lines)
    assert "100.00" in text and "1.25" in text
    assert "\x1b[31m" not in text
    if width == 80:
        assert "stage1.block1.conv1" in text and "a\\nb\\x1b[31m" in text


@pytest.mark.parametrize("with_rich", [False, True])
def test_no_number_and_no_shape_is_broken_while_names_can_be(
    with_rich: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "44")
    if with_rich:
        pytest.importorskip("rich")
        monkeypatch.setenv("TERM", "dumb")
    else:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    row = ("a_layer_with_a_long_name", "conv2d", "f32[N,16,8,8]", "1,294,912")
    output.show_table(("layer", "op", "output", "parameters"), [row], names=3)
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 44
    for whole in ("conv2d", "f32[N,16,8,8]", "1,294,912", "parameters"):
        assert any(whole in line for line in lines), lines
    shown.truncate(0)
    monkeypatch.setenv("COLUMNS", "10")
    output.show_table(("a", "b"), [("123456.789", "123456.789")], names=0)
    assert "123456.789  123456.789" in shown.getvalue()


def test_wide_signs_take_two_places(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table(("layer", "ms"), [("\u5c64", "1"), ("e\u0301te", "2"), ("plain", "3")])
    header, rule, *rows = capsys.readouterr().out.splitlines()
    assert (
        rows == ["\u5c64      1", "e\u0301te     2", "plain   3"] and len(rule) == len(header) == 9
    )
    assert output._cut("\u5c64\u5c64\u5c64", 4) == "\u5c64~"


def test_rich_reads_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "80")
    output.show_table(("a",), [("[bold]x[/bold]",)])
    assert "[bold]x[/bold]" in shown.getvalue()


def test_control_characters_are_written_out() -> None:
    assert output.clean("a\x1b[0m\x07\u202eb\x85\r\n\tc\u2028\ud800é") == (
        "a\\x1b[0m\\x07\\u202eb\\x85\\r\n\tc\\u2028\\ud800é"
    )


def test_json_is_ascii_and_valid(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"x": [math.nan, math.inf, 1.5], "é\x1b\x7f": (1, None)})
    text = capsys.readouterr().out
    assert text.isascii() and "\x1b" not in text and "\x7f" not in text
    assert json.loads(text) == {"x": ["nan", "inf", 1.5], "é\x1b\x7f": [1, None]}


def test_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_pairs([("a", "1"), ("long", "x\x1b")])
    assert capsys.readouterr().out == "a     1\nlong  x\\x1b\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (97_800_000, "97.8 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert output.nbytes_text(count) == text
