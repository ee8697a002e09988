"""The benchmark against an earlier revision: its verdict, and the code that each peer runs."""

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
import revisions

assert BENCHMARK  # what the fake one is imported for

QUIET = [0.99, 1.0, 1.0, 1.0, 1.01]
NOISY = [0.8, 0.9, 1.0, 1.1, 1.2]


@pytest.mark.parametrize(
    ("ratio", "noise", "holds"),
    [
        (1.0, QUIET, True),
        (0.98, QUIET, True),
        (0.97, QUIET, False),
        (1.4, QUIET, True),
        (0.93, NOISY, True),
        (0.89, NOISY, False),
    ],
)
def test_verdict(ratio: float, noise: list[float], holds: bool) -> None:
    assert revisions.verdict(ratio, noise)["holds"] is holds


@pytest.mark.slow
def test_each_peer_runs_its_own_checkout(tmp_path: Path) -> None:
    # A checkout whose compiled programs give other results than those at hand.
    other = tmp_path / "other"
    (other / "cauce").mkdir(parents=True)
    (other / "cauce" / "__init__.py").write_text("raise ImportError('the other checkout')")
    case = {"what": "inference", "model": "resnet20", "batch": 1, "threads": 1}
    for root, reason in ((ROOT, None), (other, "ImportError: the other checkout")):
        request = {"peer": "peer", "case": {**case, "roots": {"peer": str(root)}}}
        worker = subprocess.run(
            [sys.executable, revisions.__file__, "--worker", json.dumps(request)],
            input="run 1\n",
            env=os.environ | {"CAUCE_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=True,
        )
        first = json.loads(worker.stdout.splitlines()[0])
        assert first.get("failed") == reason
        assert ("evidence" in first) == (reason is None)
