"""Compiled code from the cache: the same as compiled anew, and never that of something else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.executable import Executable
from cauce.backends.llvm import build
from cauce.backends.llvm.abi import Artifact
from cauce.backends.llvm.runtime import cache as store
from cauce.backends.llvm.runtime import key as cache
from cauce.backends.llvm.runtime.library import Library
from cauce.backends.llvm.stored import from_bytes, to_bytes
from cauce.backends.llvm.target import LIMIT
from cauce.frontends.model import Model
from cauce.ir import Array, Builder, Graph, Op, Role, TensorType, Value
from cauce.ir.errors import ShapeError
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.elementwise import Add, Sub
from cauce.ir.ops.fused import Fused
from cauce.ir.pass_manager import Timing
from cauce.passes.pipelines import INFERENCE

from ..api.nets import batch, small

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(own_cache: Path) -> Path:
    return own_cache


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the graphs that were compiled, one for each time."""
    names: list[str] = []
    real = build.compile_graph

    def counting(graph: Graph, *rest: Any) -> Artifact:
        names.append(graph.name)
        return real(graph, *rest)

    monkeypatch.setattr(build, "compile_graph", counting)
    return names


@pytest.fixture
def model() -> Model:
    return small.init(image=("N", 1, 6, 6), seed=1)


def native(model: Model | Graph, **options: Any) -> Executable:
    return cauce.compile(model, backend="llvm", **options)


IMAGE = batch(4)["image"]


# ---- warm is as cold ---------------------------------------------------------------------------


def test_warm_is_as_cold_bit_for_bit(model: Model, compiled: list[str]) -> None:
    cold, warm = native(model), native(model)
    assert compiled == ["small"]
    for count in (1, 3, 8):
        image = batch(count)["image"]
        np.testing.assert_array_equal(cold(image), warm(image), strict=True)
    assert cold.program.fingerprint == warm.program.fingerprint
    assert repr(cold) == repr(warm)


def test_other_weights_have_the_same_code(model: Model, compiled: list[str]) -> None:
    native(model)
    other = small.init(image=("N", 1, 6, 6), seed=2)
    warm = native(other)
    assert compiled == ["small"]
    np.testing.assert_allclose(warm(IMAGE), cauce.compile(other, "numpy")(IMAGE), atol=1e-5)


def test_all_that_can_be_asked_of_a_warm_executable(model: Model, compiled: list[str]) -> None:
    cold, warm = native(model, taps=["conv1"]), native(model, taps=["conv1"])
    assert len(compiled) == 1
    assert warm.graph.same_as(cold.graph)
    for node in (None, "conv1"):
        for form in ("llvm", "assembly"):
            assert warm.code(form, node) == cold.code(form, node)
    assert warm.plan(N=2) == cold.plan(N=2)
    assert warm.taps == cold.taps
    tapped = [executable.tapped(IMAGE)[1]["conv1"] for executable in (cold, warm)]
    np.testing.assert_array_equal(*tapped)
    rows = [[(t.path, t.op, t.flops, t.bytes) for t in e.profile(IMAGE)] for e in (cold, warm)]
    assert rows[0] == rows[1] != []


def test_steps_of_training(model: Model, compiled: list[str]) -> None:
    images = batch(8)
    seen = []
    for _ in range(2):
        optimizer = cauce.SGD(0.1, momentum=0.9)
        step = cauce.train_step(model, "cross_entropy", optimizer, backend="llvm")
        state = step.init()
        losses = []
        for _ in range(3):
            state = step(state, images)
            losses.append(state.loss)
        seen.append((losses, state.read()))
    assert len(compiled) == 1
    assert seen[0][0] == seen[1][0]
    for name, array in seen[0][1].items():
        np.testing.assert_array_equal(array, seen[1][1][name])


@cauce.network
def shrinking(image):
    """Takes images of at least five rows."""
    return nn.conv2d(nn.conv2d(image, 2, 3), 2, 3)


def test_sizes_that_do_not_fit_are_told_alike(compiled: list[str]) -> None:
    model = shrinking.init(image=("N", 1, "H", 8))
    messages = []
    for executable in (native(model), native(model)):
        with pytest.raises(ShapeError) as caught:
            executable(np.zeros((1, 1, 4, 8), np.float32))
        messages.append(str(caught.value))
    assert len(compiled) == 1
    assert messages[0] == messages[1]
    assert "return nn.conv2d(nn.conv2d(image, 2, 3), 2, 3)" in messages[0]
    assert "test_cache.py" in messages[0]


# ---- the key -----------------------------------------------------------------------------------


def test_options_make_other_code(model: Model, folder: Path) -> None:
    for count, options in enumerate(
        ({}, {"batch": 2}, {"batch": 3}, {"taps": ["conv1"]}, {"taps": ["conv2"]}), 1
    ):
        for _ in range(2):
            native(model, **options)
        assert len(list(folder.iterdir())) == count, options
    native(model, threads=2)
    assert len(list(folder.iterdir())) == count


def key_of(graph: Graph, options: str | None = "some") -> str | None:
    return cache.cache_key(cache.Request(graph, graph.copy, options))


def test_graphs_make_other_keys(model: Model) -> None:
    keys = {key_of(model.graph), key_of(model.training_graph), key_of(model.graph, "others")}
    for options in ({"classes": 4}, {"image": ("N", 1, 6, 8)}):
        arguments = {"image": ("N", 1, 6, 6), **options}
        keys.add(key_of(small.init(**arguments).graph))
    assert len(keys) == 5
    without = cauce.parse(model.graph.to_text(locations=False))
    assert key_of(without) == key_of(model.graph)


def test_versions_make_other_keys(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(model.graph)
    assert key_of(model.graph) == before
    monkeypatch.setattr(cache, "VERSION", "0.0.0")
    assert key_of(model.graph) != before


def test_edits_make_other_keys(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [ROOT / "cauce" / part / "*.py" for part in ("", "ir", "ir/ops", "passes", "backends")]
    for pattern in [*files, ROOT / "cauce" / "backends" / "llvm" / "*.py"]:
        place = tmp_path / "package" / pattern.parent.relative_to(ROOT / "cauce")
        place.mkdir(parents=True, exist_ok=True)
        for file in sorted(pattern.parent.glob("*.py"))[:3]:
            shutil.copy2(file, place)
    monkeypatch.setattr(cache, "_PACKAGE", str(tmp_path / "package"))
    # Each process looks once.
    monkeypatch.setattr(cache, "modules", cache.modules.__wrapped__)
    keys = {key_of(model.graph)}
    edited = sorted((tmp_path / "package").rglob("*.py"))
    assert len(edited) >= 16
    for file in edited:
        status = file.stat()
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns - 1_000_000_000))
        keys.add(key_of(model.graph))
    edited[0].unlink()
    keys.add(key_of(model.graph))
    assert len(keys) == len(edited) + 2


def test_another_llvm_makes_another_key(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(model.graph)
    origin = tmp_path / "__init__.py"
    origin.touch()
    monkeypatch.setattr(cache, "origin_of", lambda name: str(origin))
    assert key_of(model.graph) != before


def test_another_target_makes_other_code(
    model: Model, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    native(model)
    for limit in ("scalar", "scalar", ""):
        monkeypatch.setenv(LIMIT, limit)
        executable = native(model)
        assert ("(scalar)" in executable.program.fingerprint) == (limit == "scalar")
    assert len(compiled) == 2


@pytest.mark.parametrize(
    "options",
    [{"passes": INFERENCE}, {"instruments": [Timing()]}, {"validate": True}],
    ids=lambda options: next(iter(options)),
)
def test_what_nobody_can_name_is_not_kept(
    options: dict[str, Any], model: Model, folder: Path
) -> None:
    native(model)(IMAGE)
    kept = set(folder.iterdir())
    native(model, **options)(IMAGE)
    assert set(folder.iterdir()) == kept


class Twice(Op):
    """2 x, where the meaning stands in a file that is not cauce's."""

    name = "twice"

    def infer(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: Array) -> Array:
        return np.add(x, x)

    def decompose(self, b: Builder, x: Value) -> Value:
        return b(Add(), x, x)


def test_ops_of_the_user_are_not_kept(compiled: list[str], folder: Path) -> None:
    graph = Graph("own")
    x = graph.add_input("x", TensorType.make("f32", (3,)))
    graph.outputs["y"] = graph.add_node(Twice(), [x]).result
    assert key_of(graph) is None
    for _ in range(2):
        assert native(graph)(np.ones(3, np.float32)).tolist() == [2, 2, 2]
    assert len(compiled) == 2 and not folder.exists()


def test_ops_of_the_user_are_found_in_regions() -> None:
    body = Graph("body")
    x = body.add_input("x", TensorType.make("f32", (3,)))
    body.outputs["y"] = body.add_node(Twice(), [x]).result
    graph = Graph("outer")
    x = graph.add_input("x", TensorType.make("f32", (3,)))
    first = graph.add_node(Relu(), [x]).result
    graph.outputs["y"] = graph.add_node(Fused(body), [first]).result
    assert key_of(graph) is None


# ---- damage ------------------------------------------------------------------------------------


def damaged(change: Callable[[Artifact], bytes], folder: Path) -> None:
    """Put something else into the store, under the key of the only file that is there."""
    (path,) = folder.iterdir()
    kept = store.default_store()
    known = kept.get(path.stem)
    assert known is not None
    kept.put(path.stem, change(from_bytes(known)))


def elsewhere(artifact: Artifact, **changes: Any) -> bytes:
    """The artifact with an image that cannot be loaded here."""
    if isinstance(artifact.code, bytes):
        pytest.skip("objects of this platform are left to LLVM")
    return to_bytes(replace(artifact, code=replace(artifact.code, **changes)))


CHANGES: dict[str, Callable[[Artifact], bytes]] = {
    "nothing": lambda artifact: b"",
    "an older format": lambda a: to_bytes(a).replace(b"cauce artifact ", b"cauce artifact 0", 1),
    "half of it": lambda artifact: to_bytes(artifact)[:700],
    "no JSON": lambda artifact: to_bytes(artifact).replace(b'{"digest"', b"{'digest'", 1),
    "a field less": lambda artifact: to_bytes(artifact).replace(b'"digest"', b'"digger"', 1),
    "a list": lambda artifact: to_bytes(artifact)[:17] + (2).to_bytes(8, "little") + b"[]",
    "for another processor": lambda artifact: elsewhere(artifact, machine=243),
    "for larger pages": lambda artifact: elsewhere(artifact, parts=(1, 2, 3)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_used_is_made_anew(
    change: str, model: Model, compiled: list[str], folder: Path
) -> None:
    expected = native(model)(IMAGE)
    damaged(CHANGES[change], folder)
    np.testing.assert_array_equal(native(model)(IMAGE), expected)
    assert len(compiled) == 2
    native(model)  # the file is whole again
    assert len(compiled) == 2


def test_code_that_is_left_to_llvm_is_kept_as_an_object(
    model: Model, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "laid_out", lambda code: code)
    cold, warm = native(model), native(model)
    assert compiled == ["small"]
    for executable in (cold, warm):
        assert type(executable.program._code) is Library  # type: ignore[attr-defined]
    np.testing.assert_array_equal(cold(IMAGE), warm(IMAGE), strict=True)


def test_a_truncated_file_is_made_anew(model: Model, compiled: list[str], folder: Path) -> None:
    native(model)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    native(model)(IMAGE)
    assert len(compiled) == 2


# ---- where nothing can be kept, or many want to ------------------------------------------------


def test_switched_off(
    model: Model, compiled: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native(model)
    monkeypatch.setenv("CAUCE_CACHE", "0")
    for _ in range(2):
        native(model)(IMAGE)
    assert len(compiled) == 3 and len(list(folder.iterdir())) == 1


def test_a_cache_that_cannot_be_written(model: Model, compiled: list[str], folder: Path) -> None:
    folder.write_text("a file is in the way")
    for _ in range(2):
        native(model)(IMAGE)
    assert len(compiled) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_cannot_be_written(
    model: Model, compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CAUCE_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.chmod(0o500)
    try:
        for _ in range(2):
            native(model)(IMAGE)
    finally:
        tmp_path.chmod(0o700)
    assert len(compiled) == 2


def test_the_size_is_bounded(model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native(model)
    limit = 3 * next(folder.iterdir()).stat().st_size
    monkeypatch.setattr(store, "DEFAULT_LIMIT", limit)
    for size in range(1, 7):
        native(model, batch=size)
        assert sum(file.stat().st_size for file in folder.iterdir()) <= limit
    assert len(list(folder.iterdir())) >= 2


PROCESS = """
import sys, numpy as np, cauce
from tests.api.nets import batch, small
predict = cauce.compile(small.init(image=("N", 1, 6, 6), seed=1), backend="llvm")
np.save(sys.argv[1], predict(batch(4)["image"]))
"""


def test_processes_that_compile_the_same_model_at_a_time(
    model: Model, tmp_path: Path, folder: Path
) -> None:
    outputs = [tmp_path / f"{i}.npy" for i in range(3)]
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(output)], cwd=ROOT)
        for output in outputs
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    expected = native(model)(IMAGE)
    for output in outputs:
        np.testing.assert_array_equal(np.load(output), expected)
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("order", [("x", "h"), ("h", "x")])
def test_the_order_of_inputs_is_part_of_the_key(order: tuple[str, str]) -> None:
    roles = {"x": Role.DATA, "h": Role.HYPERPARAMETER}
    for names in (order, order[::-1]):
        graph = Graph("less")
        values = {
            name: graph.add_input(name, TensorType.make("f32", ()), roles[name]) for name in names
        }
        graph.outputs["y"] = Builder(graph)(Sub(), values["x"], values["h"])
        native, plain = (cauce.compile(graph, backend=name) for name in ("llvm", "numpy"))
        assert native(np.float32(3), np.float32(1)) == plain(np.float32(3), np.float32(1))
