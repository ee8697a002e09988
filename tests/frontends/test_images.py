"""interpolate, pad, tile and pixel_shuffle: what PyTorch's documentation says of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Array
from cauce.ir.errors import AttributeMistake, CauceError, ShapeError

IMAGE = np.random.default_rng(3).standard_normal((2, 3, 4, 6)).astype(np.float32)


def made(function: Any, *shape: Any) -> cauce.Model:
    @cauce.network
    def net(x):  # type: ignore[no-untyped-def]
        return function(x)

    return net.init(x=shape or IMAGE.shape)


def run(function: Any, x: Array = IMAGE, shape: tuple[Any, ...] = ()) -> Array:
    """What both backends make of it."""
    model = made(function, *(shape or x.shape))
    first, second = (np.asarray(cauce.compile(model, backend)(x)) for backend in ("numpy", "llvm"))
    np.testing.assert_allclose(first, second, atol=1e-5)
    return first


def tent(line: Array, x: float) -> Array:
    """A line of pixels at a place between them; beyond its ends the last pixel goes on."""
    low = math.floor(x)
    near, far = (line[min(max(place, 0), len(line) - 1)] for place in (low, low + 1))
    return near * (1 - (x - low)) + far * (x - low)


def test_bilinear_by_size() -> None:
    rows = np.stack([tent(IMAGE[0, 0], (i + 0.5) * 4 / 7 - 0.5) for i in range(7)])
    wanted = np.stack([tent(rows.T, (j + 0.5) * 6 / 5 - 0.5) for j in range(5)]).T
    found = run(lambda x: nn.interpolate(x, (7, 5), mode="bilinear"))
    np.testing.assert_allclose(found[0, 0], wanted, atol=1e-5)


def test_bilinear_with_corners_upon_one_another() -> None:
    rows = np.stack([tent(IMAGE[0, 0], i * 3 / 7) for i in range(8)])
    wanted = np.stack([tent(rows.T, j * 5 / 11) for j in range(12)]).T
    layer = lambda x: nn.upsample(x, None, 2, "bilinear", True)  # noqa: E731
    np.testing.assert_allclose(run(layer)[0, 0], wanted, atol=1e-5)
    np.testing.assert_allclose(run(layer, shape=("N", 3, "H", "W"))[0, 0], wanted, atol=1e-5)


def test_nearest() -> None:
    rows, columns = np.arange(10) * 4 // 10, np.arange(4) * 6 // 4
    wanted = IMAGE[:, :, rows][..., columns]
    assert np.array_equal(run(lambda x: nn.interpolate(x, (10, 4))), wanted)
    rows = np.floor((np.arange(10) + 0.5) * 4 / 10).astype(int)
    columns = np.floor((np.arange(4) + 0.5) * 6 / 4).astype(int)
    wanted = IMAGE[:, :, rows][..., columns]
    assert np.array_equal(run(lambda x: nn.interpolate(x, (10, 4), mode="nearest-exact")), wanted)
    assert np.array_equal(
        run(lambda x: nn.interpolate(x, scale_factor=(2, 1)), shape=("N", 3, "H", "W")),
        IMAGE.repeat(2, 2),
    )


def test_a_factor_counts_unless_it_is_recomputed() -> None:
    x = np.arange(5, dtype=np.float32).reshape(1, 1, 5)

    def line(recompute: bool) -> Array:
        options = {"mode": "linear", "recompute_scale_factor": recompute}
        return run(lambda t: nn.interpolate(t, None, 1.5, **options), x)[0, 0]

    factor = 1.5, 7 / 5
    for recompute, scale in zip((False, True), factor):
        wanted = [tent(x[0, 0], (i + 0.5) / scale - 0.5) for i in range(7)]
        np.testing.assert_allclose(line(recompute), wanted, atol=1e-5)


def test_other_modes() -> None:
    mean = IMAGE.reshape(2, 3, 2, 2, 3, 2).mean((3, 5))
    np.testing.assert_allclose(
        run(lambda x: nn.interpolate(x, (2, 3), mode="area")), mean, atol=1e-6
    )
    smooth = run(lambda x: nn.interpolate(x, (2, 3), mode="bicubic", antialias=True))
    ones = np.ones_like(IMAGE)
    flat = run(lambda x: nn.interpolate(x, (2, 3), mode="bicubic", antialias=True), ones)
    assert smooth.shape == (2, 3, 2, 3) and np.allclose(flat, 1)
    cube = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    assert run(lambda x: nn.interpolate(x, scale_factor=2, mode="trilinear"), cube).max() == 7


def test_borders() -> None:
    for mode, known in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")):
        wanted = np.pad(IMAGE, ((0, 0), (0, 0), (3, 0), (1, 2)), mode=known)  # type: ignore[call-overload]
        assert np.array_equal(run(lambda x, m=mode: nn.pad(x, (1, 2, 3, 0), m)), wanted)
    wanted = np.pad(IMAGE, ((0, 0), (1, 0), (0, 0), (0, 2)), constant_values=0.5)
    pairs = [(0, 0), (1, 0), (0, 0), (0, 2)]
    assert np.array_equal(run(lambda x: nn.pad(x, pairs, value=0.5)), wanted)
    assert np.array_equal(run(lambda x: nn.pad(x, [0, 2, 0, 0, 1, 0], "constant", 0.5)), wanted)


def test_pixels_and_channels() -> None:
    x = np.arange(2 * 8 * 3 * 2, dtype=np.float32).reshape(2, 8, 3, 2)
    y = run(lambda t: nn.pixel_shuffle(t, 2), x)
    assert y.shape == (2, 2, 6, 4)
    assert y[1, 1, 5, 2] == x[1, 1 * 4 + 1 * 2 + 0, 2, 1]
    assert np.array_equal(run(lambda t: nn.pixel_unshuffle(t, 2), y), x)
    assert np.array_equal(run(lambda t: nn.tile(t, (2, 1, 3)), x), np.tile(x, (2, 1, 3)))


def test_training_through_them() -> None:
    def layers(x: nn.Tensor) -> nn.Tensor:
        y = nn.conv2d(nn.pad(x, (1, 1, 1, 1), "reflect"), 8, 3)
        y = nn.pixel_shuffle(nn.interpolate(y, scale_factor=2), 2)
        y = nn.interpolate(y, (5, 5), mode="bilinear", antialias=True)
        return nn.linear(nn.flatten(y), 4)

    model = made(layers, "N", 3, 4, 6)
    labels = np.array([1, 3])
    losses = []
    for backend in ("numpy", "llvm"):
        step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.05), backend=backend)
        state = step.init()
        found = []
        for _ in range(4):
            state = step(state, (IMAGE, labels))
            found.append(float(state.loss))
        losses.append(found)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (lambda x: nn.interpolate(x), AttributeMistake, "a size or a scale_factor"),
        (lambda x: nn.interpolate(x, 4, 2.0), AttributeMistake, "a size or a scale_factor"),
        (lambda x: nn.interpolate(x, 4, mode="bilinar"), AttributeMistake, "bilinear"),
        (lambda x: nn.interpolate(x, 4, mode="linear"), ShapeError, r"takes \[N, C, L\]"),
        (lambda x: nn.interpolate(x, 4, align_corners=True), AttributeMistake, "align_corners"),
        (lambda x: nn.interpolate(x, 4, antialias=True), AttributeMistake, "antialias"),
        (lambda x: nn.interpolate(x, (4, 4, 4)), AttributeMistake, "3 numbers"),
        (lambda x: nn.interpolate(x, scale_factor=-1), AttributeMistake, "above 0"),
        (lambda x: nn.pad(x, (1, 1), 0.5), AttributeMistake, "value=0.5"),
        (lambda x: nn.pad(x, (1, 1, 1)), AttributeMistake, "3 numbers"),
        (lambda x: nn.pad(x, (6, 0), "reflect"), ShapeError, "longer than 5"),
        (lambda x: nn.pixel_shuffle(x, 2), ShapeError, "no multiple of 4"),
        (lambda x: nn.tile(x, (1, -1)), AttributeMistake, "must not be negative"),
    ],
)
def test_what_cannot_be(layer: Any, error: type[CauceError], message: str) -> None:
    with pytest.raises(error, match=message):
        made(layer)
