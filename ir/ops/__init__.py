"""All ops, one file a family; importing this package registers them."""

from . import (
    activation,
    adaptive_pool,
    constant,
    conv,
    elementwise,
    fused,
    linear,
    loss,
    normalize,
    pool,
    random,
    reduce,
    reorder,
    shape,
    update,
)

__all__ = [
    "activation",
    "adaptive_pool",
    "constant",
    "conv",
    "elementwise",
    "fused",
    "linear",
    "loss",
    "normalize",
    "pool",
    "random",
    "reduce",
    "reorder",
    "shape",
    "update",
]
