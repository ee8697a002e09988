"""What the benchmarks show: the best peer, the share of the limit, the page of results."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .fake_benchmark import BENCHMARK

# isort: split
# Benchmarks are scripts, not a package: the fake one has put their folder on the path.
import page
import report
from protocol import Result

CASE = {"model": "lenet", "batch": 4, "threads": 1}


def result(*seconds: float) -> Result:
    return Result(steps=1, seconds=list(seconds), processor_seconds=list(seconds))


def results() -> dict[str, Result]:
    """b is the faster peer by its median, c in the round in which it was fastest."""
    return {
        "a": result(0.010, 0.010, 0.020),
        "b": result(0.015, 0.014, 0.022),
        "c": result(0.001, 0.018, 0.030),
        "d": Result(failed="NotImplementedError: no such layer\nmore"),
    }


def measured(monkeypatch: pytest.MonkeyPatch, path: Path, limit: float | None) -> dict[str, Any]:
    """The JSON of a benchmark that has these results."""
    monkeypatch.setattr(report, "measure", lambda *_: results())
    options = argparse.Namespace(worker=None, peers=None, rounds=3, seconds=0.0, output=path)
    options.patience = 0.0
    bound = None if limit is None else lambda case: limit
    report.run(BENCHMARK, options, [CASE], bound, {"capacity": {"1": "10 GFLOP/s"}})
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def test_the_best_peer_has_the_least_median() -> None:
    base = results()["a"]
    rows = {peer: report.summary(found, base) for peer, found in results().items()}
    assert report.best_peer("a", rows) == "b"
    assert report.best_peer("b", rows) == "a"
    assert report.best_peer("a", {"a": rows["a"], "d": rows["d"]}) is None
    shown = report.table(CASE, "a", rows)
    last = shown.splitlines()[-1]
    assert last.startswith("best peer: b")
    # Its time over that of a in each round: 1.5, 1.4, 1.1.
    assert last.split()[3:] == [
        "14.00",
        "ms",
        "15.00",
        "ms",
        "1.400",
        "1.250",
        "1.00",
        "0e+00",
        "-",
    ]
    assert "limit" not in shown


def test_a_share_of_the_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = measured(monkeypatch, tmp_path / "out.json", 0.005)
    rows = read["cases"][0]["peers"]
    assert rows["a"]["limit_ms"] == rows["b"]["limit_ms"] == 5
    assert rows["a"]["of_limit"] == pytest.approx(0.5)
    assert rows["b"]["of_limit"] == pytest.approx(1 / 3)
    assert rows["d"] == {"failed": results()["d"].failed}
    assert read["capacity"] == {"1": "10 GFLOP/s"}
    shown = capsys.readouterr().out
    assert "limit 5.00 ms" in shown
    assert re.search(r"^a .* 50%$", shown, re.MULTILINE)
    assert re.search(r"^best peer: b .* 33%$", shown, re.MULTILINE)


def test_without_a_limit_there_is_no_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = measured(monkeypatch, tmp_path / "out.json", None)["cases"][0]["peers"]
    assert not {"limit_ms", "of_limit"} & rows["a"].keys()


def test_results_in_markdown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    measured(monkeypatch, tmp_path / "results" / "mine.json", 0.005)
    monkeypatch.setattr(page, "HERE", tmp_path)
    text = "before\n<!-- results:  -->\nold\n<!-- end of results -->\nafter\n"
    new = page.updated(text, ["mine.json"])
    assert new.startswith("before\n<!-- results: mine.json -->\n")
    assert new.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in new
    head, line, cells = (row.strip("|").split("|") for row in new.splitlines() if row[:1] == "|")
    assert len(head) == len(line) == len(cells)
    shown = dict(zip(map(str.strip, head), map(str.strip, cells)))
    assert list(shown.items()) == [
        ("network", "lenet"),
        ("batch", "4"),
        ("threads", "1"),
        ("limit", "5"),
        ("a", "10"),
        ("of limit", "50%"),
        ("b", "15"),
        ("c", "18"),
        ("d", "-"),
        ("best peer", "b"),
        ("ratio", "1.40"),
        ("quartile", "1.25"),
    ]
    assert "\nd: NotImplementedError: no such layer (lenet).\n" in new
    assert page.updated(new) == new


@pytest.mark.parametrize("path", page.PAGES, ids=lambda path: path.name)
def test_the_pages_of_results_are_up_to_date(path: Path) -> None:
    text = path.read_text()
    assert text == page.updated(text), "run `make docs`"
    assert any(f"<!-- {kind}: " in text for kind in page.TABLES)


def test_errors_in_markdown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    errors = {"N(0, 1)": 4.21e-7, "denormal": 0.0}
    report = {
        "benchmark": "precision",
        "date": "today",
        "machine": {"processor": "a processor"},
        "commit": "abc",
        "versions": {"NumPy": "2"},
        "base": "float64",
        "cases": [
            {
                "model": "lenet",
                "batch": 4,
                "peers": {"fast": {"errors": errors, "tiles": {"t": 2}}},
            },
            {"channels": 16, "size": 32, "batch": 4, "peers": {"direct": {"errors": errors}}},
        ],
    }
    (tmp_path / "results" / "errors.json").write_text(json.dumps(report))
    monkeypatch.setattr(page, "HERE", tmp_path)
    text = "a\n<!-- precision:  -->\nold\n<!-- end of precision -->\nb\n"
    new = page.updated(text, ["errors.json"])
    assert new.startswith("a\n<!-- precision: errors.json -->\n")
    assert new.endswith("<!-- end of precision -->\nb\n")
    rows = [row for row in new.splitlines() if row.startswith("|")]
    assert rows[2] == "| lenet | fast | 4.2e-07 | 0.0e+00 | 2 of t |"
    assert rows[5] == "| 16, 32 x 32 | direct | 4.2e-07 | 0.0e+00 |"
    assert "\nOf 4 images, against float64; today, commit `abc`, a processor. NumPy 2.\n" in new
    assert page.updated(new) == new


def test_results_of_one_kind_leave_those_of_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    for name in ("old", "new"):
        measured(monkeypatch, tmp_path / "results" / f"{name}.json", 0.005)
    monkeypatch.setattr(page, "HERE", tmp_path)
    errors = "<!-- precision:  -->\n<!-- end of precision -->"
    text = f"<!-- results: old.json -->\n<!-- end of results -->\n{errors}\n"
    new = page.updated(text, ["new.json"])
    assert new.startswith("<!-- results: new.json -->\n")
    assert new.endswith(f"<!-- end of results -->\n{errors}\n")


def test_memory_in_markdown() -> None:
    base = results()["a"]
    rows = {peer: report.summary(found, base) for peer, found in results().items()}
    case = {**CASE, "peers": rows}
    assert page.memory([case], list(rows)) == []
    rows["a"] = report.summary(replace(base, memory=181_600_000), base)
    *_, last = page.memory([{**case, "peers": rows}], ["a", "b", "d"])
    assert last == f"| {CASE['model']} | {CASE['batch']} | 182 | - | - |"
    assert page.memory([{**case, "threads": 2, "peers": rows}], ["a"]) == []
    assert "  182 MB" in report.table(CASE, "a", rows)
