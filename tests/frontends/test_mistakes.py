"""Mistakes in a network: what layers, tensors and outputs are given, shown where it was written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cauce.frontends import nn
from cauce.frontends.network import network
from cauce.frontends.tensor import Tensor
from cauce.ir.errors import (
    AttributeMistake,
    CauceError,
    GraphError,
    ShapeError,
    TypeMismatch,
    UnknownAttribute,
)
from cauce.ir.ops.shape import OneHot

from .test_dsl import make, tiny

HERE = Path(__file__).name


@pytest.mark.parametrize("index", [None, True, [0, 1], np.array([0, 1]), "N", (..., ...)], ids=str)
def test_what_cannot_index_a_tensor(index: object) -> None:
    with pytest.raises(AttributeMistake, match="cannot be indexed with"):
        make(lambda x: x[index], x=("N", 3))


@pytest.mark.parametrize("stride", [np.array([1, 1, 1]), np.bool_(True), 1.0], ids=repr)
def test_what_is_no_int_is_said_to_be_none(stride: object) -> None:
    with pytest.raises(AttributeMistake, match="stride must be an int or a pair of ints"):
        make(lambda x: nn.conv2d(x, 1, 3, stride=stride), x=("N", 1, 8, 8))
    with pytest.raises(ShapeError, match="a dimension is an int or a name"):
        make(lambda x: x, x=("N", stride))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda x: nn.conv2d(x, 0, 3), "out_channels must be an int of at least 1, got 0"),
        (lambda x: nn.conv2d(x, 4, 3, groups=0), "groups must be an int of at least 1, got 0"),
        (lambda x: nn.conv_transpose2d(x, -1, 3), "out_channels must .* got -1"),
        (lambda x: nn.conv_transpose2d(x, 2.0, 3), "out_channels must .* got 2.0"),
        (lambda x: nn.linear(x, -1), "out_features must be an int of at least 1, got -1"),
    ],
)
def test_a_layer_without_outputs(layer, message: str) -> None:
    with pytest.raises(AttributeMistake, match=message) as caught:
        make(layer, x=("N", 2, 8, 8))
    assert HERE in str(caught.value)


@pytest.mark.parametrize("use", [list, sum])
def test_a_tensor_cannot_be_iterated(use) -> None:
    with pytest.raises(TypeMismatch, match="cannot be taken apart"):
        make(lambda x: use(x), x=("N", 2))


@pytest.mark.parametrize(
    "use", [lambda x: nn.relu(3), lambda x: x @ 3, lambda x: nn.where(1, x, x)]
)
def test_operands_are_tensors(use) -> None:
    with pytest.raises(TypeMismatch, match="must be a tensor of the network, got"):
        make(use, x=("N", 2))


def test_an_index_beyond_a_known_size_is_named() -> None:
    with pytest.raises(ShapeError, match=r"slice \[5:6\] along axis 1 of f32\[N,3\]"):
        make(lambda x: x[:, 5], x=("N", 3))


MISTAKES = {
    "channels": (
        lambda x: nn.conv2d(x, 6, 3, groups=2),
        ShapeError,
        "3 input and 6 output channels do not divide into 2 groups",
    ),
    "kernel": (lambda x: nn.conv2d(x, 6, 11), ShapeError, r"8 \+ 0 \+ 0 = 8"),
    "shapes": (
        lambda x: x + nn.conv2d(x, 6, 1),
        ShapeError,
        r"\[N,3,8,8\] and \[N,6,8,8\] do not broadcast",
    ),
    "attribute": (lambda x: nn.dropout(x, 1.5), AttributeMistake, "1.5"),
    "truth": (lambda x: nn.relu(x) if x > 0 else x, TypeMismatch, "no truth value"),
    "operand": (lambda x: x + "one", TypeMismatch, "cannot be combined with 'one'"),
    "axis": (lambda x: nn.softmax(x, 7), AttributeMistake, "axis 7 is out of range"),
    "stride": (lambda x: nn.conv2d(x, 4, 3, stride=0), AttributeMistake, "stride must be"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_show_the_users_line(mistake: str) -> None:
    function, kind, message = MISTAKES[mistake]
    with pytest.raises(kind, match=message) as caught:
        make(function, x=("N", 3, 8, 8))
    assert isinstance(caught.value, CauceError)
    shown = str(caught.value)
    assert f"{HERE}:{function.__code__.co_firstlineno}" in shown


def test_inputs_and_options_are_checked() -> None:
    with pytest.raises(GraphError, match="no shape for the input image"):
        tiny.init()
    with pytest.raises(GraphError, match="no argument called labels"):
        tiny.init(image=("N", 3, 8, 8), labels=3)
    with pytest.raises(AttributeMistake, match="must be a tuple"):
        tiny.init(image=3)
    with pytest.raises(GraphError, match="it cannot be called"):
        tiny(np.zeros(3))
    with pytest.raises(GraphError, match="only be used inside a network"):
        nn.relu(3)  # type: ignore[arg-type]
    with pytest.raises(AttributeMistake, match="an argument of init"):
        network(lambda x, seed=1: x)


def test_two_layers_of_one_name() -> None:
    def net(x):
        return nn.relu(nn.relu(x, name="act"), name="act")

    with pytest.raises(GraphError, match="two layers called 'act'"):
        make(net, x=("N", 3))


def test_reading_a_shape_that_is_not_there() -> None:
    def net(x: Tensor) -> Tensor:
        assert x.height == 8 and x.channels == 3 and x.ndim == 4
        return x.mean((1, 2, 3)).height  # type: ignore[return-value]

    with pytest.raises(ShapeError, match="has no height"):
        make(net, x=("N", 3, 8, 8))


HABITS = {
    "floor": (lambda x: x // 2, TypeMismatch, "no op for a // b", "divide by /"),
    "floor of a number": (lambda x: 7 // x, TypeMismatch, "no op for a // b", "divide by /"),
    "floor of an array": (lambda x: np.ones(4) // x, TypeMismatch, "no op for a // b", "by /"),
    "remainder": (lambda x: x % 2, TypeMismatch, "or a % b of tensors", "divide by /"),
    "length": (lambda x: len(x), TypeMismatch, r"no len\(\)", r"x\.shape\[0\]"),
    "float": (lambda x: float(x), TypeMismatch, "cannot become a float", "go on with the tensor"),
    "int": (lambda x: int(x), TypeMismatch, "cannot become an int", "go on with the tensor"),
    "array": (lambda x: np.asarray(x), TypeMismatch, "become an array", "go on with the tensor"),
    "ufunc": (lambda x: np.exp(x), TypeMismatch, "np.exp computes with numbers", r"x\.exp\(\)"),
    "ufunc of two": (lambda x: np.maximum(x, 0), TypeMismatch, "np.maximum computes", "of nn"),
    "transpose": (lambda x: x.T, UnknownAttribute, "has no 'T'", r"x\.permute\(1, 0\)"),
    "function of nn": (lambda x: x.sigmoid(), UnknownAttribute, "'sigmoid'", r"nn\.sigmoid\(x"),
    "typing error": (lambda x: x.reshap(2), UnknownAttribute, "'reshap'", r"mean x\.reshape"),
    "no input": (lambda x: nn.conv2d(3, 3, 3), TypeMismatch, r"x of conv2d\(x, out_ch", "tensors"),
    "two numbers": (lambda x: nn.maximum(1, 2), AttributeMistake, "got 1 and 2", "Python's max"),
}


@pytest.mark.parametrize("habit", HABITS)
def test_habits_of_other_libraries_are_told_what_to_write(habit: str) -> None:
    use, kind, message, fix = HABITS[habit]
    with pytest.raises(kind, match=message) as caught:
        make(use, x=("N", 4))
    assert isinstance(caught.value, CauceError)
    assert f"{HERE}:{use.__code__.co_firstlineno}" in str(caught.value)
    assert re.search(fix, caught.value.fix or "")


def test_a_tensor_has_the_attributes_that_it_has() -> None:
    def ask(x):
        assert hasattr(x, "reshape") and not hasattr(x, "T")
        return x

    make(ask, x=("N", 4))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda x: nn.batch_norm(x, momentum=2), "from 0 to 1, got 2"),
        (lambda x: nn.batch_norm(x, momentum="0.1"), "momentum must be a number, got '0.1'"),
        (lambda x: nn.batch_norm(x, eps=-1e-5), "epsilon must not be negative"),
        (lambda x: x.var(correction=-1), "correction must not be negative, got -1"),
        (lambda x: nn.apply(OneHot(0), x.argmax(1)), "depth must be an int of at least 1, got 0"),
        (lambda x: nn.leaky_relu(x, float("nan")), "slope must be a finite number, got nan"),
    ],
)
def test_attributes_that_cannot_be_meant(use, message: str) -> None:
    with pytest.raises(AttributeMistake, match=message):
        make(use, x=("N", 4))


def test_a_parameter_has_elements() -> None:
    with pytest.raises(ShapeError, match=r"parameter w would be f32\[0\], which holds nothing"):
        make(lambda x: x + nn.parameter((0,), name="w"), x=("N", 4))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda x: {"": x}, "an output called ''$"),
        (lambda x: {"x": nn.relu(x)}, "an output called 'x', as an input or a parameter is"),
        (lambda x: {"linear1.weight": nn.linear(x, 2)}, "called 'linear1.weight', as"),
    ],
)
def test_outputs_have_names_of_their_own(outputs, message: str) -> None:
    with pytest.raises(GraphError, match=f"(?m){message}"):
        make(outputs, x=("N", 4))


def test_same_padding_with_a_stride_needs_a_size() -> None:
    with pytest.raises(AttributeMistake, match="depends on the size, which is H here"):
        make(lambda x: nn.conv2d(x, 4, 3, stride=2, padding="same"), x=("N", 3, "H", 8))
