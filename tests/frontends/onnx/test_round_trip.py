"""The models of the zoo, exported and loaded again: the same outputs as the exported file's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import cauce
from cauce import models

from ...backends.onnx_models import run

# One of each family but VGG, whose 130 million weights take long to initialise.
FAST = ["lenet5", "mobilenet_v2", "plain20", "resnet18", "resnet20", "resnet50", "squeezenet"]
FAST += ["unet", "densenet121"]
SLOW = ["plain56", "resnet34", "resnet56"]


@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_a_model_comes_back(name: str, tmp_path: Path) -> None:
    network, path = getattr(models, name), tmp_path / "net.onnx"
    channels, size = (1, 32) if name == "lenet5" else (3, 32)
    shape = {network.inputs[0]: ("N", channels, size, size)}
    model = network.init(**shape, seed=0)
    cauce.export_onnx(model, path)
    loaded = cauce.load_onnx(path)
    assert {p.name for p in loaded.parameters} == {p.name for p in model.parameters}
    x = np.random.default_rng(0).standard_normal((2, channels, size, size)).astype(np.float32)
    (wanted,) = run(onnx.load(path), {network.inputs[0]: x}).values()
    got = cauce.compile(loaded, backend="numpy")(x)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()
