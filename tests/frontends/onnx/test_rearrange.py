"""Borders, tiles, parts, and pixels as channels, in all opsets, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import cauce
from cauce.ir import Array
from cauce.ir.errors import ShapeError, UnsupportedOp

from .build import agrees, model, single

IMAGE = np.random.default_rng(4).standard_normal((2, 4, 6, 5)).astype(np.float32)
ROW = np.arange(7, dtype=np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


PADS = (0, 0, 2, 1, 0, 0, 1, 3)


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("opset", [7, 11, 19])
def test_borders_made_of_the_image(mode: str, opset: int) -> None:
    if mode == "wrap" and opset < 19:
        pytest.skip("later")
    stored = {} if opset < 11 else {"p": ints(*PADS)}
    attributes = {"pads": list(PADS)} if opset < 11 else {}
    agrees(single("Pad", {"x": IMAGE}, stored, opset, mode=mode, **attributes), {"x": IMAGE})


def test_borders_along_some_axes_after_a_cut() -> None:
    stored = {"p": ints(2, -1, -2, 2), "v": None, "axes": ints(-1, 2)}
    agrees(single("Pad", {"x": IMAGE}, stored, 18, mode="edge"), {"x": IMAGE})


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_a_border_of_a_number_that_is_computed(dtype: Any) -> None:
    x, value = np.arange(6).reshape(2, 3).astype(dtype), np.array(7, dtype)
    nodes = [
        helper.make_node("Neg", ["v"], ["less"]),
        helper.make_node("Pad", ["x", "p", "less"], ["out"]),
    ]
    proto = model(nodes, {"x": x, "v": value}, ["out"], {"p": ints(1, 0, 2, -1)}, 13)
    agrees(proto, {"x": x, "v": value})


def test_borders_of_sizes_that_are_not_known() -> None:
    nodes = [helper.make_node("Pad", ["x", "p"], ["out"], mode="reflect")]
    proto = model(nodes, {"x": ("N", 4, "H", "W")}, ["out"], {"p": ints(*PADS)}, 13)
    loaded = agrees(proto, {"x": IMAGE})
    with pytest.raises(ShapeError, match="longer than 2"):
        cauce.compile(loaded)(IMAGE[:, :, :, :3])


@pytest.mark.parametrize("opset", [6, 13])
def test_tile(opset: int) -> None:
    agrees(single("Tile", {"x": IMAGE}, {"r": ints(1, 2, 1, 3)}, opset), {"x": IMAGE})
    agrees(single("Tile", {"x": ROW}, {"r": ints(2)}, opset), {"x": ROW})


@pytest.mark.parametrize("opset", [7, 11, 13])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(opset: int, mode: str) -> None:
    more = {"mode": mode} if opset >= 11 else {}
    agrees(single("DepthToSpace", {"x": IMAGE}, {}, opset, blocksize=2, **more), {"x": IMAGE})


@pytest.mark.parametrize("opset", [7, 13])
def test_space_to_depth(opset: int) -> None:
    x = IMAGE[..., :4].copy()
    agrees(single("SpaceToDepth", {"x": x}, {}, opset, blocksize=2), {"x": x})


@pytest.mark.parametrize("shape", [(4, 9), (8, 3), (7, 7)])
def test_center_crop_pad(shape: tuple[int, int]) -> None:
    stored = {"s": ints(*shape)}
    agrees(single("CenterCropPad", {"x": IMAGE}, stored, 18, axes=[2, -1]), {"x": IMAGE})


def split(opset: int, outputs: int, stored: dict[str, Array], **attributes: Any) -> Any:
    names = [f"y{i}" for i in range(outputs)]
    nodes = [helper.make_node("Split", ["x", *stored], names, **attributes)]
    return model(nodes, {"x": ROW}, names, stored, opset)


def test_parts() -> None:
    agrees(split(7, 2, {}, split=[3, 4]), {"x": ROW})
    agrees(split(13, 3, {"s": ints(2, 0, 5)}), {"x": ROW})
    agrees(split(18, 3, {}, num_outputs=3), {"x": ROW})
    agrees(split(18, 4, {}, num_outputs=4), {"x": ROW})


def test_parts_of_a_size_that_is_not_known() -> None:
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["twice"], axis=3),
        helper.make_node("Split", ["twice"], ["a", "b"], axis=3),
    ]
    proto = model(nodes, {"x": ("N", 4, "H", "W")}, ["a", "b"], None, 13)
    agrees(proto, {"x": IMAGE})
    with pytest.raises(UnsupportedOp, match="do not make a size of 7"):
        cauce.load_onnx(split(13, 2, {"s": ints(2, 4)}))
