"""``python -m tests.mistakes.page`` writes docs/mistakes.md: every mistake with its message."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

from cauce.ir.errors import CauceError

from . import common
from .mistake import CHAPTERS, Mistake, table

SHOWN = "residual_channels"  # whose traceback is shown in full
PAGE = Path(__file__).resolve().parents[2] / "docs" / "mistakes.md"

HEAD = """\
<!-- Written by `python -m tests.mistakes.page`, and held against the code by a test. -->

# Mistakes, and what cauce says about them

A message has up to four parts: what is wrong, with the numbers in it; the layer, by its path;
where, as lines of your own code with their text, innermost first; and what to do about it.

Every error is a `cauce.CauceError`, with these parts in `what`, `path`, `loc` and `fix`, and also
the built-in that you would catch without knowing cauce, named beside each below.

A traceback shows your own code alone, and ends in it. This is one in full, of
[{title}](#{anchor}):

```text
{traceback}
```

`CAUCE_FULL_TRACEBACK=1` in the environment brings the frames of cauce back, for work on cauce
itself and for reports of its faults.

The code of each example below stands in a file `example.py`, after these lines, which are not
counted in the line numbers:

```python
{preamble}
```
"""


def render() -> str:
    """The page."""
    rows = table()
    (shown,) = (row for row in rows if row.name == SHOWN)
    head = HEAD.format(
        title=shown.title,
        anchor=_anchor(shown.title),
        traceback=_traceback(shown),
        preamble=_preamble(),
    )
    parts = [head, _contents(rows)]
    for chapter in CHAPTERS:
        own = [row for row in rows if _chapter(row) == chapter]
        title, _, text = (own[0].chapter.__doc__ or "").partition("\n\n")
        parts.append(f"## {title}\n" + (f"\n{text}\n" if text else ""))
        parts += map(_section, own)
    return "\n".join(parts)


def _chapter(row: Mistake) -> str:
    return row.chapter.__name__.rpartition(".")[2]


def _preamble() -> str:
    """``common.py`` without its docstring and without the list of its names."""
    source = Path(common.__file__).read_text(encoding="utf-8")
    return source.partition('"""\n\n')[2].partition("\n\n__all__")[0]


def _contents(rows: list[Mistake]) -> str:
    lines = []
    for chapter in CHAPTERS:
        own = [row for row in rows if _chapter(row) == chapter]
        title = (own[0].chapter.__doc__ or "").partition("\n")[0]
        lines.append(f"- [{title}](#{_anchor(title)}): {len(own)}")
    return "\n".join(lines) + "\n"


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower() if c.isalnum() or c in " -").replace(" ", "-")


def _run(row: Mistake) -> CauceError:
    with tempfile.TemporaryDirectory() as folder:
        error = row.run(Path(folder))
    assert type(error) is row.kind, error  # where an optional package is missing, say
    return error


def _traceback(row: Mistake) -> str:
    """The traceback of a mistake as Python shows it, without marks below the lines."""
    error = _run(row)
    _, first = row.text()
    lines = ["Traceback (most recent call last):"]
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == row.code.__code__.co_filename:
            where = "<module>" if frame.name == row.name else frame.name
            lines.append(f'  File "example.py", line {(frame.lineno or 0) - first + 1}, in {where}')
            lines.append(f"    {frame.line}")
    return "\n".join([*lines, f"{type(error).__module__}.{row.message(error)}"])


def _section(row: Mistake) -> str:
    error = _run(row)
    code, _ = row.text()
    builtin = row.builtin.__name__
    article = "an" if builtin[0] in "AEIOU" else "a"
    kinds = f"`{row.kind.__name__}`, {article} `{builtin}`"
    if row.without:
        kinds += f"; here `{row.without}` is not installed"
    return f"""\
### {row.title}

{kinds}

```python
{code}
```

```text
{row.message(error)}
```
"""


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE.name}: {len(table())} mistakes")
