"""Which libraries are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from cauce.ir.installed import origin_of


def test_what_is_imported_and_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert origin_of("numpy") == np.__file__
    assert origin_of("no_such_library") is None
    monkeypatch.setitem(sys.modules, "numpy", None)  # as where an import of it fails
    assert origin_of("numpy") is None


def test_what_comes_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.syspath_prepend(first)
    assert origin_of("cauce_test_library") is None
    for folder in (first, second):
        (folder / "cauce_test_library").mkdir(parents=True)
        (folder / "cauce_test_library" / "__init__.py").touch()
        monkeypatch.syspath_prepend(folder)
        expected = str(folder / "cauce_test_library" / "__init__.py")
        assert origin_of("cauce_test_library") == expected
        assert origin_of("cauce_test_library") == expected
    assert "cauce_test_library" not in sys.modules
