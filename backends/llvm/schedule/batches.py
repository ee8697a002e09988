"""In what micro-batches a large batch runs, as far as that is decided before its size is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ....ir import Dim
from ..abi import BatchStage

# Bytes of a matrix that is to be read once for all images.
_LARGE = 1024 * 1024

# How many times the bytes of the largest image the weights may have that each image reads anew:
# weights that are read in order come faster than images.
_WEIGHTS_PER_IMAGE = 12

# More images than this are not worth it: they come from a cache that is shared with others.
_MOST = 4

# A further stage holds all images of the batch in between; it has to save so much of the bytes.
_WORTH = 0.75


class LaunchCost(NamedTuple):
    """What a launch adds to what those before it have read.

    Attributes:
        weights: bytes that each micro-batch of the batch reads anew.
        largest: bytes of the largest image.
        flops: of one image.
        divisible: whether a stage may begin with it.
    """

    weights: int
    largest: int
    flops: int
    divisible: bool


def is_large_matrix(nbytes: Dim) -> bool:
    """Whether a matrix is read once for a whole batch."""
    return isinstance(nbytes, int) and nbytes >= _LARGE


def stages(launches: Sequence[LaunchCost]) -> tuple[BatchStage, ...]:
    """In which stages launches run: one, or two where the later layers have most of the weights,
    and the earlier ones the large images.

    Args:
        launches: of all that run in micro-batches, in order.
    """
    weights = [0, *accumulate(launch.weights for launch in launches)]
    flops = [0, *accumulate(launch.flops for launch in launches)]
    before = [0, *accumulate((launch.largest for launch in launches), max)]
    behind = [0, *accumulate((launch.largest for launch in reversed(launches)), max)][::-1]
    end = len(launches)
    whole, together = _reading(weights[end], before[end])
    least = whole * _WORTH
    found: tuple[BatchStage, ...] = (BatchStage(end, flops[end], together),)
    for place in range(1, end):
        if launches[place].divisible:
            first, few = _reading(weights[place], before[place])
            second, many = _reading(weights[end] - weights[place], behind[place])
            if first + second < least:
                least = first + second
                late = flops[end] - flops[place]
                found = (BatchStage(place, flops[place], few), BatchStage(end, late, many))
    return found


def _reading(weights: int, largest: int) -> tuple[float, int]:
    """What reading costs for one image, in bytes of weights, and for how many images together it
    costs least: twice as many need half the weights, and images come from further away."""
    each = _WEIGHTS_PER_IMAGE * largest
    counts = [1 << power for power in range(_MOST.bit_length())]
    costs = [weights / count + each * power for power, count in enumerate(counts)]
    least = min(costs)
    return least, counts[costs.index(least)]
