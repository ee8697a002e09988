"""Small networks and data that the tests of the public interface share."""

from __future__ import annotations

import numpy as np

import cauce
from cauce import nn
from cauce.training.data import Dataset


@cauce.network
def small(image, classes=3, drop=0.2):
    """A residual network of a few hundred parameters, with all that training has."""
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 4, 3, padding=1, bias=False)))
    x = x + nn.batch_norm(nn.conv2d(x, 4, 3, padding=1, bias=False))
    x = nn.max_pool2d(nn.relu(x), 2)
    return nn.linear(nn.dropout(nn.global_avg_pool(x), drop), classes)


def shapes(count: int = 48, seed: int = 0) -> Dataset:
    """Noisy 6x6 images with a bright left, right or middle: learnt in a few epochs."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.normal(0, 0.3, (count, 1, 6, 6)).astype(np.float32)
    for image, label in zip(images, labels):
        image[0, :, 2 * label : 2 * label + 2] += 1
    return Dataset(images, labels, ("left", "middle", "right"))


def batch(count: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """One batch of them, by input name."""
    data = shapes(count, seed)
    return {"image": np.array(data.images), "target": np.array(data.labels)}
