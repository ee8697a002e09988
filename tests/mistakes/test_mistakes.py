"""Every mistake of the table: its class, its place, its numbers, its remedy, its traceback."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path

import pytest

from . import common
from .mistake import Mistake, table
from .page import PAGE, render
from .remedy import remedies_in, stands_in

ROWS = table()


def test_the_table_is_long_and_names_are_its_own() -> None:
    assert len(ROWS) >= 40
    assert len({row.name for row in ROWS}) == len({row.title for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_mistake_says_what_where_and_what_to_do(
    row: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAUCE_FULL_TRACEBACK", raising=False)
    error = row.run(tmp_path)
    file = row.code.__code__.co_filename
    assert type(error) is row.kind
    assert isinstance(error, row.builtin)
    head = str(error).partition("\n")[0]
    assert [part for part in row.says if part not in head] == []
    assert error.fix is not None and row.fix in error.fix
    assert error.loc is not None
    place = error.loc.frames[-1]
    assert place.file == file
    assert linecache.getline(file, place.line).strip() == row.line
    assert f"at {file}:{place.line}: {row.line}" in str(error)
    assert f"\n  fix: {error.fix}" in str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert (last.filename, last.line) == (file, row.ends or row.line)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_code_of_the_page_says_what_the_page_says(row: Mistake, tmp_path: Path) -> None:
    code, _ = row.text()
    file = str(tmp_path / "example.py")
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    names = {name: getattr(common, name) for name in common.__all__}
    error = row.run(tmp_path, lambda: exec(compile(code, file, "exec"), names))
    lines = [
        line.replace(file, "example.py")
        for line in f"{type(error).__name__}: {error}".splitlines()
        if not line.startswith("  from ") or file in line
    ]
    assert "\n".join(lines) == row.message(row.run(_empty(tmp_path)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_remedy_that_is_code_is_followed(row: Mistake, tmp_path: Path) -> None:
    """Whatever the message gives to copy stands in the mended code as it is, and that runs."""
    fix = row.run(_empty(tmp_path)).fix
    assert fix is not None
    pieces = remedies_in(fix)
    assert [p for p in pieces if not any(stands_in(p, way) for way in row.mended)] == []
    for number, way in enumerate(row.mended):
        assert any(stands_in(piece, way) for piece in pieces)
        folder = tmp_path / f"way{number}"
        folder.mkdir()
        names = {name: getattr(common, name) for name in common.__all__}
        kept = common.model.state_dict()
        try:
            row.follow(way, folder, names)
        finally:
            common.model.load_state_dict(kept)
            common.model.unfreeze("*")


def test_code_stands_in_code() -> None:
    assert stands_in("f(..., dtype='u8')", 'y = f(image=("N", 3), dtype="u8")')
    assert not stands_in("f(..., dtype='u8')", 'y = f(image=("N", 3))')
    assert remedies_in("did you mean conv1, conv2?") == ["conv1"]


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_the_page_is_up_to_date() -> None:
    """Else run ``python -m tests.mistakes.page``."""
    assert PAGE.read_text(encoding="utf-8") == render()
