"""The page on photographs runs as it stands, on flowers that the test makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import cauce
from tests.project.house import ROOT

from .test_fine_tuning_page import take_photographs

PAGE = (ROOT / "docs" / "photographs.md").read_text(encoding="utf-8")


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    take_photographs(tmp_path / "flowers")
    (tmp_path / "flowers" / "rose" / "1.jpg").rename(tmp_path / "photo.jpg")
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"photographs.md, block {number + 1}", "exec"), names)
    told = names["model"].preprocessing
    assert told.classes == ("daisy", "rose", "tulip")
    assert (told.size, told.normalized_in_graph, told.scale) == ((32, 32), True, 1.0)
    (best, probability), *_ = names["model"].predict("photo.jpg", top=3)
    shown = re.search(r"^rose +(0\.\d{4})$", PAGE, re.MULTILINE)
    assert best == "rose" and shown is not None
    assert probability == pytest.approx(float(shown[1]), abs=0.05)  # training rounds otherwise
    assert names["image"].shape == (1, 3, 224, 224)
    assert names["grey"].shape == (1, 1, 28, 28)


def test_the_table_has_every_field() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(cauce.Preprocessing.__dataclass_fields__)
