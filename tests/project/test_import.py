"""Importing cauce is cheap and leaves optional packages alone; no module is loaded twice."""

from __future__ import annotations

import ast
import importlib
import json
import os
import site
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import cauce

from .house import FOLDERS, HEAVY, ROOT


def run(script: str, *arguments: str, **environment: str) -> Any:
    """What ``script``, run by a new interpreter at the root, prints as JSON in its last line.

    It runs without ``site``: an editable install finds its modules by a hook that is run there, and
    that hook imports modules itself (pathlib, for one).
    """
    folders = [str(ROOT), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def loaded_by(code: str) -> set[str]:
    """The modules that are loaded when ``code`` has run."""
    return set(run(f"import json, sys\n{code}\nprint(json.dumps(list(sys.modules)))"))


def test_importing_cauce_imports_next_to_nothing() -> None:
    loaded = loaded_by("import cauce; dir(cauce)")
    assert {name for name in loaded if name.startswith("cauce")} == {"cauce"}
    assert not loaded & {"numpy", "pathlib", "dataclasses"}


def test_public_names_leave_heavy_packages_alone() -> None:
    loaded = loaded_by("from cauce import *; from cauce.models import *; from cauce.nn import *")
    assert {"cauce.compiler", "cauce.trainer", "cauce.frontends.zoo.resnet"} <= loaded
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_loading_and_compiling_leave_alone_what_they_do_not_need() -> None:
    loaded = loaded_by("from cauce import compile, load")
    others = ("training", "trainer", "training_step", "frontends.zoo", "passes.autodiff")
    assert "cauce.ir.graph" in loaded
    assert not loaded & {f"cauce.{name}" for name in others}
    assert not loaded & {"hashlib", "numpy.random", "pathlib", "sysconfig", "tempfile"}


WARM = """
import sys, numpy as np, cauce
model = cauce.load(sys.argv[1])
predict = cauce.compile(model, backend="llvm")
predict(np.zeros((1, 1, 28, 28), np.float32))
"""


def test_code_from_the_cache_runs_without_what_made_it(tmp_path: Path) -> None:
    file = tmp_path / "lenet5.safetensors"
    cauce.models.lenet5.init(image=("N", 1, 28, 28)).save(file)
    script = f"{WARM}\nimport json; print(json.dumps(list(sys.modules)))"
    environment = {"CAUCE_CACHE_DIR": str(tmp_path / "cache"), "CAUCE_CACHE": "1"}
    cold, warm = (set(run(script, str(file), **environment)) for _ in range(2))
    assert {"llvmlite.binding", "cauce.backends.llvm.build", "cauce.passes.pipelines"} <= cold
    assert not HEAVY & {name.partition(".")[0] for name in warm}
    assert not {name for name in warm if name.startswith("cauce.passes")}
    native = {name.removeprefix("cauce.backends.llvm.") for name in warm}
    assert not {name for name in native if name.partition(".")[0] in ("lowering", "codegen")}
    floor = {"abi", "driver", "target"}
    assert {
        name for name in native if name.partition(".")[0] in ("build", "registry", *floor)
    } == floor
    assert "cauce.backends.llvm.runtime.program" in warm
    assert not {name for name in warm if name.startswith("cauce.backends.llvm.schedule")}
    assert "cauce.frontends.tracing" not in warm
    assert not warm & {"hashlib", "pathlib", "tempfile"}


def test_names_are_found_where_type_checkers_look_for_them() -> None:
    tree = ast.parse((ROOT / "cauce" / "__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If) and node.orelse)
    told = {
        alias.asname or alias.name: (statement.module or alias.name, alias.name)
        for statement in checked.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert set(cauce.__all__) <= set(told) == set(cauce._PLACES) <= set(dir(cauce))
    for name, (home, original) in told.items():
        found = importlib.import_module(f"cauce.{home}")
        assert getattr(cauce, name) is getattr(found, original, found), name


def test_a_name_that_cauce_does_not_have() -> None:
    with pytest.raises(AttributeError, match="module 'cauce' has no attribute 'lod'") as caught:
        cauce.lod  # type: ignore[attr-defined]  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("lod", cauce)


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


@pytest.mark.slow
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
