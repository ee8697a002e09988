"""Images as they are stored, scaled and normalised by the network itself."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.frontends import nn
from cauce.frontends.network import network
from cauce.ir import Graph, TensorType, evaluate, parse, verify
from cauce.ir.errors import AttributeMistake, CauceError, ShapeError, TypeMismatch

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 2.0, 0.1)


def graph_of(type_: TensorType, mean: object = MEAN, std: object = STD, **options: object) -> Graph:
    @network
    def normalised(image):
        return nn.normalize(image, mean, std, **options)

    graph = normalised.graph(image=type_)
    verify(graph)
    return graph


def run(graph: Graph, image: np.ndarray) -> np.ndarray:
    return evaluate(graph, {"image": image}).outputs["output"]


def test_bytes_are_scaled_and_normalised_by_channel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)
    result = run(graph_of(TensorType.make("u8", ("N", 3, "H", "W"))), image)
    assert result.dtype == np.float32
    for channel in range(3):
        wanted = (image[:, channel] / 255 - MEAN[channel]) / STD[channel]
        np.testing.assert_allclose(result[:, channel], wanted, rtol=2e-6, atol=1e-6)


def test_the_ends_of_the_bytes() -> None:
    image = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    result = run(graph_of(TensorType.make("u8", ("N", 1, 1, 1)), 0.5, 0.5), image)
    assert result.ravel().tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_floats_are_not_scaled(dtype: str) -> None:
    image = np.linspace(0, 1, 6, dtype={"f32": np.float32, "f64": np.float64}[dtype])
    result = run(graph_of(TensorType.make(dtype, ("N", 3, 1, 1))), image.reshape(2, 3, 1, 1))
    assert result.dtype == image.dtype
    wanted = (image.reshape(2, 3) - MEAN) / STD
    np.testing.assert_allclose(result[:, :, 0, 0], wanted, rtol=1e-6)


def test_the_dtype_that_bytes_become_can_be_chosen() -> None:
    graph = graph_of(TensorType.make("u8", ("N", 3, 1, 1)), dtype="f64")
    image = np.array([[255, 51, 0]], np.uint8).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(run(graph, image).ravel(), [1, -0.025, -1.25], rtol=1e-14)


def test_vectors_have_channels_too() -> None:
    graph = graph_of(TensorType.make("f32", ("N", 3)))
    result = run(graph, np.array([[1, 1, 1]], np.float32))
    np.testing.assert_allclose(result, [[1, 0.375, 8.75]], rtol=1e-6)


def test_the_nodes_carry_the_name_of_the_layer_and_the_text_reads_back() -> None:
    graph = graph_of(TensorType.make("u8", ("N", 3, 2, 2)), name="pixels")
    assert {node.path for node in graph.nodes} == {"pixels"}
    assert parse(graph.to_text()).to_text() == graph.to_text()


@pytest.mark.parametrize(
    ("type_", "mean", "std", "error", "message"),
    [
        (("i32", ("N", 3, 2, 2)), 0.0, 1.0, TypeMismatch, r"u8 or floating.*i32\[N,3,2,2\]"),
        (("u8", ("N", 1, 2, 2)), MEAN, 1.0, ShapeError, r"mean has shape \(3,\).*u8\[N,1,2,2\]"),
        (("u8", ("N", 3, 2, 2)), 0.0, (1.0, 1.0), ShapeError, r"std has shape \(2,\)"),
        (("u8", ("N",)), MEAN, 1.0, ShapeError, r"mean has shape \(3,\)"),
        (("u8", ("N", 3, 2, 2)), 0.0, (1.0, 0.0, 1.0), AttributeMistake, "divides by std"),
        (("u8", ("N", 3, 2, 2)), 0.0, float("nan"), AttributeMistake, "divides by std"),
    ],
)
def test_mistakes_show_the_line(
    type_: tuple[str, tuple[object, ...]],
    mean: object,
    std: object,
    error: type[CauceError],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        graph_of(TensorType.make(*type_), mean, std)
    assert caught.value.fix
    assert caught.value.path == "normalize1"
    assert "nn.normalize(image, mean, std, **options)" in str(caught.value)
