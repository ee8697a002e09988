"""The models of the benchmarks as machine code, small images: right, and the same bits always."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce import models
from cauce.frontends.network import Network

from ..facets.build import graph_in, wide
from .small_networks import names
from .test_native_training import in_f64

NETWORKS = [
    (models.resnet18, 64),
    (models.resnet50, 64),
    (models.mobilenet_v2, 64),
    (models.resnet20, 32),
    (models.vgg11, 32),
    (models.densenet121, 64),
]


@pytest.mark.slow
@pytest.mark.parametrize("network, size", NETWORKS, ids=names)
def test_a_model_agrees_with_the_reference_for_any_number_of_threads(
    network: Network, size: int
) -> None:
    model = network.init(image=("N", 3, size, size), seed=1)
    images = np.random.default_rng(0).standard_normal((16, 3, size, size), np.float32)
    predict = cauce.compile(model, backend="llvm", threads=1)
    others = [cauce.compile(model, backend="llvm", threads=threads) for threads in (2, 3, 8)]
    for count in (1, 3, 16):
        whole = predict(images[:count])
        fixed = network.init(image=(count, 3, size, size), seed=1)
        for other in others:
            np.testing.assert_array_equal(other(images[:count]), whole)
        given = cauce.compile(fixed, backend="llvm", threads=2)(images[:count])
        np.testing.assert_allclose(given, whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max())
    wide_graph = graph_in(wide, model.graph)
    (exact,) = in_f64(wide_graph, model.state_dict(), {"image": images[:3]}).values()
    found = predict(images[:3])
    assert np.abs(found - exact).max() <= 1e-5 * np.abs(exact).max()
