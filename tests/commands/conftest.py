"""A folder with a model in every form that the commands take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cauce

from ..api.nets import small
from .calls import NET, Call, caller


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs ``cauce`` with some arguments in this process."""
    return caller(capsys)


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> tuple[cauce.Model, Path]:
    folder = tmp_path_factory.mktemp("models")
    model = small.init(image=("N", 1, 6, 6), seed=3)
    model.save(folder / "net.safetensors")
    cauce.export_onnx(model, folder / "net.onnx")
    (folder / "net.py").write_text(NET)
    return model, folder


@pytest.fixture
def model(_written: tuple[cauce.Model, Path]) -> cauce.Model:
    """The model of the files."""
    return _written[0]


@pytest.fixture
def folder(_written: tuple[cauce.Model, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, which the tests run in: net.safetensors, net.onnx and net.py."""
    monkeypatch.chdir(_written[1])
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield _written[1]
    sys.modules.pop("net", None)
