"""Arrays of ints where a pair is taken mean the same as tuples; elsewhere they are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir.attributes import flag
from cauce.ir.errors import AttributeMistake

Layer = Callable[..., nn.Tensor]


def graph_of(layer: Layer, **options: object) -> str:
    @cauce.network
    def net(x):  # type: ignore[no-untyped-def]
        return layer(x, **options)

    return net.init(x=("N", 4, 9, 8)).graph.to_text(locations=False)


def conv(x: nn.Tensor, **options: object) -> nn.Tensor:
    return nn.conv2d(x, 4, **{"kernel_size": 3, **options})  # type: ignore[arg-type]


def transposed(x: nn.Tensor, **options: object) -> nn.Tensor:
    return nn.conv_transpose2d(x, 4, **{"kernel_size": 3, "stride": 2, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "name", "value"),
    [
        (conv, "kernel_size", (3, 2)),
        (conv, "stride", (2, 1)),
        (conv, "padding", (1, 2)),
        (conv, "padding", ((0, 1), (2, 1))),
        (conv, "dilation", (1, 2)),
        (transposed, "padding", (1, 2)),
        (transposed, "output_padding", (1, 0)),
        (transposed, "output_size", (20, 18)),
        (nn.max_pool2d, "kernel_size", (3, 2)),
        (nn.avg_pool2d, "kernel_size", (3, 2)),
        (nn.adaptive_avg_pool2d, "output_size", (3, 2)),
        (nn.adaptive_max_pool2d, "output_size", (3, 2)),
        (nn.adaptive_avg_pool2d, "output_size", (None, 2)),
        (nn.reshape, "shape", (-1, 8, 9)),
        (nn.Tensor.reshape, "dims", (-1, 8, 9)),
        (nn.Tensor.sum, "dim", (2, 3)),
    ],
)
def test_an_array_is_a_sequence(layer: Layer, name: str, value: tuple[object, ...]) -> None:
    if name == "dims":
        assert graph_of(lambda x: x.reshape(np.array(value))) == graph_of(
            lambda x: x.reshape(value)
        )
        return
    wanted = graph_of(layer, **{name: value})
    assert graph_of(layer, **{name: np.array(value)}) == wanted


def test_an_array_of_one_number_is_a_number() -> None:
    assert graph_of(conv, padding=np.array(1)) == graph_of(conv, padding=1)


@pytest.mark.parametrize("padding", [np.array([1.0, 1.0]), np.array([1, 1, 1]), np.array([-1, 1])])
def test_an_array_that_is_no_padding(padding: np.ndarray) -> None:
    with pytest.raises(AttributeMistake, match="padding must be an int, ") as caught:
        graph_of(conv, padding=padding)
    assert "padding=1" in str(caught.value.fix)


def test_an_array_is_no_flag() -> None:
    with pytest.raises(AttributeMistake, match=r"keepdim must be True or False, got array"):
        flag(np.array([1, 0]), "keepdim")
    assert flag(np.False_, "keepdim") is False
    assert flag(np.int64(1), "keepdim") is True
