"""Exports in f64 that no runtime runs are warned of, and no others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import cauce
from cauce import nn
from tests.backends.onnx_models import NoKernel

Layer = Callable[[nn.Tensor], nn.Tensor]


def write(layer: Layer, path: Path, dtype: str = "f64", training: bool = False) -> None:
    @cauce.network
    def net(x):  # type: ignore[no-untyped-def]
        return layer(x)

    model = net.init(x=(2, 3, 8, 8), dtype=dtype)
    if training:
        step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1), backend="numpy")
        cauce.export_onnx(step.graph, path)
    else:
        cauce.export_onnx(model, path)


def load(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("layer", "op_type", "path"),
    [
        (lambda x: nn.conv2d(x, 4, 3), "Conv", "conv1"),
        (lambda x: nn.conv_transpose2d(x, 4, 3), "ConvTranspose", "conv_transpose1"),
        (lambda x: nn.avg_pool2d(x, 2), "AveragePool", "avg_pool1"),
    ],
)
def test_what_onnx_runtime_lacks_is_warned_of(
    tmp_path: Path, layer: Layer, op_type: str, path: str
) -> None:
    file = tmp_path / "net.onnx"
    with pytest.warns(cauce.CauceWarning, match=rf"\({op_type} of {path}\)") as caught:
        write(layer, file)
    assert caught[0].filename == __file__
    assert "fix: make the network in f32" in str(caught[0].message)
    with pytest.raises(NoKernel):
        load(file)


@pytest.mark.parametrize(
    "layer",
    [
        lambda x: nn.relu(nn.batch_norm(x)),
        lambda x: nn.max_pool2d(x, 2),
        lambda x: nn.global_avg_pool(x),
        lambda x: nn.adaptive_avg_pool2d(x, 3),
        lambda x: nn.softmax(nn.linear(nn.flatten(x), 4), dim=1),
    ],
)
def test_what_it_runs_is_not(tmp_path: Path, layer: Layer) -> None:
    file = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(layer, file)
    out = load(file).run(None, {"x": np.ones((2, 3, 8, 8))})[0]
    assert out.dtype == np.float64


def test_neither_is_f32(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(lambda x: nn.conv2d(x, 4, 3), tmp_path / "net.onnx", dtype="f32")
    load(tmp_path / "net.onnx")


def test_a_training_step_has_its_backward_convolutions_named(tmp_path: Path) -> None:
    def layer(x: nn.Tensor) -> nn.Tensor:
        return nn.linear(nn.global_avg_pool(nn.conv2d(nn.conv2d(x, 4, 3), 4, 3)), 2)

    with pytest.warns(cauce.CauceWarning, match=r"Conv of conv1, conv2, .*ConvTranspose of"):
        write(layer, tmp_path / "step.onnx", training=True)
