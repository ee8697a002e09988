"""The install command of an optional package works for the installation at hand."""

from __future__ import annotations

import tomllib
from importlib import metadata
from typing import Any

import pytest

from cauce.ir.errors import install
from tests.project.house import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STATED = {wanted for extra in PROJECT["optional-dependencies"].values() for wanted in extra} - {
    f"cauce[{name}]" for name in PROJECT["optional-dependencies"]
}


@pytest.mark.parametrize(
    "package", ["llvmlite", "onnx", "safetensors", "rich", "scikit-learn", "matplotlib", "pillow"]
)
def test_the_command_names_the_package_in_the_version_that_is_wanted(package: str) -> None:
    """Never ``cauce[...]``, which is of use only where an index has cauce."""
    (wanted,) = (text for text in STATED if text.partition(">")[0] == package)
    assert install(package) == f"pip install '{wanted}'"


def test_onnx_is_not_taken_for_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = ["onnxruntime>=1.26; extra == 'demo'", "ONNX>=1.18; extra == 'onnx'"]
    monkeypatch.setattr(metadata, "requires", lambda name: stated)
    assert install("onnx") == "pip install 'ONNX>=1.18'"


@pytest.mark.parametrize("stated", [None, ["numpy>=2"]])
def test_what_the_metadata_do_not_tell(
    monkeypatch: pytest.MonkeyPatch, stated: list[str] | None
) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: stated)
    assert install("onnx") == "pip install onnx"


def test_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert install("onnx") == "pip install onnx"
