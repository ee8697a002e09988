"""The kernels of all ops, a file for each family; importing this module registers them.

A program that finds its code in the cache never does.
"""

from . import (  # noqa: F401 - registers them
    collective,
    convolution,
    copies,
    elementwise,
    indexing,
    kernel,
    matmul,
    pooling,
    random,
    reduction,
    resize,
    scan,
    softmax,
)
