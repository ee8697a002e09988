"""Batches without samples: inference takes them, a training step does not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import evaluate
from cauce.ir.errors import ShapeError

from .nets import batch, small


@cauce.network
def averages(x):
    rows = x.flatten(1)
    return {"each": nn.global_avg_pool(x), "all": x.mean(), "var": rows.var(0, correction=0)}


@pytest.mark.parametrize("size", [0, 3])
def test_inference_takes_an_empty_batch_without_a_warning(size: int) -> None:
    model = averages.init(x=("N", 2, 4, 4))
    x = np.ones((size, 2, 4, 4), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        each, mean, var = cauce.compile(model, "numpy")(x)
        expected = evaluate(model.graph, {"x": x}).outputs
    assert each.shape == (size, 2)
    assert np.isnan(mean) == (size == 0) and np.isnan(var).all() == (size == 0)
    for got, name in ((each, "each"), (mean, "all"), (var, "var")):
        np.testing.assert_array_equal(got, expected[name])


def test_a_training_step_needs_samples() -> None:
    step = cauce.TrainStep(small.init(image=("N", 1, 6, 6)), "cross_entropy", cauce.SGD(0.1))
    state = step.init()
    before = state.read()
    nothing = {name: array[:0] for name, array in batch(4).items()}
    with pytest.raises(ShapeError, match="at least one sample, image is array"):
        step(state, nothing)
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, before[name])
