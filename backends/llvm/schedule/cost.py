"""What kernels cost, predicted: in cycles of one thread."""

from __future__ import annotations

from ....ir import Dim
from .schedule import Setting

# The share of the multiply-adds that a core could do which the loops of a kernel reach.
EFFICIENCY = 0.96

# Packed weights are larger than weights; that they all are Winograd's is not known here.
_PACKED = 2


# Elements that one thread has written before it would have shared them.
_FEW_ELEMENTS = 8192


def is_for_one_thread(elements: Dim) -> bool:
    """Whether a launch moves so few elements that one thread is sooner done with them."""
    return isinstance(elements, int) and elements <= _FEW_ELEMENTS


def weights_are_l2_resident(setting: Setting) -> bool:
    """Whether the packed weights of a graph stay in a second-level cache from call to call."""
    return _PACKED * setting.weights <= setting.target.caches.second


def cycles(multiply_adds: float, nbytes: int, setting: Setting, overlap: float = 1.0) -> int:
    """How long a kernel takes.

    Args:
        multiply_adds: of vectors.
        nbytes: of its packed weights.
        setting: which says from where they come.
        overlap: the share of the shorter of both, computing and reading, that goes on beside the
            longer.
    """
    target = setting.target
    computing = multiply_adds / target.multiply_adds
    if weights_are_l2_resident(setting):
        return round(computing)
    far = setting.weights > target.caches.third
    reading = nbytes / (target.memory if far else 2 * target.memory)
    return round(max(computing, reading) + (1 - overlap) * min(computing, reading))
