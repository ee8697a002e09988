"""Resize and Upsample, in all opsets, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from cauce.ir import Array
from cauce.ir.ops.resize import Resize

from .build import agrees, model, single

_RANDOM = np.random.default_rng(9)
IMAGE = _RANDOM.standard_normal((2, 3, 5, 8)).astype(np.float32)
EMPTY = np.array([], np.float32)


def scales(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def sizes(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


# The coordinates, the opset, what stands for the roi, and the scales.
BY_SCALES: list[tuple[str, int, Array | None, Array]] = [
    ("half_pixel", 11, EMPTY, scales(1, 1, 2, 3)),
    ("half_pixel", 13, None, scales(1, 1, 0.6, 1.5)),
    ("pytorch_half_pixel", 18, EMPTY, scales(1, 1, 2.5, 0.2)),
    ("align_corners", 11, EMPTY, scales(1, 1, 2.5, 0.5)),
    ("asymmetric", 13, None, scales(1, 1, 0.6, 1.5)),
    ("asymmetric", 19, None, scales(1, 1, 2, 3)),
    ("half_pixel_symmetric", 19, None, scales(1, 1, 0.7, 2)),
]
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(("coordinates", "opset", "roi", "by"), BY_SCALES)
def test_by_scales(mode: str, coordinates: str, opset: int, roi: Array | None, by: Array) -> None:
    stored = {"roi": roi, "scales": by}
    more = {"nearest_mode": "floor"} if mode == "nearest" else {}
    proto = single(
        "Resize",
        {"x": IMAGE},
        stored,
        opset,
        mode=mode,
        coordinate_transformation_mode=coordinates,
        **more,
    )
    agrees(proto, {"x": IMAGE})


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest_to_sizes(coordinates: str, rounding: str) -> None:
    stored = {"roi": EMPTY, "scales": EMPTY, "sizes": sizes(2, 3, 10, 7)}
    proto = single(
        "Resize",
        {"x": IMAGE},
        stored,
        11,
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )
    agrees(proto, {"x": IMAGE})


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic", "antialias": 1},
        {"mode": "cubic", "antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5},
        {"mode": "cubic", "exclude_outside": 1},
        {"mode": "nearest", "keep_aspect_ratio_policy": "not_larger"},
        {"mode": "linear", "keep_aspect_ratio_policy": "not_smaller"},
    ],
    ids=str,
)
@pytest.mark.parametrize("to", [(3, 4), (11, 5)])
def test_of_opset_18(attributes: dict[str, Any], to: tuple[int, int]) -> None:
    stored = {"roi": None, "scales": None, "sizes": sizes(*to)}
    # ONNX Runtime keeps proportions along negative axes alone, and resizes nothing.
    axes = [2, 3] if "keep_aspect_ratio_policy" in attributes else [-2, -1]
    proto = single("Resize", {"x": IMAGE}, stored, 18, axes=axes, **attributes)
    agrees(proto, {"x": IMAGE})


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_crops(mode: str) -> None:
    roi = scales(0, 0, 0.2, -0.3, 1, 1, 0.7, 1.2)
    stored = {"roi": roi, "scales": EMPTY, "sizes": sizes(2, 3, 4, 6)}
    proto = single(
        "Resize",
        {"x": IMAGE},
        stored,
        13,
        mode=mode,
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=7.0,
    )
    agrees(proto, {"x": IMAGE})


@pytest.mark.parametrize("rounding", ["floor", "round_prefer_floor"])
def test_tensorflows_own_half_pixels(rounding: str) -> None:
    stored = {"roi": EMPTY, "scales": scales(1, 1, 2, 0.6)}
    proto = single(
        "Resize",
        {"x": IMAGE},
        stored,
        11,
        coordinate_transformation_mode="tf_half_pixel_for_nn",
        nearest_mode=rounding,
    )
    agrees(proto, {"x": IMAGE})


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_before_opset_11_what_gets_shorter_is_rounded_up(mode: str) -> None:
    proto = single("Resize", {"x": IMAGE}, {"scales": scales(1, 1, 0.6, 1.5)}, 10, mode=mode)
    agrees(proto, {"x": IMAGE})


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample(mode: str) -> None:
    seven = single("Upsample", {"x": IMAGE}, {}, 7, mode=mode, scales=[1.0, 1.0, 2.0, 3.0])
    agrees(seven, {"x": IMAGE})
    nine = single("Upsample", {"x": IMAGE}, {"scales": scales(1, 1, 2.5, 1)}, 9, mode=mode)
    agrees(nine, {"x": IMAGE})


def test_integers_and_other_axes() -> None:
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    stored = {"roi": None, "scales": scales(2, 0.5, 1.5)}
    agrees(single("Resize", {"x": x}, stored, 13, nearest_mode="floor"), {"x": x})


def test_sizes_that_the_network_computes_from_others() -> None:
    """As in a feature pyramid: one map resized to the size of another, both free."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["x"], ["all"]),
        helper.make_node("Slice", ["all", "two", "four"], ["picture"]),
        helper.make_node("Shape", ["small"], ["own"]),
        helper.make_node("Slice", ["own", "zero", "two"], ["batch"]),
        helper.make_node("Concat", ["batch", "picture"], ["to"], axis=0),
        helper.make_node("Resize", ["small", "", "", "to"], ["back"], mode="linear"),
        helper.make_node("Resize", ["small", "", "twice"], ["y"], mode="nearest"),
    ]
    stored = {
        "zero": sizes(0),
        "two": sizes(2),
        "four": sizes(4),
        "twice": scales(1, 1, 2, 1.5),
    }
    proto = model(nodes, {"x": ("N", 3, "H", "W")}, ["back", "y"], stored, 13)
    loaded = agrees(proto, {"x": IMAGE})
    back, y = loaded.graph.outputs.values()
    assert [str(dim) for dim in back.type.shape] == ["N", "3", "H", "W"]
    assert str(y.type.shape[3]) == "W//2 + W//4"
    agrees(proto, {"x": IMAGE[:, :, :4, :6].copy()})


def test_what_stays_as_it_is_is_no_node() -> None:
    stored = {"roi": None, "scales": scales(1, 1, 1, 1)}
    loaded = agrees(single("Resize", {"x": IMAGE}, stored, 13, mode="cubic"), {"x": IMAGE})
    assert not any(isinstance(node.op, Resize) for node in loaded.graph.nodes)
