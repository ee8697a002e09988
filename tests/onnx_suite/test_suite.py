"""ONNX's backend test suite on both backends: what passes, and what fails for a known reason."""

from __future__ import annotations

import pytest

from .cases import all_cases, cnn_subset
from .runs import differences


def test_cases_of_convolutional_networks_natively() -> None:
    """Each twelfth, for each is compiled: the slow tier runs all."""
    found = differences(cnn_subset()[::12], "llvm")
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_all_cases(backend: str) -> None:
    found = differences(all_cases(), backend)
    assert not found, "\n".join(found)
