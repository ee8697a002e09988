"""An application of each op that has a gradient, by which the gradient is shown as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .ir.layout import Layout

_IMAGES, _SMALL = "f32[N,4,H,W]", "f32[N,4,8,8]"
_ROWS, _ALL = "f32[N,10]", "f32[N,M]"
_WEIGHT = "f32[8,4,3,3]"
_INDICES = "i64[K]"

Example = tuple[tuple[str, ...], Mapping[str, Any]]


def _of(*types: str, **attributes: Any) -> Example:
    return types, attributes


# The types of the operands, and attributes. An op that is not here takes f32[N,M] alone.
EXAMPLES: Mapping[str, Example] = {
    # convolutions
    "conv2d": _of(_IMAGES, _WEIGHT, "f32[8]", padding=1),
    "conv2d_backward_data": _of("f32[N,8,8,8]", _WEIGHT, padding=1, size=(8, 8)),
    "conv2d_backward_weight": _of(_SMALL, "f32[N,8,8,8]", padding=1, kernel=3),
    "conv": _of("f32[N,4,8]", "f32[8,4,3]", "f32[8]", stride=(1,), padding=((1, 1),)),
    "conv_transpose": _of("f32[N,8,8]", "f32[8,4,2]", stride=(2,), size=(16,)),
    # windows
    "max_pool2d": _of(_IMAGES, kernel_size=2),
    "max_pool2d_backward": _of(_SMALL, "f32[N,4,4,4]", kernel_size=2),
    "max_pool2d_select": _of(_SMALL, _SMALL, kernel_size=2),
    "avg_pool2d": _of(_IMAGES, kernel_size=2),
    "avg_pool2d_backward": _of("f32[N,4,4,4]", kernel_size=2, size=(8, 8)),
    "adaptive_max_pool2d": _of(_SMALL, output_size=2),
    "adaptive_max_pool2d_backward": _of(_SMALL, "f32[N,4,2,2]", output_size=2),
    "adaptive_max_pool2d_select": _of(_SMALL, _SMALL, output_size=2),
    "adaptive_avg_pool2d": _of(_SMALL, output_size=2),
    "adaptive_avg_pool2d_backward": _of("f32[N,4,2,2]", output_size=2, size=(8, 8)),
    "global_avg_pool2d": _of(_IMAGES),
    "max_pool": _of("f32[N,4,8]", kernel_size=(2,)),
    "avg_pool": _of("f32[N,4,8]", kernel_size=(2,)),
    "lp_pool": _of("f32[N,4,8]", kernel_size=(2,)),
    "max_unpool": _of("f32[N,4,4,4]", "i64[N,4,4,4]", size=(8, 8)),
    "resize": _of(_SMALL, axes=(2, 3), sizes=(16, 16)),
    "resize_backward": _of("f32[N,4,16,16]", axes=(2, 3), sizes=(8, 8)),
    # norms
    "batch_norm": _of(_IMAGES, *["f32[4]"] * 4),
    "batch_norm_train": _of(_IMAGES, *["f32[4]"] * 2),
    "batch_norm_train_backward": _of(_IMAGES, *["f32[4]"] * 3, _IMAGES),
    "layer_norm": _of(_ROWS, "f32[10]", "f32[10]"),
    "rms_norm": _of(_ROWS, "f32[10]"),
    "group_norm": _of(_IMAGES, "f32[4]", "f32[4]", num_groups=2),
    "mean_variance_norm": _of(_IMAGES),
    "local_response_norm": _of(_IMAGES),
    # matrices
    "matmul": _of("f32[N,4]", "f32[4,8]"),
    "linear": _of("f32[N,4]", "f32[8,4]", "f32[8]"),
    # losses
    "cross_entropy": _of(_ROWS, "i64[N]"),
    "kl_divergence": _of(_ROWS, _ROWS),
    "nll_loss": _of(_ROWS, "i64[N]"),
    # places
    "where": _of("bool[N,M]", _ALL, _ALL),
    "gather": _of("f32[8,M]", _INDICES),
    "gather_backward": _of("f32[K,M]", _INDICES, size=8),
    "gather_elements": _of(_ALL, "i64[N,M]"),
    "scatter_elements": _of(_ALL, "i64[N,M]", _ALL),
    "gather_nd": _of("f32[8,M]", "i64[K,1]"),
    "scatter_nd": _of("f32[8,M]", "i64[K,1]", "f32[K,M]"),
    "topk": _of(_ROWS, k=3),
    # sums along axes
    **{
        name: _of(_ALL, axes=(1,))
        for name in ("sum", "mean", "max", "min", "prod", "log_sum_exp", "variance")
    },
    "cumsum": _of(_ALL, axis=1),
    "linear_recurrence": _of("f32[6,M]", "f32[6,M]", axis=0),
    "cumprod": _of("f32[N,4]", axis=1),
    # shapes
    "cast": _of(_ALL, to="f64"),
    "reshape": _of("f32[16]", shape=(4, 4)),
    "reorder": _of(_SMALL, layout=Layout.read("0,2,3,1")),
    "flatten": _of(_SMALL),
    "transpose": _of(_ALL, perm=(1, 0)),
    "concat": _of("f32[N,4]", "f32[N,6]", axis=1),
    "slice": _of("f32[N,4]", axes=(1,), starts=(0,), stops=(2,)),
    "slice_backward": _of("f32[2]", shape=(4,), axes=(0,), starts=(0,), stops=(2,)),
    "flip": _of(_ALL, axes=(1,)),
    "pad": _of(_ALL, pads=((0, 0), (1, 1))),
    "border_pad": _of("f32[N,4]", pads=((0, 0), (1, 1))),
    "expand": _of("f32[1,4]", shape=(3, 4)),
    "tile": _of("f32[N,4]", repeats=(1, 2)),
    "depth_to_space": _of("f32[N,8,4,4]", blocksize=2),
    "space_to_depth": _of(_SMALL, blocksize=2),
    # units and updates
    "prelu": _of(_IMAGES, "f32[4,1,1]"),
    "sgd_update": _of("f32[K]", "f32[K]", "f32[]"),
    "sgd_momentum_update": _of(*["f32[K]"] * 3, "f32[]", momentum=0.9),
    "adam_update": _of(*["f32[K]"] * 4, "i64[]", "f32[]", beta1=0.9, beta2=0.999),
}
