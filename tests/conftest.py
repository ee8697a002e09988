"""Hypothesis profiles: "fast" for every day, "thorough" for the slow tier, "explore" to search for
what the others miss; a cache of its own; ``--accept`` for golden texts."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

# A failure in CI must fail again on the next run and on every machine: examples are derived from
# the test itself, and none are remembered between runs.
settings.register_profile(
    "fast",
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=40)
settings.register_profile(
    "explore", settings.get_profile("fast"), max_examples=1000, derandomize=False, print_blob=True
)
settings.load_profile(os.environ.get("CAUCE_HYPOTHESIS", "fast"))

# Compiled code of the user is neither used nor replaced: each run of the tests begins with an empty
# cache, which its worker processes share.
_CACHE = "CAUCE_CACHE_DIR"
_made: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept",
        action="store_true",
        help="write what the code gives to the golden files, to be looked at in the diff",
    )


@pytest.fixture
def accept(pytestconfig: pytest.Config) -> bool:
    """Whether golden files take what the code gives."""
    return bool(pytestconfig.getoption("--accept"))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv(_CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv("CAUCE_CACHE", raising=False)
    return tmp_path / "cache"


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--accept") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--accept rewrites files, in one process: leave out -n")
    if not hasattr(config, "workerinput"):
        _made.append(tempfile.mkdtemp(prefix="cauce-tests-"))
        os.environ[_CACHE] = _made[-1]
        os.environ.pop("CAUCE_CACHE", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    while _made:
        shutil.rmtree(_made.pop(), ignore_errors=True)
