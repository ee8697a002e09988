"""The NumPy backend: the reference interpreter with fast primitives."""

from . import conv, elementwise, movement, normalize, pool, random, reduce
from .kernels import KERNELS, kernel
from .lowering import lower
from .program import NumpyProgram

__all__ = [
    "KERNELS",
    "NumpyProgram",
    "conv",
    "elementwise",
    "kernel",
    "lower",
    "movement",
    "normalize",
    "pool",
    "random",
    "reduce",
]
