"""What networks are made of: layers, activations, pooling, losses, scopes, initializers."""

from typing import NoReturn

from ..ir.habits import LAYERS
from ..ir.remedies import unknown_attribute
from ..ir.tracebacks import user_facing
from . import init
from .functional import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    apply,
    avg_pool2d,
    block,
    clip,
    concat,
    dropout,
    flatten,
    flip,
    gather,
    global_avg_pool,
    leaky_relu,
    log_softmax,
    max_pool2d,
    maximum,
    minimum,
    normalize,
    one_hot,
    pad,
    relu,
    relu6,
    reshape,
    scope,
    sigmoid,
    softmax,
    tanh,
    where,
)
from .layers import batch_norm, conv2d, conv_transpose2d, linear, parameter
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_divergence,
    mse_loss,
)
from .tensor import Tensor

__all__ = [
    "Tensor",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "apply",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "block",
    "clip",
    "concat",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "flatten",
    "flip",
    "gather",
    "global_avg_pool",
    "init",
    "kl_divergence",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "maximum",
    "minimum",
    "mse_loss",
    "normalize",
    "one_hot",
    "pad",
    "parameter",
    "relu",
    "relu6",
    "reshape",
    "scope",
    "sigmoid",
    "softmax",
    "tanh",
    "where",
]


@user_facing
def __getattr__(name: str) -> NoReturn:
    """What PyTorch and Keras call layers: an error that says what to write here."""
    if name.startswith("_"):  # what Python and its tools look for
        raise AttributeError(f"module 'nn' has no attribute {name!r}")
    raise unknown_attribute("nn", name, LAYERS, __all__, prefix="nn.")
