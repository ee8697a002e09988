"""``cauce bench``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cauce.commands import bench

from .calls import Call


def case(model: str, **changes: object) -> dict[str, object]:
    """What a worker is asked for."""
    asked = {"model": model, "shape": [], "seed": 0, "option": [], "batch": None}
    return {**asked, "threads": 1, "settings": {"backend": "numpy"}, **changes}


@pytest.mark.parametrize("model", ["net.safetensors", "net.onnx", "net.py:ready"])
@pytest.mark.parametrize("batch", [None, 2])
def test_peers_compute_the_same(model: str, batch: int | None, folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    peers = {name: bench._PEERS[name](case(model, batch=batch)) for name in bench._PEERS}
    base = peers[bench.BASE].evidence
    assert len(base) == 3 * (batch or 1)
    for name, peer in peers.items():
        peer.step()
        assert peer.evidence == pytest.approx(base, rel=1e-4), name
        assert peer.versions
    assert set(peers) == {bench.BASE, *bench.OTHERS}


def test_sizes_of_a_batch(folder: Path) -> None:
    shape = [("image", [4, 1, 6, 6])]  # as JSON has it
    made = bench._model(case("net.safetensors", shape=shape))
    assert str(bench._data(made)[0].type) == "f32[4,1,6,6]"


@pytest.mark.slow
def test_bench_measures_in_processes(folder: Path, call: Call) -> None:
    pytest.importorskip("onnxruntime")
    options = ("--rounds", 3, "--seconds", 0.01, "--threads", 1, "--vs", "onnxruntime")
    found = call("bench", "net.safetensors", *options, "--vs", "again", "--json").json
    assert set(found["peers"]) == {"cauce", "onnxruntime", "again"}
    for row in found["peers"].values():
        assert len(row["ms"]) == 3 and min(row["ms"]) > 0
    assert found["peers"]["cauce"]["ratio_median"] == 1
    assert {"cauce", "onnxruntime"} <= set(found["versions"])
    out = call("bench", "net.safetensors", *options).out.splitlines()
    assert out[0] == "small (image: f32[1,1,6,6]), 1 thread"
    assert [line.split()[0] for line in out[3:5]] == ["cauce", "onnxruntime"]


@pytest.mark.slow
def test_a_peer_that_fails_is_named(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    done = call("bench", "net.safetensors", "--rounds", 1, "--seconds", 0, "--vs", "onnxruntime")
    assert done.code == 0 and "onnxruntime failed: ImportError: broken" in done.out


def test_a_peer_that_is_not_installed_is_told_with_its_command(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = call("bench", "net.safetensors", "--vs", "onnxruntime")
    assert done.code == 1 and "pip install" in done.err and done.out == ""


def test_mistakes_are_told_before_anything_is_measured(folder: Path, call: Call) -> None:
    done = call("bench", "missing.onnx")
    assert done.code == 1 and "there is no file missing.onnx" in done.err
    for seconds in ("nan", "inf", "-1", "soon"):
        with pytest.raises(SystemExit):
            call("bench", "net.safetensors", "--seconds", seconds)
    done = call("bench", "net.safetensors", "--shape", "2,1,6,6", "--batch", 3)
    assert done.code == 1
