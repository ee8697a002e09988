"""Convolution and pooling in one and three dimensions as layers: values, gradients, mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import cauce
from cauce import nn
from cauce.ir import Array
from cauce.ir.errors import AttributeMistake, ShapeError

_RANDOM = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


LINE, VOLUME = floats(2, 3, 8), floats(2, 3, 5, 6, 4)


def run(net: Any, *arrays: Array, backend: str = "numpy", **weights: Array) -> Any:
    """What a network makes of arrays, with some of its weights given."""
    shapes = {f"x{i}": ("N", *a.shape[1:]) for i, a in enumerate(arrays)}
    model = cauce.network(net).init(**shapes, seed=0)
    model.load_state_dict({**model.state_dict(), **weights})
    return cauce.compile(model, backend=backend)(*arrays)


def test_a_convolution_in_three_dimensions_is_the_sum_over_its_windows() -> None:
    weight, bias = floats(4, 3, 2, 3, 2), floats(4)
    padded = np.pad(VOLUME, ((0, 0), (0, 0), (1, 1), (0, 0), (2, 1)))
    seen = sliding_window_view(padded, (2, 3, 2), (2, 3, 4))[:, :, ::2, :, ::3]
    wanted = np.einsum("ncijkrst,ocrst->noijk", seen, weight) + bias[:, None, None, None]
    for backend in ("numpy", "llvm"):
        got = run(
            lambda x0: nn.conv3d(
                x0, 4, (2, 3, 2), stride=(2, 1, 3), padding=((1, 1), (0, 0), (2, 1)), name="c"
            ),
            VOLUME,
            backend=backend,
            **{"c.weight": weight, "c.bias": bias},
        )
        np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_convolution_in_one_dimension_is_one_of_a_row() -> None:
    weight = floats(6, 1, 3)
    options: dict[str, Any] = {"groups": 3, "bias": False, "name": "c", "padding": "same"}
    got = run(lambda x0: nn.conv1d(x0, 6, 3, **options), LINE, **{"c.weight": weight})
    wanted = run(
        lambda x0: nn.conv2d(x0, 6, (1, 3), **options),
        LINE[:, :, None],
        **{"c.weight": weight[:, :, None]},
    )
    np.testing.assert_array_equal(got, wanted[:, :, 0])


@pytest.mark.parametrize(("x", "axes"), [(LINE, 1), (VOLUME, 3)])
def test_a_transposed_convolution_is_the_transpose(x: Array, axes: int) -> None:
    """<conv(x), y> = <x, conv_transpose(y)>."""
    weight = floats(2, 3, *(3, 2, 2)[:axes])
    options: dict[str, Any] = {"stride": 2, "padding": 1, "bias": False, "name": "c"}
    conv, back = getattr(nn, f"conv{axes}d"), getattr(nn, f"conv_transpose{axes}d")
    kernel = weight.shape[2:]
    down = run(lambda x0: conv(x0, 2, kernel, **options), x, **{"c.weight": weight})
    y = floats(*down.shape)
    size = x.shape[2:]
    up = run(lambda x0: back(x0, 3, kernel, output_size=size, **options), y, **{"c.weight": weight})
    assert up.shape == x.shape
    np.testing.assert_allclose((down * y).sum(), (x * up).sum(), rtol=1e-4)


@pytest.mark.parametrize(("x", "axes"), [(LINE, 1), (VOLUME[:, :, :4], 3)])
def test_pools_are_those_of_blocks(x: Array, axes: int) -> None:
    """With windows of two cells that meet all of the input."""
    n, c, *size = x.shape
    split = [part for length in size for part in (length // 2, 2)]
    blocks = x.reshape(n, c, *split)
    inner = tuple(3 + 2 * axis for axis in range(axes))
    for kind, wanted in (
        ("max_pool", blocks.max(inner)),
        ("avg_pool", blocks.mean(inner)),
        ("lp_pool", (np.abs(blocks) ** 3).sum(inner) ** (1 / 3)),
        ("adaptive_avg_pool", blocks.mean(inner)),
        ("adaptive_max_pool", blocks.max(inner)),
    ):
        pool = getattr(nn, f"{kind}{axes}d")
        if kind.startswith("adaptive"):
            given: tuple[Any, ...] = (size[0] // 2 if axes == 1 else [s // 2 for s in size],)
        else:
            given = (3, 2) if kind == "lp_pool" else (2,)
        for backend in ("numpy", "llvm"):
            got = run(lambda x0, pool=pool, given=given: pool(x0, *given), x, backend=backend)
            np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize(("x", "axes"), [(LINE, 1), (VOLUME[:, :, 0], 2), (VOLUME, 3)])
def test_maxima_are_put_back_at_their_indices(x: Array, axes: int) -> None:
    pool, unpool = getattr(nn, f"max_pool{axes}d"), getattr(nn, f"max_unpool{axes}d")

    def net(x0: Any) -> Any:
        y, indices = pool(x0, 2, return_indices=True)
        return y, indices, unpool(y, indices, 2, output_size=x0.shape[2:])

    for backend in ("numpy", "llvm"):
        y, indices, back = run(net, x, backend=backend)
        flat = x.reshape(*x.shape[:2], -1)
        own = np.take_along_axis(flat, indices.reshape(*x.shape[:2], -1), 2)
        np.testing.assert_array_equal(own.reshape(y.shape), y)
        np.testing.assert_array_equal(back, np.where(back != 0, x, 0))
        assert (back != 0).sum() == y.size


def test_a_network_of_volumes_trains_alike_on_both_backends() -> None:
    @cauce.network
    def net(x: Any) -> Any:
        x = nn.relu(nn.conv3d(x, 4, 3, padding=1))
        y, indices = nn.max_pool3d(x, 2, return_indices=True)
        x = nn.conv_transpose3d(nn.lp_pool3d(nn.max_unpool3d(y, indices, 2), 2.0, 2), 2, 2)
        return nn.linear(nn.flatten(nn.adaptive_avg_pool3d(x, 2)), 3)

    x = floats(4, 2, 4, 6, 4)
    target = np.array([0, 2, 1, 1])
    losses = []
    for backend in ("numpy", "llvm"):
        model = net.init(x=("N", 2, 4, 6, 4), seed=0)
        step = cauce.train_step(
            model, loss="cross_entropy", optimizer=cauce.SGD(0.1), backend=backend
        )
        state = step.init()
        losses.append([float(step(state, (x, target)).loss) for _ in range(4)])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (lambda x: nn.conv3d(x, 4, 3), LINE, ShapeError, r"conv3d takes \[N, C, D, H, W\], got"),
        (lambda x: nn.conv1d(x, 4, (3, 3)), LINE, AttributeMistake, "an int or one int"),
        (lambda x: nn.conv3d(x, 4, (3, 3)), VOLUME, AttributeMistake, "three ints, .* got"),
        (lambda x: nn.conv3d(x, 4, 3, padding=(1, 1)), VOLUME, AttributeMistake, "padding must"),
        (lambda x: nn.max_pool3d(x, 7), VOLUME, ShapeError, "larger than the padded input"),
        (lambda x: nn.max_pool1d(x, 2, padding=2), LINE, AttributeMistake, "nothing but padding"),
        (lambda x: nn.lp_pool1d(x, 0, 2), LINE, AttributeMistake, "p must be a positive number"),
        (lambda x: nn.avg_pool3d(x, 2), LINE, ShapeError, "D and H and W at least 1"),
        (lambda x: nn.adaptive_max_pool1d(x, 2), VOLUME, ShapeError, "adaptive_max_pool1d takes"),
    ],
)
def test_mistakes(layer: Any, x: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(lambda x0: layer(x0), x)
