"""How an image file becomes what a network sees in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..ir.preprocessing import Preprocessing
from .augment import Mixup, Normalize, OneHot, RandomCrop, RandomHorizontalFlip, Transform
from .data import Dataset

# What leaves the values of pixels alone, or mixes those of several images.
_PLAIN = (Mixup, OneHot, RandomCrop, RandomHorizontalFlip)


def prepared(data: Dataset, augment: Sequence[Transform]) -> Preprocessing:
    """The preprocessing of a data set, and of what is done to its images on the way to a batch.

    One ``Normalize`` is part of it. What transforms of the user's own make of pixels is not known:
    ``scale`` is None then.

    Args:
        data: where the images come from.
        augment: what is done to each batch, in order.
    """
    found = data.preprocessing
    assert found is not None  # a data set makes one
    changes = [transform for transform in augment if not isinstance(transform, _PLAIN)]
    if not changes:
        return found
    first = changes[0]
    if len(changes) > 1 or not isinstance(first, Normalize) or found.scale is None:
        return replace(found, scale=None)
    if (found.mean, found.std) != (0.0, 1.0):
        return replace(found, scale=None)
    scale = found.scale / 255 if data.images.dtype == np.uint8 else found.scale
    return replace(found, scale=scale, mean=first.mean, std=first.std)
