"""What ``load_onnx`` keeps of a file: the same model again, and never that of something else."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import cauce
from cauce import kept_imports
from cauce.frontends.onnx import importer
from cauce.frontends.onnx.call import Call
from cauce.frontends.onnx.rules import RULES, imports
from cauce.ir import Array
from cauce.ir.errors import CauceError, DataError, UnsupportedOp

from ..frontends.onnx.build import model
from .starts import assert_spared

node = helper.make_node
_RANDOM = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def network(**changed: Any) -> onnx.ModelProto:
    """A convolution with a large weight, a batch norm, a dropout, and large indices."""
    stored: dict[str, Any] = {"w": floats(16, 8, 3, 3), "b": floats(16)}
    stored |= {name: np.abs(floats(16)) + np.float32(0.5) for name in ("s", "o", "m", "v")}
    stored["i"] = np.arange(1000) % 16
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], "/stem/conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"], "/stem/norm"),
        node("Relu", ["n"], ["r"], "/stem/relu"),
        node("GlobalAveragePool", ["r"], ["g"], "/pool"),
        node("Dropout", ["g"], ["d"], "/drop"),
        node("Gather", ["d", "i"], ["y"], "/choose", axis=1),
    ]
    made = model(nodes, {"x": ("N", 8, "H", "W")}, ["y"], stored | changed)
    made.producer_name = "somebody"
    return made


X = floats(2, 8, 7, 9)


@pytest.fixture(autouse=True)
def folder(own_cache: Path) -> Path:
    return own_cache


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The inputs as given of each import."""
    given: list[object] = []
    real = importer.OnnxFile.imported

    def counting(self: importer.OnnxFile, inputs: object = None) -> importer.Imported:
        given.append(inputs)
        return real(self, inputs)

    monkeypatch.setattr(importer.OnnxFile, "imported", counting)
    return given


def saved(proto: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def same(one: cauce.Model, other: cauce.Model) -> None:
    assert one.graph.to_text() == other.graph.to_text()
    assert one.graph.constants().keys() == other.graph.constants().keys()
    assert one.training_graph.to_text() == other.training_graph.to_text()
    assert list(one.values) == list(other.values)
    for name, array in one.values.items():
        np.testing.assert_array_equal(array, other.values[name], strict=True)
    assert (one.origin, one.metadata) == (other.origin, other.metadata)
    assert one.summary(print_fn=None) == other.summary(print_fn=None)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_the_same_model_comes_back(
    as_bytes: bool, tmp_path: Path, imported: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(network(), tmp_path / "net.onnx")
    given: Any = path.read_bytes() if as_bytes else path
    first, second = cauce.load_onnx(given), cauce.load_onnx(given)
    assert len(imported) == 1
    monkeypatch.setenv("CAUCE_CACHE", "0")
    without = cauce.load_onnx(given)
    assert len(imported) == 2
    for backend in ("numpy", "llvm"):
        results = [cauce.compile(m, backend=backend)(X) for m in (first, second, without)]
        np.testing.assert_array_equal(results[0], results[1], strict=True)
        np.testing.assert_array_equal(results[0], results[2], strict=True)
    same(first, second)
    same(first, without)
    assert "dropout" in str(second.training_graph) and "somebody" in str(second.metadata)


_SCRIPT = """
import sys
import numpy as np
import cauce
model = cauce.load_onnx(sys.argv[1])
predict = cauce.compile(model, backend="llvm", threads=1)
np.save(sys.argv[2], predict(np.ones((2, 8, 7, 9), np.float32)))
print("\\n".join(sys.modules))
"""


def test_the_second_start_imports_neither_onnx_nor_passes_nor_the_graph(tmp_path: Path) -> None:
    path = saved(network(), tmp_path / "net.onnx")
    spared = {"onnx", "llvmlite", "cauce.frontends.onnx.importer", "cauce.passes.pipelines"}
    assert_spared(_SCRIPT, path, tmp_path, spared)


def test_the_graph_is_parsed_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(network(), tmp_path / "net.onnx")
    cauce.compile(cauce.load_onnx(path), backend="llvm")(X)
    parsed: list[str] = []
    from cauce.ir import parser

    real = parser.parse
    monkeypatch.setattr(parser, "parse", lambda *a: parsed.append("") or real(*a))
    predict = cauce.compile(loaded := cauce.load_onnx(path), backend="llvm")
    predict(X)
    assert not parsed
    predict(floats(1, 8, 4, 4))  # other sizes are checked on the graph
    assert len(parsed) == 1
    assert loaded.unread is not None
    loaded.graph.outputs["again"] = loaded.graph.outputs["y"]
    assert loaded.unread is None
    # A graph of the user's own is what is compiled from then on.
    assert len(cauce.compile(loaded, backend="llvm")(X)) == 2
    assert predict(X).shape == (2, 1000, 1, 1)


def test_sizes_that_do_not_fit_are_refused_each_time(tmp_path: Path) -> None:
    nodes = [node("MaxPool", ["x"], ["p"], kernel_shape=[3, 3]), node("Neg", ["p"], ["y"])]
    path = saved(model(nodes, {"x": ("N", 1, "H", "W")}, ["y"]), tmp_path / "net.onnx")
    said = []
    for _ in range(3):
        predict = cauce.compile(cauce.load_onnx(path), backend="llvm")
        with pytest.raises(CauceError) as caught:
            predict(floats(1, 1, 2, 2))
        said.append(str(caught.value))
        assert predict(floats(1, 1, 4, 4)).shape == (1, 1, 2, 2)
    assert said[0] == said[1] == said[2]
    assert "net.onnx MaxPool-18" in said[0]


def test_large_weights_come_from_the_file_as_it_is(tmp_path: Path, imported: list[object]) -> None:
    path = saved(network(), tmp_path / "net.onnx")
    first = cauce.load_onnx(path)
    other = network(
        **{name: a for name, a in first.values.items() if name not in ("w", "random.key")},
        w=floats(16, 8, 3, 3),
    )
    saved(other, path)
    second = cauce.load_onnx(path)
    assert len(imported) == 1
    wanted = onnx.numpy_helper.to_array(next(t for t in other.graph.initializer if t.name == "w"))
    np.testing.assert_array_equal(second.values["w"], wanted)


@pytest.mark.parametrize(
    "changed", [{"i": np.arange(1000) % 15}, {"b": floats(16)}, {"w": floats(16, 8, 1, 1)}]
)
def test_what_decides_on_the_graph_is_looked_at(
    changed: dict[str, Array], tmp_path: Path, imported: list[object]
) -> None:
    """Large indices are in the graph; small weights are in the entry; sizes in the message."""
    path = saved(network(), tmp_path / "net.onnx")
    held = cauce.load_onnx(path).values
    own = {name: held[name] for name in "wbsomv"}
    saved(network(**{**own, **changed}), path)
    second = cauce.load_onnx(path)
    assert len(imported) == 2
    for name, array in changed.items():
        found = (
            second.values[name] if name != "i" else next(iter(second.graph.constants().values()))
        )
        np.testing.assert_array_equal(found, array)


def test_names_and_inputs_and_versions_have_entries_of_their_own(
    tmp_path: Path, imported: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = network()
    one, other = (saved(proto, tmp_path / name) for name in ("one.onnx", "other.onnx"))
    calls: list[Any] = [
        lambda: cauce.load_onnx(one),
        lambda: cauce.load_onnx(other),
        lambda: cauce.load_onnx(one.read_bytes()),
        lambda: cauce.load_onnx(one, inputs={"x": (1, 8, 6, 6)}),
        lambda: cauce.load_onnx(one, inputs={"x": ("N", 8, 6, 6)}),
        lambda: cauce.load_onnx(one, inputs={"x": floats(1, 8, 6, 6)}),
        lambda: cauce.load_onnx(one, inputs={"x": floats(1, 8, 6, 6)}),
    ]
    for count, call in enumerate(calls, 1):
        call()
        assert len(imported) == count
    for call in calls[:5]:
        call()
    assert len(imported) == len(calls)
    assert "other.onnx" in str(calls[1]().graph.to_text())
    monkeypatch.setattr(kept_imports, "VERSION", "0.0.0")
    calls[0]()
    assert len(imported) == len(calls) + 1


def test_entries_that_are_none_are_made_anew(
    folder: Path, tmp_path: Path, imported: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(network(), tmp_path / "net.onnx")
    first = cauce.load_onnx(path)
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    for damaged in (whole[:-1], whole[:99], b"", whole.replace(b"Conv", b"Cinv")):
        entry.write_bytes(damaged)
        count = len(imported)
        same(cauce.load_onnx(path), first)
        assert len(imported) == count + 1
    # What this user wrote, but no entry.
    store = kept_imports.default_store()
    for content in (b"", b"\xff" * 50, b"\2\0\0\0\0\0\0\0{}", b"\4\0\0\0\0\0\0\0null"):
        store.put(entry.name.partition(".")[0], content)
        count = len(imported)
        same(cauce.load_onnx(path), first)
        assert len(imported) == count + 1


def test_nothing_is_kept_where_that_is_turned_off(
    folder: Path, tmp_path: Path, imported: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUCE_CACHE", "0")
    path = saved(network(), tmp_path / "net.onnx")
    for count in (1, 2):
        cauce.load_onnx(path)
        assert len(imported) == count
    assert not folder.exists()


def test_models_for_each_size_are_kept_too(tmp_path: Path, imported: list[object]) -> None:
    nodes = [
        node("MaxPool", ["x"], ["p"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    ]
    nodes += [node("Shape", ["p"], ["s"]), node("ReduceMax", ["s"], ["m"], keepdims=1)]
    nodes += [node("Concat", ["m", "m"], ["mm"], axis=0), node("ConstantOfShape", ["mm"], ["y"])]
    path = saved(model(nodes, {"x": ("N", 1, "H", "W")}, ["p", "y"]), tmp_path / "net.onnx")
    results, said = [], []
    x = floats(1, 1, 7, 9)
    for _ in range(2):
        loaded = cauce.load_onnx(path)
        said.append((repr(loaded), *map(str, loaded.inputs)))
        results.append(cauce.compile(loaded, backend="llvm")(x))
        with pytest.raises(CauceError) as caught:
            loaded.graph  # noqa: B018
        said[-1] += (str(caught.value),)
    assert said[0] == said[1]
    assert len(imported) == 4  # with nothing known, then with H, with W, and with N too
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other, strict=True)


def test_external_data_are_read_and_missed_as_before(
    tmp_path: Path, imported: list[object]
) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(network(), path, save_as_external_data=True, location="weights", size_threshold=0)
    first, second = cauce.load_onnx(path), cauce.load_onnx(path)
    assert len(imported) == 1
    same(first, second)
    (tmp_path / "weights").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="which cannot be read"):
        cauce.load_onnx(path)


def test_errors_are_the_same_each_time(tmp_path: Path) -> None:
    proto = model([node("LSTM", ["x"], ["y"], "n")], {"x": (2,)}, ["y"])
    path, said = saved(proto, tmp_path / "net.onnx"), []
    for _ in range(2):
        with pytest.raises(UnsupportedOp) as caught:
            cauce.load_onnx(path)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_with_a_rule_of_the_user_nothing_is_kept(
    tmp_path: Path, imported: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(network(), tmp_path / "net.onnx")
    cauce.load_onnx(path)
    monkeypatch.setitem(RULES, "Relu", RULES["Relu"])  # which puts it back

    @imports("Relu")
    def twice(n: Call) -> Any:
        return n.value(0)

    assert "relu" not in str(cauce.load_onnx(path).graph)
    assert len(imported) == 2


def test_a_model_whose_graph_is_unread_is_copied_and_sent(tmp_path: Path) -> None:
    path = saved(network(), tmp_path / "net.onnx")
    first = cauce.load_onnx(path)
    for made in (copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))):
        twin = made(cauce.load_onnx(path))
        assert twin.unread is not None
        np.testing.assert_array_equal(cauce.compile(twin)(X), cauce.compile(first)(X))
        same(twin, first)
    predict = pickle.loads(pickle.dumps(cauce.compile(cauce.load_onnx(path), backend="llvm")))
    np.testing.assert_array_equal(predict(X), cauce.compile(first, backend="llvm")(X))


def test_options_and_taps_take_the_graph(tmp_path: Path) -> None:
    path = saved(network(), tmp_path / "net.onnx")
    cauce.load_onnx(path)
    found = cauce.compile(cauce.load_onnx(path), batch=2, taps=["stem.conv"])
    y, taps = found.tapped(X)
    assert taps["stem.conv"].shape == (2, 16, 4, 5)
    np.testing.assert_allclose(y, cauce.compile(cauce.load_onnx(path))(X), rtol=1e-5, atol=1e-6)
