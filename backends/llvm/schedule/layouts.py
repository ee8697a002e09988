"""What the layouts of images depend on, beside the schedules of kernels."""

from __future__ import annotations

from ....ir import TensorType
from ..target import Target


def pixel_pad(image: TensorType, target: Target) -> int:
    """How many unused elements lie behind the channels of a pixel: a cache line of them where
    pixels would lie a power of two apart."""
    channels, item = (image.shape[1:2] or (0,))[0], image.dtype.itemsize
    if not isinstance(channels, int) or not channels or channels * item % target.caches.aliasing:
        return 0
    return target.caches.line // item


def is_better_planar(image: TensorType, target: Target) -> bool:
    """Whether so few channels are better read one by one than side by side."""
    channels = image.shape[1]
    return isinstance(channels, int) and 2 * channels <= target.lanes(4)
