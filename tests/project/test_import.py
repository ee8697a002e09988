"""Importing cauce is cheap and leaves optional packages alone; no module is loaded twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from .house import FOLDERS, HEAVY, ROOT


def run(script: str, *arguments: str, **environment: str) -> Any:
    """What ``script``, run by a new interpreter at the root, prints as JSON in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_leaves_heavy_packages_alone() -> None:
    loaded = run("import cauce, json, sys; print(json.dumps(list(sys.modules)))")
    assert "cauce.ir.graph" in loaded
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_import_is_quick(tmp_path: Path) -> None:
    """Below 0.2 s of processor time beyond NumPy's, from compiled files."""
    script = (
        "import json, time, numpy; began = time.process_time(); import cauce; "
        "print(json.dumps(time.process_time() - began))"
    )
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    seconds = [run(script, **compiled) for _ in range(4)]  # the first one compiles
    assert min(seconds) < 0.2


def twins(modules: Mapping[str, ModuleType]) -> dict[str, list[str]]:
    """Files of the package that are loaded under more than one name, with these names."""
    names: dict[str, list[str]] = {}
    for name, module in modules.items():
        file = Path(os.path.realpath(getattr(module, "__file__", None) or os.sep))
        if any(file.is_relative_to(ROOT / folder) for folder in ("cauce", *FOLDERS)):
            names.setdefault(str(file.relative_to(ROOT)), []).append(name)
    return {file: found for file, found in names.items() if len(found) > 1}


def test_twins_are_found() -> None:
    module = SimpleNamespace(__file__=str(ROOT / "ir" / "dims.py"))
    linked = SimpleNamespace(__file__=str(ROOT / "cauce" / "ir" / "dims.py"))
    other = SimpleNamespace(__file__=str(ROOT / "ir" / "graph.py"))
    modules: Any = {"ir.dims": module, "cauce.ir.dims": linked, "cauce.ir.graph": other, "sys": sys}
    assert twins(modules) == {"ir/dims.py": ["ir.dims", "cauce.ir.dims"]}


def test_no_module_has_two_names_by_now() -> None:
    assert twins(dict(sys.modules)) == {}


def test_no_module_has_two_names_after_a_session() -> None:
    """A session that collects all tests and doctests has imported every file there is."""
    script = (
        "import json, sys, pytest; "
        "from tests.project.test_import import twins; "
        "code = pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist']); "
        "print(json.dumps([code, twins(dict(sys.modules)), list(sys.modules)]))"
    )
    code, found, loaded = run(script)
    assert code == 0
    assert found == {}
    assert {f"cauce.{folder}" for folder in FOLDERS} <= set(loaded)
