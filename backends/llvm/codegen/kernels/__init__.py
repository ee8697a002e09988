"""The emitters of all ops; importing this module registers them.

A program that finds its code in the cache never does.
"""

from ..code import EMITTERS
from . import convolution as convolutions
from . import copies, pooling, random
from . import elementwise as maps
from . import kernel as kernel_code
from . import matmul as products
from . import reduction as reductions

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
