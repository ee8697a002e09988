"""The LLVM backend: native kernels for this processor."""

from . import copies, kernels, maps, pooling, products, random, reductions
from .code import EMITTERS, emits
from .program import LlvmProgram

__all__ = [
    "EMITTERS",
    "LlvmProgram",
    "copies",
    "emits",
    "kernels",
    "maps",
    "pooling",
    "products",
    "random",
    "reductions",
]
