"""Resizing: worked examples, and what is particular to its coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.numpy import NumpyProgram
from cauce.ir import Array, Builder, Graph, Op, TensorType
from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch
from cauce.ir.ops.resize import COORDINATES, ROUNDINGS, Resize

PROGRAMS = {"numpy": NumpyProgram, "llvm": compile_program}


def run(op: Op, x: Array, backend: str) -> Array:
    graph = Graph("resizing")
    graph.outputs["y"] = Builder(graph)(op, graph.add_input("x", TensorType.of(x)))
    result = Executable(PROGRAMS[backend](graph))(x)
    assert isinstance(result, np.ndarray)
    return result


def row(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


@pytest.mark.parametrize("backend", PROGRAMS)
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"mode": "nearest"}, row(1, 1, 2, 2, 3, 3)),
        ({"mode": "linear"}, row(1, 1.25, 1.75, 2.25, 2.75, 3)),
        (
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            row(1, 1.4, 1.8, 2.2, 2.6, 3),
        ),
        (
            {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
            row(1, 1.5, 2, 2.5, 3, 3),
        ),
        # Keys' kernel at distances of 1/4, 3/4, 5/4 and 7/4: 225, 67, -27 and -9, over 256.
        (
            {"mode": "cubic"},
            row(0.89453125, 1.19140625, 1.66796875, 2.33203125, 2.80859375, 3.10546875),
        ),
    ],
    ids=["nearest", "linear", "corners", "asymmetric", "cubic"],
)
def test_twice_as_long(options: dict[str, Any], wanted: Array, backend: str) -> None:
    found = run(Resize((0,), (6,), **options), row(1, 2, 3), backend)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("backend", PROGRAMS)
def test_smoothing_takes_the_mean_of_what_a_wider_kernel_covers(backend: str) -> None:
    op = Resize((0,), (2,), mode="linear", antialias=True, exclude_outside=True)
    # x(0) = 1.5, the kernel reaches 4 to both sides; its weights by distance are 1/8 to 7/8.
    weights = np.array([5, 7, 7, 5, 3, 1]) / 28
    wanted = [weights @ np.arange(6), 7 - weights @ np.arange(6)]
    np.testing.assert_allclose(run(op, np.arange(8.0), backend), wanted, atol=1e-12)


@pytest.mark.parametrize("backend", PROGRAMS)
def test_infinities_beyond_the_reach_of_a_smoothing_kernel_do_not_count(backend: str) -> None:
    x = np.arange(40, dtype=np.float32)
    x[20] = np.inf
    y = run(Resize((0,), (10,), mode="cubic", antialias=True), x, backend)
    assert np.isfinite(y[:3]).all() and np.isfinite(y[7:]).all() and not np.isfinite(y[5])


@pytest.mark.parametrize("backend", PROGRAMS)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_coordinates_that_mirror_where_a_scale_is_no_quotient_of_sizes(
    mode: str, backend: str
) -> None:
    op = Resize(
        (2, 3), (4, 9), (0.6, 1.3), mode, coordinate_transformation_mode="half_pixel_symmetric"
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 7)).astype(np.float32)
    y = run(op, x, backend)
    np.testing.assert_allclose(y, op.reference(x), atol=1e-6)
    if mode != "nearest":  # where halves are not rounded alike from both sides
        np.testing.assert_allclose(run(op, x[..., ::-1].copy(), backend), y[..., ::-1], atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_images_that_lie_in_any_order_are_resized_alike(mode: str) -> None:
    x = np.random.default_rng(1).standard_normal((2, 21, 5, 3)).astype(np.float32)
    op = Resize((2, 3), (8, 7), mode=mode)
    wanted = op.reference(x)
    for order in ((0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)):
        turned = np.ascontiguousarray(x.transpose(order))
        axes = tuple(order.index(axis) for axis in (2, 3))
        for backend in PROGRAMS:
            found = run(op.with_attributes(axes=axes), turned, backend)
            np.testing.assert_allclose(found, wanted.transpose(order), atol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float64"])
def test_the_nearest_of_any_dtype(dtype: str) -> None:
    x = np.random.default_rng(2).integers(0, 2, (1, 5, 4, 3)).astype(dtype)
    for backend in PROGRAMS:
        y = run(Resize((2, 3), (8, 6)), x, backend)
        np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(2, 3))


def test_what_cannot_be() -> None:
    x = TensorType.make("f32", (1, 3, 8, 8))
    for wrong in (
        {"mode": "bilinear"},
        {"coordinate_transformation_mode": "half"},
        {"nearest_mode": "round"},
        {"antialias": True},
        {"scales": (2.0,)},
        {"scales": (0.0, 1.0)},
        {"coordinate_transformation_mode": "tf_crop_and_resize"},
    ):
        with pytest.raises(AttributeMistake):
            Resize((2, 3), (4, 4), **wrong)  # type: ignore[arg-type]
    with pytest.raises(AttributeMistake, match="name an axis twice"):
        Resize((2, -2), (4, 4)).infer(x)
    with pytest.raises(ShapeError, match="cannot become 0 long"):
        Resize((2,), (0,)).infer(x)
    with pytest.raises(ShapeError, match=r"times the scale 2\.0 is 16, not 4"):
        Resize((2,), (4,), (2.0,)).infer(x)
    with pytest.raises(TypeMismatch, match="floating-point"):
        Resize((2,), (4,), mode="linear").infer(x.with_dtype(TensorType.make("i32", ()).dtype))


@pytest.mark.parametrize("times", [1, 2, 3, 5])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("coordinates", COORDINATES[:-1])
def test_what_is_said_to_repeat_places_does(coordinates: str, rounding: str, times: int) -> None:
    said = []
    for length in (1, 2, 7, 100, 1023):
        size = times * length
        for scales in (None, (float(times),)):
            op = Resize((0,), (size,), scales, "nearest", coordinates, rounding)
            found = op.repeats(0, length, size)
            if found is not None:
                expected = np.arange(size) // found
                assert np.array_equal(op.table(0, length, size).indices[:, 0], expected)
            said.append(found)
    centred = coordinates.startswith(("half", "pytorch")) and rounding.startswith("round")
    assert all(said) == (centred or (coordinates, rounding) == ("asymmetric", "floor"))
    assert Resize((0,), (9,), (2.0,), "nearest", coordinates, rounding).repeats(0, 4, 9) is None
