"""What asks for yes or no takes that alone: an array, a text or a number has no place there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir.errors import AttributeMistake
from cauce.training import EarlyStopping, load_npy
from cauce.training.cifar import load_cifar100
from cauce.training.data import batch_count, batches
from cauce.training.folders import load_image_folder

from .nets import shapes, small


def traced(layer: Callable[..., object], *args: object, **options: object) -> object:
    @cauce.network
    def net(image):
        return layer(image, *args, **options)

    return net.init(image=("N", 3, 8, 8))


TAKERS: dict[str, Callable[..., object]] = {
    "bias": lambda value: traced(nn.conv2d, 4, 3, bias=value),
    "bias of conv_transpose2d": lambda value: traced(nn.conv_transpose2d, 4, 3, bias=value),
    "bias of linear": lambda value: traced(nn.linear, 4, bias=value),
    "affine": lambda value: traced(nn.batch_norm, affine=value),
    "ceil_mode": lambda value: traced(nn.max_pool2d, 2, ceil_mode=value),
    "count_include_pad": lambda value: traced(nn.avg_pool2d, 2, count_include_pad=value),
    "validate": lambda value: cauce.compile(small.init(image=("N", 1, 6, 6)), validate=value),
    "nesterov": lambda value: cauce.SGD(0.1, momentum=0.9, nesterov=value),
    "restore_best": lambda value: EarlyStopping(3, restore_best=value),
    "shuffle": lambda value: batches(shapes(), 4, seed=0, epoch=0, shuffle=value),
    "drop_last": lambda value: batch_count(shapes(), 4, drop_last=value),
}
OF_FILES: dict[str, Callable[..., object]] = {
    "coarse": lambda folder, value: load_cifar100(folder, coarse=value),
    "crop": lambda folder, value: load_image_folder(folder, crop=value),
}
WRONG = pytest.mark.parametrize("value", [np.zeros(4), "False", 10, None], ids=repr)


@WRONG
@pytest.mark.parametrize("what", TAKERS)
def test_a_flag(what: str, value: object) -> None:
    name = what.partition(" ")[0]
    with pytest.raises(AttributeMistake, match=f"^{name} must be True or False, got") as caught:
        TAKERS[what](value)
    assert caught.value.fix == f"write {name}=True"
    TAKERS[what](np.True_)
    TAKERS[what](0)


@WRONG
@pytest.mark.parametrize("name", OF_FILES)
def test_a_flag_of_a_reader(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(AttributeMistake, match=f"^{name} must be True or False, got"):
        OF_FILES[name](tmp_path, value)


@WRONG
def test_channels_last(value: object, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4, 3), np.float32))
    np.save(tmp_path / "y.npy", np.arange(2))
    with pytest.raises(AttributeMistake, match=r"^channels_last must be True or False, got"):
        load_npy(tmp_path / "x.npy", tmp_path / "y.npy", channels_last=value)


def test_a_layer_with_a_wrong_flag_says_where() -> None:
    with pytest.raises(AttributeMistake) as caught:
        traced(nn.linear, 4, bias=np.zeros(4), name="head")
    assert caught.value.path == "head" and "return layer(image" in str(caught.value)
