"""``python -m tests.mistakes.page`` writes docs/mistakes.md: every mistake with its message."""

from __future__ import annotations

import tempfile
from pathlib import Path

from . import common
from .mistake import CHAPTERS, Mistake, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mistakes.md"

HEAD = """\
<!-- Written by `python -m tests.mistakes.page`, and held against the code by a test. -->

# Mistakes, and what cauce says about them

A message has up to four parts: what is wrong, with the numbers in it; the layer, by its path;
where, as lines of your own code with their text, innermost first; and what to do about it.

Every error is a `cauce.CauceError`, and also the built-in that you would catch without knowing
cauce, named beside each below. A traceback ends in your own code: the frames of cauce itself are
left out. `CAUCE_FULL_TRACEBACK=1` in the environment brings them back, for work on cauce itself and
for reports of its faults.

The code of every example stands in a file `example.py`, below this:

```python
{preamble}
```
"""


def render() -> str:
    """The page."""
    rows = table()
    parts = [HEAD.format(preamble=_preamble()), _contents(rows)]
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
        anchor = "".join(c for c in title.lower() if c.isalnum() or c in " -").replace(" ", "-")
        lines.append(f"- [{title}](#{anchor}): {len(own)}")
    return "\n".join(lines) + "\n"


def _section(row: Mistake) -> str:
    with tempfile.TemporaryDirectory() as folder:
        error = row.run(Path(folder))
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
