"""Convolution as shifted matrix products over padded NHWC."""

from __future__ import annotations

from ...ir import Array
from ...ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight
from .kernels import kernel


@kernel(Conv2d)
def conv2d(op: Conv2d, x: Array, weight: Array, bias: Array | None = None) -> Array:
    return op.reference(x, weight, bias)


@kernel(Conv2dBackwardData)
def conv2d_backward_data(op: Conv2dBackwardData, dy: Array, weight: Array) -> Array:
    return op.reference(dy, weight)


@kernel(Conv2dBackwardWeight)
def conv2d_backward_weight(op: Conv2dBackwardWeight, x: Array, dy: Array) -> Array:
    return op.reference(x, dy)
