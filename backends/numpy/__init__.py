"""The NumPy backend: the reference interpreter with fast primitives."""

from . import conv
from .kernels import KERNELS, kernel
from .program import NumpyProgram, lower

__all__ = ["KERNELS", "NumpyProgram", "conv", "kernel", "lower"]
