"""The model zoo with numbers: first values, what parts compute, small images through all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cauce import models
from cauce.frontends.model import Model
from cauce.frontends.network import Network
from cauce.ir import Array, Value, evaluate
from cauce.passes.optimizers import Adam
from cauce.training_step import TrainStep


def run(model: Model, image: Array) -> Array:
    values = {value.name for value in model.graph.inputs}
    feeds = {name: array for name, array in model.state_dict().items() if name in values}
    return evaluate(model.graph, {"image": image, **feeds}).outputs["output"]


def pixels(*shape: int) -> Array:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


SMALL: list[tuple[Network, dict[str, Any], tuple[int, int, int]]] = [
    (models.lenet5, {}, (1, 28, 28)),
    (models.lenet5, {}, (3, 32, 32)),
    (models.resnet20, {}, (3, 32, 32)),
    (models.resnet20, {}, (1, 9, 11)),
    (models.plain20, {}, (3, 32, 32)),
    (models.resnet18, {"classes": 5}, (3, 33, 40)),
    (models.mobilenet_v2, {"classes": 5}, (3, 40, 33)),
    (models.squeezenet, {"classes": 5}, (3, 33, 40)),
    (models.squeezenet, {"classes": 5, "version": "1.0"}, (3, 40, 33)),
    (models.densenet121, {"classes": 5}, (3, 32, 32)),
    (models.unet, {"width": 4, "depth": 2}, (2, 13, 18)),
]


@pytest.mark.parametrize(("network", "options", "shape"), SMALL)
def test_small_images(
    network: Network, options: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    """Finite numbers that differ from image to image, and do not depend on what else is given."""
    model = network.init(image=("N", *shape), **options)
    images = pixels(2, *shape)
    y = run(model, images)
    assert y.shape[:2] == (2, options.get("classes", network.options["classes"]))
    assert np.isfinite(y).all()
    assert np.abs(y[0] - y[1]).max() > 1e-4 * np.abs(y).max() > 0
    alone = run(model, images[1:])
    assert np.abs(alone - y[1:]).max() < 1e-5 * np.abs(y).max()


@pytest.mark.parametrize(
    ("network", "options", "shape"),
    [
        (models.lenet5, {}, (8, 1, 28, 28)),
        (models.plain20, {}, (8, 3, 9, 11)),
        pytest.param(models.mobilenet_v2, {}, (4, 3, 32, 32), marks=pytest.mark.slow),
        (models.squeezenet, {"dropout": 0.1}, (4, 3, 33, 40)),
        pytest.param(models.densenet121, {}, (2, 3, 32, 32), marks=pytest.mark.slow),
        (models.unet, {"width": 4, "depth": 2}, (2, 1, 13, 18)),
    ],
)
def test_steps_of_training_lower_the_loss(
    network: Network, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Every family has gradients, through transposed convolution and concatenation too."""
    model = network.init(image=("N", *shape[1:]), classes=4, **options)
    step = TrainStep(model, "cross_entropy", Adam(0.001))
    per_pixel = shape[2:] if network is models.unet else ()
    labels = np.random.default_rng(1).integers(0, 4, (shape[0], *per_pixel))
    state = step.init()
    losses = []
    for _ in range(6):
        state = step(state, (pixels(*shape), labels))
        losses.append(state.loss)
    assert losses[-1] < 0.98 * losses[0], losses


def test_lenet5_pads_digits_to_32() -> None:
    small = models.lenet5.init(image=("N", 1, 28, 28))
    large = models.lenet5.init(image=("N", 1, 32, 32))
    image = pixels(1, 1, 28, 28)
    padded = np.pad(image, ((0, 0), (0, 0), (2, 2), (2, 2)))
    np.testing.assert_allclose(run(small, image), run(large, padded), rtol=1e-5)


def test_shortcuts_of_option_a() -> None:
    """Where a block adds nothing, its result is the subsampled input with channels of zeros."""
    model = models.resnet20.init(image=("N", 3, 9, 12))
    values = model.state_dict()
    for block in range(1, 4):
        values[f"stage2.block{block}.bn2.weight"] = np.zeros(32, np.float32)
    seen: dict[str, Array] = {}

    def watch(value: Value, array: Array) -> None:
        seen[value.name] = array

    evaluate(model.graph, {"image": pixels(1, 3, 9, 12), **values}, watch=watch)
    before, after = seen["stage1.block3.relu2"], seen["stage2.block3.relu2"]
    assert before.shape == (1, 16, 9, 12) and after.shape == (1, 32, 5, 6)
    np.testing.assert_array_equal(after[:, :16], before[:, :, ::2, ::2])
    np.testing.assert_array_equal(after[:, 16:], 0)
    assert before.any()


def test_unet_gives_back_odd_sizes() -> None:
    model = models.unet.init(image=("N", 1, "H", "W"), width=2, depth=3, classes=4)
    for size in ((8, 8), (11, 15), (17, 9)):
        assert run(model, pixels(1, 1, *size)).shape == (1, 4, *size)


def test_unet_sees_its_skipped_maps() -> None:
    """Without what comes from below, the result still depends on the image."""
    model = models.unet.init(image=("N", 1, 8, 8), width=2, depth=1)
    values = model.state_dict()
    values["up1.upsample.weight"] = np.zeros_like(values["up1.upsample.weight"])
    model.load_state_dict(values)
    first, second = run(model, pixels(2, 1, 8, 8))
    assert np.abs(first - second).max() > 1e-3


def check(array: Array, std: float) -> None:
    """Whether a large array has this standard deviation and no mean, both within 5 sigmas."""
    few = 5 / np.sqrt(array.size)
    assert abs(array.std() / std - 1) < few
    assert abs(array.mean()) < std * few


def test_first_values_of_the_resnets() -> None:
    values = models.resnet18.init(image=("N", 3, 32, 32)).state_dict()
    check(values["conv1.weight"], np.sqrt(2 / (64 * 49)))  # fan-out
    check(values["layer2.0.downsample.0.weight"], np.sqrt(2 / 128))
    check(values["fc.weight"], np.sqrt(1 / 512 / 3))  # uniform within 1/sqrt(512)
    values = models.resnet20.init(image=("N", 3, 32, 32)).state_dict()
    check(values["stage2.block1.conv1.weight"], np.sqrt(2 / (16 * 9)))  # fan-in


def test_first_values_of_mobilenet_v2() -> None:
    values = models.mobilenet_v2.init(image=("N", 3, 32, 32)).state_dict()
    check(values["features.17.conv.1.0.weight"], np.sqrt(2 / (960 * 9)))
    check(values["classifier.1.weight"], 0.01)
    assert not values["classifier.1.bias"].any()


def test_first_values_of_squeezenet() -> None:
    values = models.squeezenet.init(image=("N", 3, 32, 32)).state_dict()
    weight = values["features.12.expand3x3.weight"]
    check(weight, np.sqrt(2 / (64 * 9)))
    assert np.abs(weight).max() <= np.sqrt(6 / (64 * 9))
    check(values["classifier.1.weight"], 0.01)
    assert not any(values[name].any() for name in values if name.endswith("bias"))


def test_first_values_of_densenet121() -> None:
    values = models.densenet121.init(image=("N", 3, 32, 32)).state_dict()
    check(values["features.denseblock3.denselayer7.conv2.weight"], np.sqrt(2 / (128 * 9)))
    check(values["classifier.weight"], np.sqrt(1 / 1024 / 3))
    assert not values["classifier.bias"].any()


@pytest.mark.slow
def test_vgg() -> None:
    model = models.vgg11_bn.init(image=("N", 3, 32, 32))
    assert model.parameter_count() == 132_868_840
    values = model.state_dict()
    check(values["features.25.weight"], np.sqrt(2 / (512 * 9)))
    check(values["classifier.0.weight"], 0.01)
    assert not any(values[f"{name}.bias"].any() for name in ("features.0", "classifier.6"))
    y = run(model, pixels(1, 3, 32, 32))
    assert y.shape == (1, 1000) and np.isfinite(y).all() and y.std() > 0
