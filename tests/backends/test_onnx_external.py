"""Parameters in a file beside the model: read by ONNX Runtime, replaced together or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import cauce
from cauce import nn
from cauce.backends.onnx import export
from cauce.backends.onnx.external import MOST, nbytes
from cauce.ir import Array, Builder, DType, Graph, Role, TensorType
from cauce.ir.errors import ExportFailure
from cauce.ir.ops.elementwise import Cast

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@cauce.network
def net(image):  # type: ignore[no-untyped-def]
    x = nn.relu(nn.conv2d(image, 16, 3))
    return nn.linear(nn.flatten(x), 5)


def model(seed: int = 0) -> cauce.Model:
    return net.init(image=("N", 3, 8, 8), seed=seed)


def run(path: Path) -> Array:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": IMAGE})[0])


def data_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("net.onnx.*.data"))


def test_onnx_runtime_reads_what_lies_beside(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    cauce.export_onnx(model(), path, external_above=1000)
    (data,) = data_files(tmp_path)
    assert sorted(tmp_path.iterdir()) == [path, data]
    stored = {t.name: t for t in onnx.load(path, load_external_data=False).graph.initializer}
    outside = {name for name, t in stored.items() if t.data_location == onnx.TensorProto.EXTERNAL}
    # Of conv1.weight [16, 3, 3, 3], conv1.bias [16], linear1.weight [5, 576], linear1.bias [5].
    assert outside == {"conv1.weight", "linear1.weight"}
    offsets = {
        name: int(entry.value)
        for name in outside
        for entry in stored[name].external_data
        if entry.key == "offset"
    }
    # Each begins at a page of 4096 bytes; 16 * 27 floats take 1728 bytes, 5 * 576 take 11520.
    assert sorted(offsets.values()) in ([0, 4096], [0, 12288])
    assert data.stat().st_size == 4096 + 12288
    wanted = cauce.compile(model(), backend="numpy")(IMAGE)
    np.testing.assert_allclose(run(path), wanted, rtol=0, atol=1e-5)


def test_what_fits_stays_in_one_file_and_the_data_of_before_goes(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    other = tmp_path / "net.onnx.notes.data"
    other.write_bytes(b"kept")
    cauce.export_onnx(model(), path, external_above=0)
    cauce.export_onnx(model(seed=1), path, external_above=0)
    assert len(data_files(tmp_path)) == 2 and other in data_files(tmp_path)
    cauce.export_onnx(model(seed=2), path)
    assert data_files(tmp_path) == [other]
    wanted = cauce.compile(model(seed=2), backend="numpy")(IMAGE)
    np.testing.assert_allclose(run(path), wanted, rtol=0, atol=1e-5)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        cauce.export_onnx(model(), folder / "net.onnx", external_above=0)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]


@pytest.mark.parametrize("when", ["checking", "replacing"])
def test_a_failure_leaves_model_and_data_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    path = tmp_path / "net.onnx"
    cauce.export_onnx(model(), path, external_above=0)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    if when == "checking":

        def refuse(*_: object, **__: object) -> None:
            raise ValueError("no")

        monkeypatch.setattr(onnx.checker, "check_model", refuse)
        with pytest.raises(ExportFailure, match=r"onnx\.checker refuses the model of net: no"):
            cauce.export_onnx(model(seed=1), path, external_above=0)
    else:
        replace = Path.replace

        def full(self: Path, target: Path) -> Path:
            if target.name == "net.onnx":
                raise OSError("the disk is full")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="the disk is full"):
            cauce.export_onnx(model(seed=1), path, external_above=0)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_data_of_every_dtype(tmp_path: Path) -> None:
    """Read back by onnx itself."""
    for dtype in DType:
        graph = Graph("initializer")
        w = graph.add_input("w", TensorType(dtype, (1100,)), Role.PARAMETER)
        graph.outputs = {"y": Builder(graph)(Cast(DType.F32), w)}
        array = dtype.round(np.arange(1100) % 100 + 0.7)
        path = tmp_path / f"{dtype}.onnx"
        cauce.export_onnx(graph, path, {"w": array}, external_above=0)
        (tensor,) = onnx.load(path).graph.initializer
        stored = onnx.numpy_helper.to_array(tensor)
        np.testing.assert_array_equal(stored.astype(np.float64), array.astype(np.float64))


def test_what_is_counted_is_what_is_stored() -> None:
    """Two bytes for bfloat16, which is carried in four."""
    zeros = np.zeros(10, np.float32)
    assert nbytes({"a": (zeros, DType.F32), "b": (zeros, DType.BF16)}) == 60


def test_parameters_near_2_gib_are_named_as_the_cause() -> None:
    """One page of zeros stands for all of them: what is above the limit is not written."""
    graph = Graph("large")
    size = MOST // 4 + 1
    w = graph.add_input("w", TensorType(DType.F32, (size,)), Role.PARAMETER)
    graph.outputs = {"y": Builder(graph)(Cast(DType.F64), w)}
    zeros = np.broadcast_to(np.float32(0), (size,))
    with pytest.raises(ExportFailure, match=rf"of large take {4 * size} bytes, .* at most {MOST}"):
        export(graph, {"w": zeros})
