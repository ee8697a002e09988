"""In what pieces a large batch runs, as far as that is decided before its size is known."""

from __future__ import annotations

from ....ir import Dim

# Bytes of a matrix that is to be read once for all images.
_LARGE = 1024 * 1024

# How many times the bytes of the largest image the weights may have that each image reads anew:
# weights that are read in order come faster than images.
_WEIGHTS_PER_IMAGE = 12


def is_large_matrix(nbytes: Dim) -> bool:
    """Whether a matrix is read once for a whole batch."""
    return isinstance(nbytes, int) and nbytes >= _LARGE


def images_together(weights: int, largest: int) -> int:
    """How many images are worth reading the weights once for.

    Args:
        weights: bytes that each piece of the batch reads anew.
        largest: bytes of the largest image.
    """
    return weights // (_WEIGHTS_PER_IMAGE * largest) if largest else 1
