"""The protocol of the benchmarks, with peers that do next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from . import fake_benchmark
from .fake_benchmark import BENCHMARK, PEERS

# isort: split
# Benchmarks are scripts, not a package: the fake one has put their folder on the path.
from protocol import (
    Benchmark,
    PeerFailed,
    Result,
    difference,
    environment,
    lower_quartile,
    measure,
    summary,
    wait_until_idle,
)
from report import chosen


def only(*names: str) -> Benchmark:
    return replace(BENCHMARK, peers={name: PEERS[name] for name in names})


def case(folder: Path) -> dict[str, object]:
    return {"log": str(folder / "log"), "threads": 1}


@pytest.mark.slow
def test_every_second_round_runs_backwards(tmp_path: Path) -> None:
    results = measure(only("a", "b"), case(tmp_path), rounds=3, seconds=0)
    # Prepared with a step each, tried with one, three rounds of one; each after one not timed.
    assert (tmp_path / "log").read_text() == "ab" + "aabb" + "aabb" + "bbaa" + "aabb"
    for result in results.values():
        assert result.failed is None
        assert result.steps == 1
        assert len(result.seconds) == len(result.processor_seconds) == 3
        assert min(result.seconds) >= 0.001  # what a step sleeps
        linux = sys.platform == "linux"
        assert (result.memory or 0) > 5e6 if linux else result.memory is None
    assert results["a"].difference == 0
    assert results["b"].difference == pytest.approx(5e-7)
    assert results["b"].versions == {"libb": "b.0"}


@pytest.mark.slow
def test_a_turn_has_as_many_steps_as_fit(tmp_path: Path) -> None:
    result = measure(only("a"), case(tmp_path), rounds=2, seconds=0.05)["a"]
    assert 2 <= result.steps <= 50
    assert (tmp_path / "log").read_text() == "a" * (1 + 2 + 2 * (1 + result.steps))


@pytest.mark.slow
def test_a_peer_that_fails_is_reported_and_the_others_measured(tmp_path: Path) -> None:
    results = measure(only("a", "refuses", "dies"), case(tmp_path), rounds=1, seconds=0)
    assert results["refuses"].failed == "ModuleNotFoundError: No module named 'peerless'"
    assert results["dies"].failed == "it ended with code 3: segmentation fault, say"
    assert len(results["a"].seconds) == 1
    assert summary(results["dies"], results["a"]) == {"failed": results["dies"].failed}


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["other", "fewer", "NaN"])
def test_peers_that_disagree_are_not_measured(tmp_path: Path, peer: str) -> None:
    with pytest.raises(SystemExit, match=f"{peer} does not compute what a does"):
        measure(only("a", peer), case(tmp_path), rounds=1, seconds=0)


@pytest.mark.slow
def test_without_the_base_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="refuses failed: ModuleNotFoundError"):
        measure(replace(only("a", "refuses"), base="refuses"), case(tmp_path), 1, 0)


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "results" / "fake.json"
    command = [sys.executable, fake_benchmark.__file__, "--log", str(tmp_path / "log")]
    command += ["--peers", "b", "refuses", "--rounds", "5", "--threads", "1", "3"]
    command += ["--patience", "0"]
    shown = subprocess.run(
        [*command, "--output", str(out)], check=True, capture_output=True, text=True
    ).stdout
    assert "failed: ModuleNotFoundError: No module named 'peerless'" in shown
    report = json.loads(out.read_text())
    assert report["base"] == "a"
    assert report["machine"]["processors"] == os.cpu_count()
    assert report["versions"].items() >= {"liba": "a.0", "libb": "b.0"}.items()
    assert [row["threads"] for row in report["cases"]] == [1, 3]
    assert [len(row.get("cores", ())) for row in report["cases"]] == [0, 2]
    for row in report["cases"]:
        assert list(row["peers"]) == ["a", "b", "refuses"]
        a, b = row["peers"]["a"], row["peers"]["b"]
        assert a["ratios"] == [1] * 5
        assert b["ratios"] == pytest.approx([mine / own for mine, own in zip(b["ms"], a["ms"])])
        assert b["fastest_ms"] == min(b["ms"])
        assert b["median_ms"] == sorted(b["ms"])[2]
        assert b["ratio_median"] == sorted(b["ratios"])[2]
        assert b["ratio_lower_quartile"] == sorted(b["ratios"])[1]


def test_workers_are_told_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    told = environment(3)
    for library in ("OPENBLAS", "OMP", "CAUCE"):
        assert told[f"{library}_NUM_THREADS"] == "3"
    assert not {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE"} & told.keys()
    assert told["PATH"] == os.environ["PATH"]


def test_a_worker_waits_for_its_threads() -> None:
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        with pytest.raises(PeerFailed, match="threads still run"):
            wait_until_idle(limit=0.2)
    finally:
        done.set()
        thread.join()
    wait_until_idle()


def test_differences_and_quartiles() -> None:
    assert difference([1, 2.5], [1, -2]) == 2.25
    assert lower_quartile([5, 1, 4, 2, 3]) == 2
    assert lower_quartile([4, 1]) == 1.75
    assert lower_quartile([3]) == 3


def test_a_ratio_is_of_one_round() -> None:
    base = Result(steps=1, seconds=[1, 2, 4], processor_seconds=[1, 2, 4])
    other = Result(steps=1, seconds=[3, 4, 4], processor_seconds=[6, 8, 8])
    row = summary(other, base)
    assert row["ratios"] == [3, 2, 1]
    assert (row["ratio_median"], row["ratio_lower_quartile"]) == (2, 1.5)
    assert (row["fastest_ms"], row["median_ms"], row["processors"]) == (3000, 4000, 2)


def test_unknown_peers_are_named() -> None:
    assert list(chosen(PEERS, "a", ["b"])) == ["a", "b"]
    assert chosen(PEERS, "a", None) == PEERS
    with pytest.raises(SystemExit, match="no peer 'c'; there are a, b"):
        chosen(PEERS, "a", ["c"])
