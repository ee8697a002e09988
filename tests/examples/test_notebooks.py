"""Notebooks are what the examples make them, and run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ..project.house import ROOT
from ..project.notebooks import NAMES, notebook, path_of


@pytest.mark.parametrize("name", NAMES)
def test_it_is_up_to_date(name: str) -> None:
    text = path_of(name).read_text(encoding="utf-8")
    assert text == notebook(name), "run `make docs`"
    document: dict[str, Any] = json.loads(text)
    kinds = [cell["cell_type"] for cell in document["cells"]]
    assert kinds[0] == "markdown"
    assert kinds.count("code") > 4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first cell to the last, with fewer epochs where it has many."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    document = nbformat.read(path_of(name), as_version=4)
    nbformat.validate(document)
    for cell in document.cells:
        cell.source = cell.source.replace("parse_args([])", "parse_args(['--epochs', '2'])")
    client = NotebookClient(document, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    done = client.execute()
    printed = [
        output.text for cell in done.cells for output in cell.get("outputs", ()) if "text" in output
    ]
    assert any(printed)
