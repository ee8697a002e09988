"""Starts of a program in processes of their own: what is imported once something was kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np


def assert_spared(script: str, path: Path, tmp_path: Path, spared: set[str]) -> None:
    """The first start imports some modules and the later ones none of them, with equal results.

    Args:
        script: is given the path and where to write an array, and prints the modules that it has.
        path: what the script reads.
        tmp_path: for the arrays.
        spared: the modules.
    """
    results, modules = [], []
    for turn in range(3):
        result = tmp_path / f"{turn}.npy"
        done = subprocess.run(
            [sys.executable, "-c", script, str(path), str(result)],
            capture_output=True,
            text=True,
            check=True,
        )
        modules.append(set(done.stdout.split()))
        results.append(np.load(result))
    assert spared <= modules[0]
    for later in modules[1:]:
        assert not spared & later
    np.testing.assert_array_equal(results[0], results[1], strict=True)
    np.testing.assert_array_equal(results[0], results[2], strict=True)
