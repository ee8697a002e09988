"""``cauce cache``, ``cauce doctor`` and ``cauce ops``: what there is."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce import environment
from cauce.backends.llvm.runtime.cache import default_store
from cauce.environment import PACKAGES, Environment, Package, Program, Tried
from cauce.ir import Op, registry, verify
from cauce.op_examples import EXAMPLES
from cauce.op_help import example_gradient, gradient_graph, op_help
from cauce.support import support_rows

from ..project.house import ROOT
from .calls import Call


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("CAUCE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_listed_and_cleared(
    cache: Path, model: cauce.Model, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llvmlite")
    assert call("cache").out == f"0 files, 0 bytes in {cache}\n"
    cauce.compile(model, "llvm")
    cauce.compile(model, "llvm", batch=2)
    for name in ("ab" * 8 + ".blob", "notes.txt"):
        (cache / name).write_bytes(b"other")
    blobs = [path for path in cache.iterdir() if path.suffix == ".blob"]
    times = {path: path.stat().st_mtime_ns for path in blobs}
    total = sum(path.stat().st_size for path in blobs)
    found = call("cache", "--json").json
    # What is damaged was removed when it was read.
    assert [entry["name"] for entry in found["entries"]].count("small") == 2
    assert found["bytes"] == total and found["folder"] == str(cache)
    assert found["problem"] is None
    kept = [path for path in blobs if path.exists()]
    assert len(kept) == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == {path: times[path] for path in kept}
    assert call("cache", "size").out == f"{total - len(b'other')}\n"
    assert "small" in call("cache", "list").out
    cleared = call("cache", "clear", "--json").json
    assert cleared["files"] == 2 and cleared["left"] == 0
    assert [path.name for path in cache.iterdir()] == ["notes.txt"]
    assert call("cache", "clear").out == "removed 0 files, 0 bytes\n"
    assert call("cache", "size", "--json").json["files"] == 0


def test_imports_and_sizes_are_listed(cache: Path, folder: Path, call: Call) -> None:
    pytest.importorskip("llvmlite")
    np.save("images.npy", np.zeros((2, 1, 6, 6), np.float32))
    assert call("run", "net.onnx", "images.npy").code == 0
    assert call("run", "net.onnx", "images.npy").code == 0
    found = call("cache", "--json").json["entries"]
    assert {"code", "import"} <= {entry["what"] for entry in found} <= {"code", "import", "sizes"}
    for entry in found:
        assert (entry["name"] == "small") == (entry["what"] != "sizes")
        assert bool(entry["target"]) == (entry["what"] == "code")
    other = Path(found[0]["path"]).with_name("ab" * 16 + ".blob")
    default_store().put("ab" * 16, b"of another version")
    assert other.exists()
    assert "unknown" in {entry["what"] for entry in call("cache", "--json").json["entries"]}


def test_why_nothing_is_kept(cache: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUCE_CACHE", "0")
    assert "nothing is kept: it is switched off" in call("cache").out
    monkeypatch.delenv("CAUCE_CACHE")
    cache.write_text("a file")
    assert default_store().problem() is not None
    cache.unlink()
    if hasattr(os, "geteuid"):
        cache.mkdir()
        cache.chmod(0o777)
        assert "nobody else may write" in call("cache", "--json").json["problem"]


def test_doctor_says_what_is_here(cache: Path, call: Call) -> None:
    found = call("doctor", "--json").json
    assert found["works"] is True
    assert found["versions"]["cauce"] == cauce.__version__
    assert {package["name"] for package in found["packages"]} == set(PACKAGES)
    assert found["variables"]["CAUCE_CACHE_DIR"] == str(cache)
    tried = {backend["name"]: backend for backend in found["backends"]}
    assert tried["numpy"] == {"name": "numpy", "installed": True, "problem": None}
    out = call("doctor").out
    assert cauce.__version__ in out and str(cache) in out and "works" in out


def test_doctor_says_what_is_missing_and_broken(
    cache: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = environment._version
    monkeypatch.setattr(
        environment, "_version", lambda name: None if name == "rich" else version(name)
    )

    def broken(graph: object, backend: str) -> object:
        raise OSError("libfoo is missing")

    monkeypatch.setattr(environment, "compile", broken)
    done = call("doctor")
    assert done.code == 1
    assert "to install what is missing:\n  pip install 'rich>=" in done.out
    assert "OSError: libfoo is missing" in done.out
    monkeypatch.setenv("CAUCE_TARGET", "neon" if "neon" not in call("doctor").out else "avx2")
    assert "this machine has no" in call("doctor").out


def test_a_backend_that_computes_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_TOLERANCE", -1.0)
    tried = environment._tried("numpy")
    assert tried.problem is not None and "differs from the reference" in tried.problem


def test_what_is_not_installed_is_no_fault() -> None:
    store = default_store()
    found = Environment(
        {},
        "",
        1,
        None,
        None,
        None,
        (Package("rich", "", None),),
        (Program("mpiexec", "", None),),
        None,
        (Tried("numpy", False, None), Tried("llvm", True, "not there")),
        store,
        {},
    )
    assert found.works
    assert found.packages[0].command.startswith("pip install")
    assert found.programs[0].command


def test_doctor_knows_every_optional_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        requirement
        for extra, requirements in extras["optional-dependencies"].items()
        if extra not in ("dev", "docs")  # what users of the library do not need
        for requirement in [*requirements, *extras["dependencies"]]
    ]
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in wanted} - {"cauce"}
    assert names == set(PACKAGES)


def test_doctor_says_how_ranks_are_started(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    monkeypatch.setattr(environment, "_version", lambda name: None)
    found = call("doctor", "--json").json
    (program,) = found["programs"]
    assert program["name"] == "mpiexec" and program["path"] is None and found["mpi"] is None
    assert program["install"] == "apt-get install openmpi-bin"
    out = call("doctor").out
    assert "apt-get install openmpi-bin" in out and "  present  " not in out
    for package in ("mpi4py", "distributed", "ray"):
        assert re.search(rf"pip install '?{package}\b", out)


def test_an_mpi_that_cannot_be_loaded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_version", lambda name: "4.0")
    monkeypatch.setattr(environment, "_FIND_MPI", "raise RuntimeError('no libmpi.so')")
    assert environment._mpi() == "mpi4py finds none: RuntimeError: no libmpi.so"
    monkeypatch.setattr(environment, "_FIND_MPI", "print('Open MPI v5')")
    assert environment._mpi() == "Open MPI v5"


def test_ops_prints_the_table(call: Call) -> None:
    lines = call("ops").out.splitlines()
    rows = support_rows()
    assert [line.split()[0] for line in lines[2:]] == [row.op for row in rows]
    assert [row["op"] for row in call("ops", "--json").json] == sorted(registry())


def test_ops_prints_all_about_one(call: Call) -> None:
    out = call("ops", "conv2d").out
    assert out.startswith("conv2d(x, weight, bias?) -> y\n")
    for part in ("stride", "padding", "%dx = conv2d_backward_data(%dy, %weight)", "numpy: kernel"):
        assert part in out
    found = call("ops", "batch_norm", "--json").json
    assert found["operands"] == ["x", "gamma", "beta", "mean", "variance"]
    assert "graph gradient_of_batch_norm" in found["gradient_text"]
    done = call("ops", "conv3")
    assert done.code == 1 and "did you mean conv" in done.err


@pytest.mark.parametrize("name", sorted(registry()))
def test_every_gradient_has_a_text(name: str) -> None:
    cls = registry()[name]
    text = example_gradient(cls)
    if cls.zero_gradient:
        assert text.startswith("zero")
    elif any("Graph" in str(kind) for kind in cls.kinds().values()):
        assert "its body" in text
    elif cls.gradient is Op.gradient and cls.decompose is Op.decompose:
        assert text.startswith("none: ")
    else:
        graph = gradient_graph(cls)
        verify(graph)
        assert graph.outputs and text == graph.to_text(locations=False)
    assert op_help(name).attributes.keys() == cls.kinds().keys()


def test_every_example_is_of_an_op() -> None:
    assert [name for name in EXAMPLES if name not in registry()] == []
