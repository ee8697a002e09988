"""Convolution and pooling of ONNX in one, two and three dimensions, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cauce
from cauce.ir import Array

from ...backends.onnx_models import run
from .build import agrees, model, single

_RANDOM = np.random.default_rng(11)


def floats(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


LINE, IMAGE, VOLUME = floats(2, 4, 9), floats(2, 4, 7, 9), floats(2, 4, 5, 6, 7)
UP = {"w": floats(4, 3, 3, 2), "b": floats(3)}

# op_type, its first operand, what is stored, opset, attributes
CASES: list[tuple[str, Array, dict[str, Array], int, dict[str, Any]]] = []


def case(
    op_type: str,
    x: Array,
    stored: dict[str, Array] | None = None,
    opset: int = 18,
    **attributes: Any,
) -> None:
    CASES.append((op_type, x, stored or {}, opset, attributes))


DEEP = {"w": floats(6, 2, 2, 3, 2), "b": floats(6)}
case("Conv", VOLUME, DEEP, group=2, pads=[1, 0, 2, 0, 1, 1], strides=[2, 1, 1])
case("Conv", VOLUME, {"w": floats(3, 4, 2, 3, 3)}, 11, dilations=[2, 1, 3], kernel_shape=[2, 3, 3])
case("Conv", VOLUME, {"w": floats(3, 4, 2, 3, 3)}, 22, auto_pad="SAME_LOWER", strides=[2, 2, 3])
case("Conv", LINE, {"w": floats(6, 2, 3), "b": floats(6)}, 7, group=2, pads=[2, 1], strides=[2])
case("MaxPool", VOLUME, None, 12, kernel_shape=[2, 3, 2], strides=[1, 2, 2], dilations=[2, 1, 3])
case("MaxPool", VOLUME, None, 8, kernel_shape=[2, 3, 2], pads=[1, 0, 1, 0, 2, 1])
case("MaxPool", LINE, None, 12, kernel_shape=[3], strides=[2], ceil_mode=1)
for dtype in (np.int8, np.uint8):
    data = _RANDOM.integers(-90, 90, IMAGE.shape).astype(dtype)
    case("MaxPool", data, None, 12, kernel_shape=[3, 2], pads=[1, 1, 0, 0], strides=[2, 1])
for counted in (0, 1):
    window = {"kernel_shape": [2, 3, 2], "pads": [1, 0, 1, 0, 1, 1], "count_include_pad": counted}
    case("AveragePool", VOLUME, None, 11, strides=[2, 2, 1], **window)
    case("AveragePool", VOLUME, None, 19, strides=[2, 3, 2], ceil_mode=1, **window)
    window = {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "count_include_pad": counted}
    case("AveragePool", IMAGE, None, 19, dilations=[3, 2], strides=[1, 2], **window)
case("AveragePool", LINE, None, 22, kernel_shape=[3], dilations=[2], strides=[2], ceil_mode=1)
for p in (1, 2, 3):
    case("LpPool", IMAGE, None, 2, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], p=p)
case("LpPool", LINE, None, 11, kernel_shape=[3])
case("LpPool", VOLUME, None, 18, kernel_shape=[2, 2, 3], strides=[1, 2, 2])
case("LpPool", IMAGE, None, 11, kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER")
case("GlobalLpPool", IMAGE, None, 2, p=3)
case("GlobalLpPool", VOLUME, None, 2)
CUBE = {"w": floats(4, 3, 2, 3, 2), "b": floats(6)}
case("ConvTranspose", VOLUME, CUBE, 11, group=2, strides=[2, 1, 3], pads=[0, 1, 0, 1, 1, 0])
case("ConvTranspose", VOLUME, CUBE, 11, group=2, strides=[2, 2, 1], output_padding=[1, 0, 0])
case("ConvTranspose", VOLUME, CUBE, 22, group=2, dilations=[2, 1, 3])
case("ConvTranspose", LINE, {"w": floats(4, 3, 3)}, 11, strides=[3], output_padding=[2])
# Larger than what the kernel reaches, on all sides.
case("ConvTranspose", IMAGE, UP, 11, strides=[3, 2], output_shape=[23, 19])
case("ConvTranspose", IMAGE, {"w": floats(4, 3, 1, 2)}, 11, strides=[2, 3], auto_pad="SAME_UPPER")
case("ConvTranspose", IMAGE, UP, 11, strides=[2, 3], pads=[0, 1, 0, 1], output_padding=[1, 2])


@pytest.mark.parametrize(
    ("op_type", "x", "stored", "opset", "attributes"),
    CASES,
    ids=[f"{i}-{c[0]}-{c[3]}" for i, c in enumerate(CASES)],
)
def test_a_window_is_what_onnx_runtime_makes_of_it(
    op_type: str, x: Array, stored: dict[str, Array], opset: int, attributes: dict[str, Any]
) -> None:
    agrees(single(op_type, {"x": x}, stored, opset, **attributes), {"x": x})


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(
    ("op_type", "stored", "attributes"),
    [
        ("Conv", {"w": floats(3, 2, 3, 4)}, {"strides": [2, 3]}),
        # (Of larger strides ONNX Runtime makes negative padding, at the beginning too.)
        ("Conv", {"w": floats(3, 2, 2, 1)}, {"strides": [3, 2]}),
        ("MaxPool", {}, {"kernel_shape": [3, 2], "strides": [2, 2]}),
        ("AveragePool", {}, {"kernel_shape": [3, 4], "strides": [2, 3]}),
        ("AveragePool", {}, {"kernel_shape": [3, 4], "strides": [2, 3], "count_include_pad": 1}),
        ("LpPool", {}, {"kernel_shape": [2, 3], "strides": [3, 2]}),
    ],
)
def test_same_padding_of_sizes_that_are_free(
    op_type: str, stored: dict[str, Array], attributes: dict[str, Any], auto: str
) -> None:
    """Each size has padding of its own."""
    from onnx import helper

    node = helper.make_node(op_type, ["x", *stored], ["out"], auto_pad=auto, **attributes)
    proto = model([node], {"x": ("N", 2, "H", "W")}, ["out"], stored)
    loaded = cauce.load_onnx(proto)
    for backend in ("numpy", "llvm"):
        network = cauce.compile(loaded, backend=backend)
        for height, width in ((7, 8), (6, 9)):
            x = floats(2, 2, height, width)
            (wanted,) = run(proto, {"x": x}).values()
            np.testing.assert_allclose(network(x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    ("x", "window"),
    [
        (LINE, {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
        (IMAGE, {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2], "dilations": [2, 1]}),
        (np.round(IMAGE), {"kernel_shape": [3, 3], "strides": [1, 2]}),
        (VOLUME, {"kernel_shape": [2, 2, 3], "strides": [2, 1, 2], "pads": [1, 0, 1, 0, 1, 1]}),
    ],
)
def test_indices_of_maxima_count_on_over_channels_and_images(
    x: Array, window: dict[str, Any], order: int
) -> None:
    from onnx import helper

    node = helper.make_node("MaxPool", ["x"], ["y", "i"], storage_order=order, **window)
    agrees(model([node], {"x": x}, ["y", "i"]), {"x": x})


@pytest.mark.parametrize("x", [LINE, IMAGE, VOLUME])
def test_maxima_are_put_back_where_they_were(x: Array) -> None:
    """Into a shape that has more rows than the windows cover, too."""
    from onnx import helper

    window = {"kernel_shape": [2] * (x.ndim - 2), "strides": [2] * (x.ndim - 2)}
    for stored in ({}, {"s": np.array(x.shape)}):
        nodes = [
            helper.make_node("MaxPool", ["x"], ["y", "i"], **window),
            helper.make_node("MaxUnpool", ["y", "i", *stored], ["z"], **window),
        ]
        even = x if stored else x[:, :, *(slice(size // 2 * 2) for size in x.shape[2:])].copy()
        agrees(model(nodes, {"x": even}, ["z"], stored), {"x": even})
