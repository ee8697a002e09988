"""Batch norm over one value for each channel: PyTorch refuses to train on it, and so do we."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Array, evaluate
from cauce.ir.errors import ShapeError
from cauce.training import Dataset

BACKENDS = ("numpy", "llvm")
SAYS = r"batch_norm_train has one value for each channel in f32\[1,4"


@cauce.network
def pixels(image):
    x = nn.batch_norm(nn.conv2d(image, 4, 3))  # of 3 x 3 images a single pixel is left
    return nn.linear(nn.flatten(x), 2)


@cauce.network
def rows(image):
    return nn.linear(nn.batch_norm(nn.linear(nn.flatten(image), 4)), 2)


@cauce.network
def lines(image):
    x = nn.linear(nn.flatten(image), 4)
    return nn.linear(nn.flatten(nn.batch_norm(x.reshape(-1, 4, 1))), 2)


NETWORKS = [pixels, rows, lines]


def images(count: int) -> Array:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 1, 3, 3)).astype(np.float32)


def labels(count: int) -> Array:
    return np.arange(count) % 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_a_batch_of_one_is_refused_and_changes_nothing(network, backend: str) -> None:
    model = network.init(image=("N", 1, 3, 3), seed=0)
    step = cauce.TrainStep(model, "cross_entropy", cauce.SGD(0.1, momentum=0.9), backend=backend)
    state, other = step.init(), step.init()
    step(state, (images(4), labels(4)))
    before = state.read()
    with pytest.raises(ShapeError, match=SAYS) as caught:
        step(state, (images(1), labels(1)))
    assert caught.value.path == "bn1"
    assert "drop_last=True" in str(caught.value.fix)
    assert caught.value.loc is not None
    assert any(frame.file == __file__ for frame in caught.value.loc.frames)
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, before[name])
    # The next step is what it would have been.
    step(state, (images(4), labels(4)))
    for _ in range(2):
        step(other, (images(4), labels(4)))
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, other.read()[name])


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_reference_refuses_it_too(network) -> None:
    model = network.init(image=("N", 1, 3, 3), seed=0)
    names = {value.name for value in model.training_graph.inputs}
    feeds = {name: array for name, array in model.state_dict().items() if name in names}
    evaluate(model.training_graph, {**feeds, "image": images(2)})
    with pytest.raises(ShapeError, match=SAYS):
        evaluate(model.training_graph, {**feeds, "image": images(1)})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_a_model_of_one_image_infers_and_does_not_train(network, backend: str) -> None:
    """The sizes are known beforehand: a training step is refused before it is compiled."""
    free, fixed = (network.init(image=(n, 1, 3, 3), seed=0) for n in ("N", 1))
    wanted = cauce.compile(free, backend=backend)(images(1))
    found = cauce.compile(fixed, backend=backend)(images(1))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=SAYS) as caught:
        cauce.TrainStep(fixed, "cross_entropy", cauce.SGD(0.1), backend=backend)
    assert caught.value.path == "bn1"
    executable = cauce.compile(fixed.training_graph, backend=backend)
    names = {value.name for value in fixed.training_graph.inputs}
    held = {name: array for name, array in fixed.state_dict().items() if name in names}
    executable.load_state_dict(held)
    moving = {value.name for value in fixed.training_graph.updates}
    state = executable.new_state({name: held[name] for name in moving})
    with pytest.raises(ShapeError, match=SAYS):
        executable(images(1), state=state)
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, held[name])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_trainer_says_drop_last_which_helps(backend: str) -> None:
    data = Dataset(images(9), labels(9), ("a", "b"))

    def trainer() -> cauce.Trainer:
        return cauce.Trainer(pixels.init(image=("N", 1, 3, 3), seed=0), backend=backend)

    with pytest.raises(ShapeError, match=SAYS):
        trainer().fit(data, 1, batch_size=4, progress=False)
    history = trainer().fit(data, 2, batch_size=4, drop_last=True, progress=False)
    assert np.isfinite(history[-1].train["loss"])
    # To measure is to infer: batches of one are nothing special.
    assert np.isfinite(trainer().evaluate(data, batch_size=1)["loss"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [1, 2])
def test_two_values_are_enough(count: int, backend: str) -> None:
    """The running variance moves towards sum (x - mean)**2 / (M - 1): two images of one pixel, or
    one of two."""

    @cauce.network
    def normal(image):
        return nn.global_avg_pool(nn.batch_norm(image, affine=False)) + nn.parameter((3,), name="w")

    model = normal.init(image=("N", 3, "H", 1), seed=0)
    x = np.random.default_rng(1).standard_normal((count, 3, 3 - count, 1)).astype(np.float32)
    step = cauce.TrainStep(model, "cross_entropy", cauce.SGD(0.1), backend=backend)
    state = step(step.init(), (x, np.zeros(count, np.int64)))
    wide = x.astype(np.float64)
    variance = 0.9 + 0.1 * wide.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(state.read()["bn1.running_var"], variance, rtol=1e-5)
    mean = 0.1 * wide.mean(axis=(0, 2, 3))
    np.testing.assert_allclose(state.read()["bn1.running_mean"], mean, rtol=1e-5, atol=1e-7)
