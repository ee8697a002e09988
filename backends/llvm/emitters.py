"""The emitters of all ops; importing this module registers them.

A program that finds its code in the cache never does.
"""

from . import convolutions, copies, kernel_code, maps, pooling, products, random, reductions
from .code import EMITTERS

__all__ = [
    "EMITTERS",
    "convolutions",
    "copies",
    "kernel_code",
    "maps",
    "pooling",
    "products",
    "random",
    "reductions",
]
