"""Flips, and slices that go back: what NumPy gives for the same expression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.frontends.tensor import Tensor
from cauce.ir.errors import AttributeMistake

BACKENDS = ("numpy", "llvm")
SLICES = {
    "all": np.s_[:, ::-1],
    "batch": np.s_[::-1],
    "both": np.s_[:, :, ::-1, ::-1],
    "every second": np.s_[:, :, ::-2],
    "every third": np.s_[..., ::-3],
    "from": np.s_[:, :, 3::-1],
    "from the end": np.s_[:, :, -2::-1],
    "to": np.s_[:, :, :1:-1],
    "to the end": np.s_[:, :, :-3:-1],
    "from, to, step": np.s_[:, :, 4:0:-2],
    "to beyond": np.s_[:, :, :-99:-2],
    "both directions": np.s_[:, 1:, ::-1, ::2],
    "an index beside": np.s_[:, 1, ::-1],
}


def model(function: Any, shape: tuple[Any, ...]) -> cauce.Model:
    @cauce.network
    def net(x):
        return function(x)

    return net.init(x=shape)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [("N", 3, 5, 7), ("N", 3, "H", "W")], ids=["fixed", "symbolic"])
@pytest.mark.parametrize("name", SLICES)
def test_a_slice_that_goes_back(name: str, sizes: tuple[Any, ...], backend: str) -> None:
    if name == "to beyond" and "H" in sizes:
        pytest.skip("what lies beyond an unknown size is an error when it runs")
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)
    found = cauce.compile(model(lambda t: t[SLICES[name]], sizes), backend)(x)
    assert np.array_equal(found, x[SLICES[name]])


FLIPS = {
    "one": (lambda x: nn.flip(x, 1), (1,)),
    "several": (lambda x: nn.flip(x, [2, 3]), (2, 3)),
    "last": (lambda x: x.flip(-1), (3,)),
    "a tuple": (lambda x: x.flip((0, 2)), (0, 2)),
    "one by one": (lambda x: x.flip(0, 1, 2, 3), (0, 1, 2, 3)),
    "none": (lambda x: x.flip(()), ()),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FLIPS)
def test_flip(name: str, backend: str) -> None:
    function, axes = FLIPS[name]
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)
    found = cauce.compile(model(function, ("N", 3, "H", 7)), backend)(x)
    assert np.array_equal(found, np.flip(x, axes))


@pytest.mark.parametrize("backend", BACKENDS)
def test_flips_among_convolutions(backend: str) -> None:
    """Of a symmetric kernel, flip(conv(flip(x))) = conv(x); the layouts are those of images."""

    def twice(x: Tensor) -> Tensor:
        ones = nn.init.constant(0.25)
        y = nn.conv2d(x, 4, 3, padding=1, bias=False, weight_init=ones, name="a")
        z = nn.conv2d(x.flip(2, 3), 4, 3, padding=1, bias=False, weight_init=ones, name="b")
        return nn.relu(y) - nn.relu(z[:, :, ::-1, ::-1])

    x = np.random.default_rng(0).standard_normal((2, 3, 6, 5)).astype(np.float32)
    found = cauce.compile(model(twice, ("N", 3, "H", "W")), backend)(x)
    assert np.abs(found).max() < 1e-5


@pytest.mark.parametrize("size", ["N", 3])
def test_onnx_runtime_flips_alike(size: Any, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "flip.onnx"
    cauce.export_onnx(model(lambda x: x.flip(0, 2)[:, ::-2], (size, 3, "H", 5)), path)
    x = np.random.default_rng(0).standard_normal((3, 3, 4, 5)).astype(np.float32)
    (found,) = runtime.InferenceSession(path).run(None, {"x": x})
    assert np.array_equal(found, np.flip(x, (0, 2))[:, ::-2])


@pytest.mark.parametrize("dims", [4, -5, (1, 1), (1, -3)])
def test_axes_that_cannot_be(dims: Any) -> None:
    with pytest.raises(AttributeMistake, match="flip: ax"):
        model(lambda x: nn.flip(x, dims), ("N", 3, 5, 7))
