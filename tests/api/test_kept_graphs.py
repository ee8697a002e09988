"""What ``load`` keeps of a file: a graph that was read before is not read again, others are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce import loading, nn
from cauce.backends.llvm.runtime.cache import default_store
from cauce.frontends import stored
from cauce.frontends.tensor import Tensor
from cauce.ir import Array, Graph
from cauce.ir.errors import GraphError, ParseError
from cauce.ir.tensors_file import load_tensors, save_tensors
from cauce.kept import kept

from .starts import assert_spared


@cauce.network
def small(image: Tensor) -> Tensor:
    table = np.linspace(-1, 1, 300, dtype=np.float32)
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 4, 3, padding=1, name="conv")))
    return nn.linear(nn.dropout(nn.flatten(x), 0.5), 300, name="head") + table


X = np.random.default_rng(2).standard_normal((2, 3, 4, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def folder(own_cache: Path) -> Path:
    return own_cache


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of the model."""
    path = tmp_path / "net.safetensors"
    small.init(image=("N", 3, 4, 4), seed=0).save(path)
    return path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are parsed."""
    texts: list[str] = []
    real = cauce.parse

    def counting(text: str, constants: dict[str, Array] | None = None) -> Graph:
        texts.append(text)
        return real(text, constants)

    monkeypatch.setattr(cauce.ir, "parse", counting)
    monkeypatch.setattr("cauce.ir.parser.parse", counting)
    return texts


def test_a_graph_is_parsed_once_and_then_when_it_is_asked_for(
    path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cauce.load(path)
    result = cauce.compile(first, backend="llvm")(X)
    assert len(parsed) == 1
    second = cauce.load(path)
    predict = cauce.compile(second, backend="llvm")
    np.testing.assert_array_equal(predict(X), result, strict=True)
    assert len(parsed) == 1 and second.unread is not None
    assert second.graph.to_text() == first.graph.to_text()
    assert second.training_graph.to_text() == first.training_graph.to_text()
    assert second.unread is None
    monkeypatch.setenv("CAUCE_CACHE", "0")
    count = len(parsed)
    without = cauce.load(path)
    assert len(parsed) == count + 1 and without.unread is None
    np.testing.assert_array_equal(cauce.compile(without, backend="llvm")(X), result, strict=True)
    assert without.graph.to_text() == first.graph.to_text()


def test_what_is_wrong_in_a_file_is_said_each_time(path: Path, parsed: list[str]) -> None:
    tensors, metadata = load_tensors(path)
    cauce.load(path)
    (digest,) = (name for name in tensors if name.startswith(stored.CONSTANT))
    wrong: list[tuple[type[Exception], str, dict[str, Array], dict[str, str]]] = [
        (ParseError, "expected", {}, {"graph": metadata["graph"].replace("conv2d(", "conv2d")}),
        (GraphError, "head.bias should be", {"head.bias": np.zeros(7, np.float32)}, {}),
        (ParseError, "is another one", {digest: tensors[digest] + 1}, {}),
    ]
    for error, what, arrays, texts in wrong:
        save_tensors(path, {**tensors, **arrays}, {**metadata, **texts})
        for _ in range(2):
            with pytest.raises(error, match=what):
                cauce.load(path)
    lacking = {name: array for name, array in tensors.items() if name != digest}
    save_tensors(path, lacking, metadata)
    with pytest.raises(ParseError, match="was not given"):
        cauce.load(path)


def test_an_entry_that_is_none_is_made_anew(path: Path, parsed: list[str]) -> None:
    cauce.load(path)
    (entry,) = kept(default_store())
    assert (entry.what, entry.name, entry.target) == ("graph", "small", "")
    assert entry.file.key is not None
    for content in (b"", b"\xff", b"{}", b"[1, 2]", b'["small"]'):
        default_store().put(entry.file.key, content)
        count = len(parsed)
        assert cauce.load(path).unread is not None and len(parsed) == count + 1
    assert [entry.what for entry in kept(default_store())] == ["graph"]


def test_an_edit_of_cauce_reads_all_files_anew(
    path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cauce.load(path)
    monkeypatch.setattr(loading, "modules", lambda: "edited")
    cauce.load(path)
    assert len(parsed) == 2


def test_nothing_is_kept_of_a_graph_with_ops_of_others(
    path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "only_ours", lambda graph: False)
    for count in (1, 2):
        assert cauce.load(path).unread is None
        assert len(parsed) == count and not kept(default_store())


_SCRIPT = """
import sys
import numpy as np
import cauce
predict = cauce.compile(cauce.load(sys.argv[1]), backend="llvm", threads=1)
np.save(sys.argv[2], predict(np.ones((2, 3, 4, 4), np.float32)))
print("\\n".join(sys.modules))
"""


def test_the_second_start_imports_neither_llvm_nor_passes_nor_ops(
    path: Path, tmp_path: Path
) -> None:
    spared = {"llvmlite", "cauce.passes.pipelines", "cauce.ir.parser", "cauce.ir.ops"}
    assert_spared(_SCRIPT, path, tmp_path, spared)
