"""The LLVM backend: native kernels for this processor."""

from . import copies, maps, products, random, reductions, windows
from .code import EMITTERS, emits
from .program import LlvmProgram

__all__ = [
    "EMITTERS",
    "LlvmProgram",
    "copies",
    "emits",
    "maps",
    "products",
    "random",
    "reductions",
    "windows",
]
