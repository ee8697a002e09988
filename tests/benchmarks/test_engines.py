"""How ncnn and MNN are set up, with stand-ins for both: none of them need be installed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from .fake_benchmark import BENCHMARK

# isort: split
# Benchmarks are scripts, not a package: the fake one has put their folder on the path.
import engines

assert BENCHMARK  # what the fake one is imported for

PARAM = """7767517
3 3
Input          in0    0 1 in0
Convolution    conv_0 1 1 in0 1 0=16 1=3
Tensor.slice   s_1    1 1 1 out0
"""


class FakeNet:
    """ncnn's ``Net``, which writes down its options when it loads."""

    def __init__(self) -> None:
        self.opt = SimpleNamespace()

    def load_param(self, path: str) -> int:
        self.loaded = {"param": path, **vars(self.opt)}
        return 0

    def load_model(self, path: str) -> int:
        self.loaded["model"] = path
        return int("broken" in path)


def fake_ncnn(nets: list[FakeNet]) -> Any:
    def net() -> FakeNet:
        nets.append(FakeNet())
        return nets[-1]

    return SimpleNamespace(Net=net, Mat=lambda images, batch_index: (images, batch_index))


def test_ncnn_computes_in_float32_and_loads_after_it_is_told() -> None:
    nets: list[FakeNet] = []
    for tried in engines.NCNN_TRIED:
        options = {**tried, "num_threads": 3}
        engines._ncnn_step(fake_ncnn(nets), Path("a/net.ncnn.param"), np.ones(1), options)
    for net in nets:
        assert (net.loaded["param"], net.loaded["model"]) == ("a/net.ncnn.param", "a/net.ncnn.bin")
        assert net.loaded["num_threads"] == 3
        assert net.loaded["use_winograd_convolution"] is net.loaded["use_sgemm_convolution"] is True
        halves = {name: on for name, on in net.loaded.items() if "fp16" in name or "bf16" in name}
        assert len(halves) == 5
        assert not any(halves.values())
    assert "use_winograd43_convolution" not in nets[0].loaded  # as ncnn has it: on
    assert nets[1].loaded["use_winograd43_convolution"] is False


def test_what_ncnn_cannot_load_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="cannot load what pnnx wrote"):
        engines._ncnn_step(fake_ncnn([]), Path("broken.param"), np.ones(1), {})


def test_layers_that_ncnn_does_not_know() -> None:
    known = {"Input": 16, "Convolution": 6}
    assert engines.unknown_layers(PARAM, lambda kind: known.get(kind, -1)) == ["Tensor.slice"]
    assert engines.unknown_layers(PARAM, lambda kind: 1) == []


def test_mnn_is_told_precision_threads_and_shapes() -> None:
    told: dict[str, Any] = {}

    def manager(configs: tuple[dict[str, Any], ...]) -> str:
        told["config"] = configs
        return "manager"

    def load(path: str, inputs: Any, outputs: Any, **options: Any) -> Any:
        told.update(path=path, inputs=inputs, outputs=outputs, **options)
        return SimpleNamespace(forward=lambda image: image)

    class Placeholder:
        def __init__(self, shape: list[int], layout: str, dtype: str) -> None:
            told["image"] = (shape, layout, dtype)

        def write(self, images: Any) -> None:
            self.images = images

        def read(self) -> Any:
            return 2 * self.images

    fake = SimpleNamespace(
        nn=SimpleNamespace(create_runtime_manager=manager, load_module_from_file=load),
        expr=SimpleNamespace(placeholder=Placeholder, NCHW="NCHW", float="float"),
    )
    images = np.ones((4, 3, 2, 2), np.float32)
    step = engines._mnn_step(fake, "net.mnn", ["image"], ["output"], images, 3, True)
    assert (step() == 2).all()
    (config,) = told["config"]
    assert config.items() >= {"backend": "CPU", "precision": "high", "numThread": 3}.items()
    assert (told["path"], told["inputs"], told["outputs"]) == ("net.mnn", ["image"], ["output"])
    assert (told["runtime_manager"], told["rearrange"]) == ("manager", True)
    assert told["shape_mutable"] is False
    assert told["image"] == ([4, 3, 2, 2], "NCHW", "float")


def test_the_faster_of_two_settings_is_kept() -> None:
    def slow() -> Any:
        time.sleep(0.01)

    def fast() -> Any:
        time.sleep(0.001)

    assert engines.faster([slow, fast], rounds=3) is fast
    assert engines.faster([fast, slow], rounds=3) is fast


def test_a_converter_that_fails_says_why(tmp_path: Path) -> None:
    code = "import sys; open('here', 'w'); print('so much'); sys.exit('no such op')"
    with pytest.raises(RuntimeError, match="failed: no such op"):
        engines.converted([sys.executable, "-c", code], str(tmp_path))
    assert (tmp_path / "here").exists()
    engines.converted([sys.executable, "-c", "print('done')"], str(tmp_path))


def test_without_pnnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="No module named 'pnnx'"):
        engines.pnnx()
