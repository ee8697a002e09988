"""Export to ONNX: one rule for each op, by family, as in ``ir/ops``."""

from . import (
    activation,
    adaptive_pool,
    constant,
    conv,
    elementwise,
    linear,
    normalize,
    pool,
    random,
    reduce,
    shape,
)
from .exporter import export, save

__all__ = [
    "activation",
    "adaptive_pool",
    "constant",
    "conv",
    "elementwise",
    "export",
    "linear",
    "normalize",
    "pool",
    "random",
    "reduce",
    "save",
    "shape",
]
