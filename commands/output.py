"""What commands print: text and tables for people, JSON for programs.

On a terminal tables are drawn by rich where it is installed, and fit the width either way, unless
their numbers alone are wider; in a pipe or a file they are whole lines of plain text. What comes
from a file, a name say, never reaches a terminal with its control characters.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# Those of C0 and C1 but for tab and newline, what turns the direction of text, and halves of pairs.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_LEAST = 8  # characters that a column of text keeps on a narrow terminal
_GAP = "  "


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option ``--json``."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document, for programs to read"
    )


def clean(text: str) -> str:
    """``text`` with control characters, all but tab and newline, as Python writes them."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def say(text: str) -> None:
    """Print text on stdout."""
    print(clean(text))


def note(text: str) -> None:
    """Print on stderr what is not the result."""
    print(clean(text), file=sys.stderr)


def emit(data: Any) -> None:
    """Print one JSON document: ASCII, numbers that are not finite as text."""
    print(json.dumps(_finite(data), indent=1, allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, float) and not math.isfinite(data):
        return str(data)
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 1) -> None:
    """Print rows below a header.

    Args:
        columns: what stands above each column.
        rows: the cells.
        names: how many columns, the first ones, hold text, at the left; the others hold numbers.
    """
    cells = [[_cell(cell) for cell in row] for row in (columns, *rows)]
    if not sys.stdout.isatty():
        print("\n".join(_lines(cells, names, None)))
        return
    size = shutil.get_terminal_size()
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print("\n".join(_lines(cells, names, size.columns)))
        return
    widths = _widths(cells, names, size.columns)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, (column, width) in enumerate(zip(cells[0], widths)):
        table.add_column(
            Text(column),
            justify="left" if place < names else "right",
            overflow="fold",
            width=width,
        )
    for row in cells[1:]:
        table.add_row(*map(Text, row))  # which is not read as markup
    # A number is never broken: what is wider than the terminal all the same, that breaks.
    wide = max(size.columns, sum(widths) + len(_GAP) * (len(widths) - 1))
    Console(width=wide, height=size.lines, highlight=False).print(table)


def show_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names with what belongs to each, a line for each pair."""
    width = max(len(name) for name, _ in pairs)
    for name, text in pairs:
        print(f"{_cell(name):{width}}{_GAP}{_cell(text)}")


def _cell(text: str) -> str:
    return clean(text).replace("\n", "\\n")


def _widths(cells: Sequence[Sequence[str]], names: int, width: int | None) -> list[int]:
    """The width of each column.

    Where all would be wider than ``width``, the widest of text becomes narrower first, so that the
    others, types say, stay whole for as long as that is enough.
    """
    widths = [max(map(_width, column)) for column in zip(*cells)]
    surplus = 0 if width is None else sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for place in sorted(range(names), key=lambda place: -widths[place]):
        taken = max(0, min(surplus, widths[place] - _LEAST))
        widths[place] -= taken
        surplus -= taken
    return widths


def _lines(cells: Sequence[Sequence[str]], names: int, width: int | None) -> list[str]:
    """The table in plain text; columns of text are cut where it would be wider than ``width``."""
    widths = _widths(cells, names, width)
    lines = []
    for row in cells:
        shown = [
            _padded(_cut(cell, w), w) if place < names else cell.rjust(w)
            for place, (cell, w) in enumerate(zip(row, widths))
        ]
        lines.append(_GAP.join(shown).rstrip())
    lines.insert(1, _GAP.join("-" * w for w in widths))
    return lines


def _width(text: str) -> int:
    """How many places of a terminal a text takes up: signs of East Asia take two, accents none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return f"{text}~"


def nbytes_text(count: int) -> str:
    """A number of bytes, as people read it: ``97.8 MB``."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{count} bytes" if units[0] == "bytes" else f"{size:.1f} {units[0]}"
