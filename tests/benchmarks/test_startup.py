"""The benchmark of starting up: with processes that import nothing, and once as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..project.house import ROOT
from .fake_benchmark import BENCHMARK

# isort: split
# Benchmarks are scripts, not a package: the fake one has put their folder on the path.
import startup
from protocol import PeerFailed

assert BENCHMARK  # what the fake one is imported for

# Writes down its library and cache, where it leaves a file, and says that each stage took 2 ms.
CHILD = """
import json, os, pathlib, sys, time
library, model, image, threads = sys.argv[1:]
cache = pathlib.Path(os.environ["CAUCE_CACHE_DIR"])
cache.mkdir(exist_ok=True)
with open(pathlib.Path(model).parent.parent / "log", "a") as log:
    print(library, cache.name, len(list(cache.iterdir())), threads, file=log)
(cache / "code").write_text("")
if library == "broken":
    sys.exit("no such library")
start = time.monotonic_ns()
stages = ("Python", "import", "load", "compile", "run")
done = {stage: start + 2_000_000 * number for number, stage in enumerate(stages)}
number = -2.5 if library == "other" else -2.0
print("what a library prints")
memory = 3_000_000 if library == "cauce" else 6_000_000
print(json.dumps(dict(done=done, memory=memory, evidence=[1.0, number], versions={library: "7"})))
"""

CASE = {"model": "none", "threads": 3}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the turns of the child above are written down."""
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setattr(startup, "CHILD", tmp_path / "child.py")
    monkeypatch.setattr(startup, "write_files", lambda case, folder: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / "log"


def test_a_warm_cache_is_kept_and_a_cold_one_is_new(log: Path) -> None:
    rows, versions = startup.measure(startup.PEERS, 3, CASE)
    taken = [line.split() for line in log.read_text().splitlines()]
    warm = [line for line in taken if line[1] == "cache"]
    cold = [line for line in taken if line[1] != "cache" and line[0] == "cauce"]
    assert [line[0] for line in taken] == ["cauce", "cauce", "onnxruntime"] * 2 + [
        *("onnxruntime", "cauce", "cauce"),  # the second round runs backwards
        *("cauce", "cauce", "onnxruntime"),
    ]
    assert [line[2] for line in warm if line[0] == "cauce"] == ["0", "1", "1", "1"]
    assert [line[2] for line in cold] == ["0"] * 4
    assert len({line[1] for line in cold}) == 4
    assert {line[3] for line in taken} == {"3"}
    assert versions == {"cauce": "7", "onnxruntime": "7"}
    for row in rows.values():
        assert row["difference"] == 0
        assert row["stages_ms"]["compile"] == row["compile_ms"]["median"] == 2
        assert min(row["first_result_ms"]["rounds"]) > 8  # and the start of Python
        assert len(row["first_result_ms"]["ratios"]) == 3
    assert rows["ONNX Runtime"]["memory_MB"]["ratio_lower_quartile"] == 2
    shown = startup.table(CASE, startup.BASE, rows)
    assert "model none, threads 3" in shown
    assert shown.count("ONNX Runtime") == 4


def test_a_library_that_fails_is_reported(log: Path) -> None:
    peers = {**startup.PEERS, "broken": startup.Peer("broken", "model.onnx")}
    rows, _ = startup.measure(peers, 1, CASE)
    assert rows["broken"] == {"failed": "it ended with code 1: no such library"}
    assert startup.table(CASE, startup.BASE, rows).count("failed: it ended with code 1") == 3
    with pytest.raises(PeerFailed, match="no such library"):
        startup.take_turn(peers["broken"], CASE, log.parent)


def test_libraries_that_disagree_are_not_measured(log: Path) -> None:
    peers = {**startup.PEERS, "other": startup.Peer("other", "model.onnx")}
    with pytest.raises(SystemExit, match="other does not compute what cauce warm does"):
        startup.measure(peers, 1, CASE)


@pytest.mark.slow
def test_resnet20_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "startup.json"
    command = [sys.executable, startup.__file__, "--models", "resnet20", "--threads", "1"]
    shown = subprocess.run(
        [*command, "--rounds", "1", "--output", str(out)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout
    assert "model resnet20, threads 1" in shown
    report = json.loads(out.read_text())
    assert (report["benchmark"], report["base"], report["rounds"]) == ("startup", "cauce warm", 1)
    assert {"Python", "cauce", "llvmlite", "onnxruntime"} == report["versions"].keys()
    (row,) = report["cases"]
    assert list(row["peers"]) == list(startup.PEERS)
    for peer in row["peers"].values():
        assert peer["difference"] < startup.TOLERANCE
        assert peer["first_result_ms"]["median"] > peer["compile_ms"]["median"] > 0
        assert 10 < peer["memory_MB"]["median"] < 1000
