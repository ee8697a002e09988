"""The package list equals the disk, and what is built from it works away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import cauce

from .house import FOLDERS, ROOT, sources

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = {
    *("llvm", "onnx", "train", "plot", "images", "view", "dask", "ray", "mpi"),
    *("demo", "docs", "all", "dev"),
}

PARSE = r"""
import cauce, os, sys
graph = cauce.parse(
    "graph g(%x: f32[N,3]) -> f32[N,3] {\n  %y = relu(%x) : f32[N,3]\n  return %y\n}"
)
cauce.verify(graph)
print(os.path.realpath(cauce.__file__))
print(os.path.realpath(sys.modules[type(graph).__module__].__file__))
"""


def installed_name(path: Path) -> str:
    """Where a file of the checkout stands in the wheel: ``ir/dims.py`` is cauce/ir/dims.py."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts if parts[0] == "cauce" else ("cauce", *parts))


def test_the_package_list_equals_the_disk() -> None:
    folders = {path.parent for folder in ("cauce", *FOLDERS) for path in sources(folder)}
    assert all((folder / "__init__.py").is_file() for folder in folders)
    on_disk = {
        installed_name(folder / "x").removesuffix("/x").replace("/", ".") for folder in folders
    }
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(on_disk)
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {
        "cauce": "cauce",
        **{f"cauce.{folder}": folder for folder in FOLDERS},
    }


def test_version_and_extras() -> None:
    assert cauce.__version__ == PROJECT["project"]["version"]
    assert set(PROJECT["project"]["optional-dependencies"]) == EXTRAS


def copy_of_the_checkout(target: Path) -> Path:
    """What a build reads, links kept."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("cauce", *FOLDERS):
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, target)
    return target


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """What the interpreter prints, run in ``cwd`` with ``path`` first on its module path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("leftover", ["nothing", "text file"])
def test_a_checkout_that_lost_its_links_works(tmp_path: Path, leftover: str) -> None:
    """An archive may leave links out; git on Windows writes a text file with the target."""
    checkout = copy_of_the_checkout(tmp_path)
    for folder in FOLDERS:
        (checkout / "cauce" / folder).unlink()
        if leftover == "text file":
            (checkout / "cauce" / folder).write_text(f"../{folder}")
    package, graph = python("-c", PARSE, cwd=checkout).splitlines()
    assert package == str(checkout / "cauce" / "__init__.py")
    assert graph == str(checkout / "ir" / "graph.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built through the sdist from a copy that holds a stale build of an older version."""
    folder = tmp_path_factory.mktemp("wheel")
    checkout = copy_of_the_checkout(folder / "checkout")
    stale = checkout / "build" / "lib" / "cauce" / "ir" / "deleted.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("raise RuntimeError('a deleted module came back')")
    python("-m", "build", "--no-isolation", "--outdir", str(folder), str(checkout), cwd=folder)
    (built,) = folder.glob("cauce-*.whl")
    assert list(folder.glob("cauce-*.tar.gz"))
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    info = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    expected = {installed_name(path) for folder in ("cauce", *FOLDERS) for path in sources(folder)}
    static = {installed_name(path) for path in (ROOT / "pages" / "static").iterdir()}
    assert static
    assert names - info == expected | static | {"cauce/py.typed"}
    assert any(name.endswith("/licenses/LICENSE") for name in info)
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata


@pytest.mark.slow
def test_the_wheel_works_from_another_directory(wheel: Path, tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target")
    python(*pip, str(installed), str(wheel), cwd=elsewhere)
    package, graph = python("-c", PARSE, cwd=elsewhere, path=installed).splitlines()
    assert package == str(installed / "cauce" / "__init__.py")
    assert graph == str(installed / "cauce" / "ir" / "graph.py")
    command = str(installed / "bin" / "cauce")
    for start in (("-m", "cauce"), (command,)):
        version = python(*start, "--version", cwd=elsewhere, path=installed)
        assert version == f"cauce {cauce.__version__}\n"
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {
        "cauce",
        "bin",
    }
