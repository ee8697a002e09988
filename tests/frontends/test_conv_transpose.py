"""nn.conv_transpose2d: values by its definition, sizes also symbolic, mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cauce import nn
from cauce.frontends.model import Model
from cauce.frontends.network import network
from cauce.frontends.tensor import Tensor
from cauce.ir import Array, evaluate
from cauce.ir.errors import AttributeMistake, ShapeError


@network
def up(
    x: Tensor,
    kernel: Any = 3,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    bias: bool = True,
    dilation: Any = 1,
    output_size: Any = None,
) -> Tensor:
    """One transposed convolution to six channels."""
    return nn.conv_transpose2d(
        x,
        6,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        bias=bias,
        dilation=dilation,
        output_size=output_size,
        name="up",
    )


def run(model: Model, x: Array) -> Array:
    return evaluate(model.graph, {"x": x, **model.state_dict()}).outputs["output"]


def stamped(
    x: Array,
    values: Mapping[str, Array],
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Array:
    """Each pixel of x stamps the kernel, weighted, on a canvas of which the borders are cut off."""
    weight = values["up.weight"]
    n, c_in, height, width = x.shape
    _, per_group, kh, kw = weight.shape
    canvas = np.zeros((n, per_group * groups, size[0] + 40, size[1] + 40))
    for c in range(c_in):
        first = c // (c_in // groups) * per_group
        for i in range(height):
            for j in range(width):
                for r in range(kh):
                    for s in range(kw):
                        row = 20 + i * stride[0] + r * dilation[0] - padding[0]
                        column = 20 + j * stride[1] + s * dilation[1] - padding[1]
                        stamp = x[:, c, i, j, None] * weight[c, :, r, s]
                        canvas[:, first : first + per_group, row, column] += stamp
    y = canvas[:, :, 20 : 20 + size[0], 20 : 20 + size[1]]
    return y + values["up.bias"][:, None, None] if "up.bias" in values else y


CASES: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({}, (6, 7)),
    ({"kernel": 1, "bias": False}, (4, 5)),
    ({"kernel": 2, "stride": 2}, (8, 10)),
    ({"padding": 1}, (4, 5)),
    ({"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, (8, 10)),
    ({"kernel": (3, 2), "stride": (2, 3), "padding": (1, 0)}, (7, 14)),
    ({"dilation": 2, "stride": 2, "padding": 1, "groups": 2, "bias": False}, (9, 11)),
    ({"kernel": 4, "stride": 3, "padding": (2, 1), "output_padding": (0, 2)}, (9, 16)),
    ({"kernel": 2, "stride": 2, "output_size": (9, 10)}, (9, 10)),
]


@pytest.mark.parametrize(("options", "size"), CASES)
def test_values_are_stamped_kernels(options: dict[str, Any], size: tuple[int, int]) -> None:
    def both(name: str, default: int) -> tuple[int, int]:
        value = options.get(name, default)
        return value if isinstance(value, tuple) else (value, value)

    x = np.random.default_rng(0).normal(size=(2, 4, 4, 5))
    wanted_like = (both("stride", 1), both("padding", 0), both("dilation", 1))
    for shape in (x.shape, ("N", 4, "H", "W")):
        if shape != x.shape and "output_size" in options:
            continue  # with numbers for H' and W' the input cannot be symbolic
        model = up.init(x=shape, dtype="f64", **options)
        model.graph.verify()
        model.training_graph.verify()
        y = run(model, x)
        assert y.shape == (2, 6, *size)
        groups = options.get("groups", 1)
        wanted = stamped(x, model.state_dict(), size, *wanted_like, groups)
        np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)


def test_symbolic_sizes() -> None:
    """H' = (H - 1)*S - 2P + D*(K - 1) + output_padding + 1."""
    graph = up.graph(x=("N", 4, "H", "W"), kernel=3, stride=2, padding=1, output_padding=1)
    assert str(graph.outputs["output"].type) == "f32[N,6,2*H,2*W]"
    graph = up.graph(x=("N", 4, "H", "W"), kernel=3, dilation=2, padding=(1, 2))
    assert str(graph.outputs["output"].type) == "f32[N,6,H + 2,W]"


@network
def down_and_up(x: Tensor) -> Tensor:
    """Halve the map, then bring it back to its size, whether odd or even."""
    y = nn.max_pool2d(x, 2)
    return nn.conv_transpose2d(y, 1, 2, stride=2, output_size=x.shape[2:], bias=False)


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (2, 3)])
def test_output_size_restores_what_pooling_halved(size: tuple[int, int]) -> None:
    model = down_and_up.init(x=("N", 1, "H", "W"))
    assert model.graph.outputs["output"].type == model.graph.inputs[0].type
    ones = np.ones((1, 1, *size), np.float32)
    weight = {"conv_transpose1.weight": np.ones((1, 1, 2, 2), np.float32)}
    y = evaluate(model.graph, {"x": ones, **weight}).outputs["output"]
    halves = [side // 2 * 2 for side in size]
    wanted = np.zeros_like(ones)
    wanted[:, :, : halves[0], : halves[1]] = 1
    np.testing.assert_array_equal(y, wanted)


def test_parameters_have_the_layout_of_pytorch() -> None:
    graph = up.graph(x=("N", 4, 5, 5), groups=2)
    assert [str(value) for value in map(repr, graph.inputs[1:])] == [
        "<@up.weight: f32[4,3,3,3] parameter>",
        "<@up.bias: f32[6] parameter>",
    ]


def test_initial_values_have_the_bounds_of_pytorch() -> None:
    """Uniform within 1/sqrt(C_out/groups * K * K), which PyTorch takes for the fan-in."""
    values = up.init(x=("N", 400, 5, 5), groups=2, seed=1).state_dict()
    bound = 27**-0.5
    assert 0.99 * bound < np.abs(values["up.weight"]).max() <= bound
    assert 0 < np.abs(values["up.bias"]).max() <= bound


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"stride": 2, "output_padding": 2}, ShapeError, r"output_padding=\[2, 2\] is not possible"),
    ({"output_padding": 1}, ShapeError, r"stride of \[1, 1\] makes 7 to 7 and 7 to 7 of 5 rows"),
    ({"stride": 2, "output_size": (13, 11)}, ShapeError, r"output_size=\[13, 11\] .* 11 to 12"),
    ({"output_size": (7,)}, ShapeError, r"output_size=\[7\]"),
    ({"kernel": 1, "padding": 3}, ShapeError, "makes -1 to -1"),
    ({"groups": 3}, ShapeError, "4 input and 6 output channels do not divide into 3 groups"),
    ({"groups": 0}, AttributeMistake, "groups must be an int of at least 1, got 0"),
    ({"kernel": 0}, AttributeMistake, "kernel_size must be"),
    ({"stride": 0}, AttributeMistake, "stride must be"),
    ({"output_padding": -1}, AttributeMistake, "output_padding must be"),
]


@pytest.mark.parametrize(("options", "kind", "message"), MISTAKES)
def test_mistakes(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        up.init(x=("N", 4, 5, 5), **options)
    assert "in layer: up" in str(caught.value)
    assert f"at {__file__}" in str(caught.value)


def test_input_must_be_an_image() -> None:
    with pytest.raises(ShapeError, match=r"takes \[N, C, H, W\], got f32\[N,4\]"):
        up.init(x=("N", 4))


def test_output_size_that_depends_on_unrelated_symbols_is_refused() -> None:
    with pytest.raises(ShapeError, match="dy is"):
        up.init(x=("N", 4, "H", "W"), stride=2, output_size=(20, 20))
