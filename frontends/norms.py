"""Norms of each sample by itself, named as in PyTorch; those with parameters own a weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import Dim, DType, TensorType
from ..ir.attributes import flag, integer, parts, positive
from ..ir.dims import as_dim
from ..ir.errors import ShapeError, located
from ..ir.ops.response_norm import LocalResponseNorm
from ..ir.ops.sample_norm import GroupNorm, LayerNorm, RMSNorm
from ..ir.tracebacks import user_facing
from . import init
from .tensor import Tensor
from .tracing import Trace, current


@user_facing
def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    *,
    eps: float = 1e-5,
    elementwise_affine: bool = True,
    bias: bool = True,
    name: str | None = None,
) -> Tensor:
    """Normalises the last dimensions of x together, of each sample and place by itself.

    Ba et al. 2016.

    x is floating-point; the result has its shape and dtype.

    Args:
        x: the input.
        normalized_shape: the sizes of the last dimensions, or that of the last one.
        eps: added to the variance.
        elementwise_affine: whether scale (weight) and shift (bias) are parameters, or 1 and 0.
        bias: whether there is a shift.
        name: the layer's name; ``layer_norm1``, ``layer_norm2``, ... where None.

    Raises:
        ShapeError: x has other last dimensions.
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.layer_norm(x, 2)).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 3]]))
        array([[-0.999995,  0.999995]], dtype=float32)
    """
    trace, path = _begin("layer_norm", name, x)
    with located(path):
        shape = _normalized(x, normalized_shape, "layer_norm")
        op = LayerNorm(-len(shape), eps)
        learned, shifted = flag(elementwise_affine, "elementwise_affine"), flag(bias, "bias")
    weight = _weight(trace, path, x, shape, learned)
    if not (learned and shifted):
        return trace.emit(op, x, weight, path=path)
    shift = trace.parameter(f"{path}.bias", weight.type, init.zeros)
    return trace.emit(op, x, weight, shift, path=path)


@user_facing
def rms_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    *,
    eps: float | None = None,
    elementwise_affine: bool = True,
    name: str | None = None,
) -> Tensor:
    """x / sqrt(mean of x**2 + eps) * weight, over the last dimensions. Zhang and Sennrich 2019.

    x is floating-point; the result has its shape and dtype.

    Args:
        x: the input.
        normalized_shape: the sizes of the last dimensions, or that of the last one.
        eps: added to the mean; where None, the distance from 1 to the next number of x's dtype.
        elementwise_affine: whether the weight is a parameter, or 1.
        name: the layer's name; ``rms_norm1``, ``rms_norm2``, ... where None.

    Raises:
        ShapeError: x has other last dimensions.
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.rms_norm(x, 2)).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[3, 4]]))
        array([[0.84852815, 1.1313709 ]], dtype=float32)
    """
    trace, path = _begin("rms_norm", name, x)
    with located(path):
        shape = _normalized(x, normalized_shape, "rms_norm")
        op = RMSNorm(-len(shape), _least_step(x.dtype) if eps is None else eps)
        learned = flag(elementwise_affine, "elementwise_affine")
    weight = _weight(trace, path, x, shape, learned)
    return trace.emit(op, x, weight, path=path)


@user_facing
def group_norm(
    x: Tensor,
    num_groups: int,
    *,
    eps: float = 1e-5,
    affine: bool = True,
    name: str | None = None,
) -> Tensor:
    """Normalises groups of channels of x [N, C, ...], each of each sample. Wu and He 2018.

    x is floating-point; the result has its shape and dtype.

    Args:
        x: the input, with channels in dimension 1.
        num_groups: how many groups; it divides C.
        eps: added to the variance.
        affine: whether scale (weight) and shift (bias), both [C], are parameters, or 1 and 0.
        name: the layer's name; ``group_norm1``, ``group_norm2``, ... where None.

    Raises:
        ShapeError: C does not divide into so many groups.
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.group_norm(x, 1)).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 3]]))
        array([[-0.999995,  0.999995]], dtype=float32)
    """
    trace, path = _begin("group_norm", name, x)
    with located(path):
        op = GroupNorm(positive(num_groups, "num_groups"), eps)
    return _of_channels(trace, path, op, x, affine)


@user_facing
def instance_norm(
    x: Tensor, *, eps: float = 1e-5, affine: bool = False, name: str | None = None
) -> Tensor:
    """Normalises each channel of each sample of x [N, C, ...]. Ulyanov et al. 2016.

    The statistics are those of the input, in training and in inference alike.

    x is floating-point; the result has its shape and dtype.

    Args:
        x: the input, with channels in dimension 1.
        eps: added to the variance.
        affine: whether scale (weight) and shift (bias), both [C], are parameters, or 1 and 0.
        name: the layer's name; ``instance_norm1``, ``instance_norm2``, ... where None.

    Raises:
        ShapeError: an unknown number of channels.
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.instance_norm(x)).init(x=("N", 1, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[1, 3]]]))
        array([[[-0.999995,  0.999995]]], dtype=float32)
    """
    trace, path = _begin("instance_norm", name, x)
    with located(path):
        op = GroupNorm(None, eps)
    return _of_channels(trace, path, op, x, affine)


@user_facing
def local_response_norm(
    x: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    name: str | None = None,
) -> Tensor:
    """x / (k + alpha * mean of x**2 over ``size`` neighbouring channels)**beta.

    Of an even window the larger half lies before the channel, as in PyTorch. Krizhevsky et al.
    2012, section 3.3.

    x is [N, C, ...], floating-point; the result has its shape and dtype.

    Raises:
        AttributeMistake: a size below 1.
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.local_response_norm(x, 2, alpha=1.0)).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2]]))
        array([[0.7377879 , 0.78158987]], dtype=float32)
    """
    trace, path = _begin("local_response_norm", name, x)
    with located(path):
        size = integer(size, "size")
        op = LocalResponseNorm(size, alpha, beta, k, size // 2)
    return trace.emit(op, x, path=path)


def _begin(kind: str, name: str | None, x: Tensor) -> tuple[Trace, str]:
    trace = current()
    trace.check_own(x, what=f"the x of {kind}")
    return trace, trace.layer_path(kind, name)


def _normalized(x: Tensor, given: int | Sequence[int], layer: str) -> tuple[Dim, ...]:
    """The sizes of the last dimensions of x, which are those that were given."""
    several = parts(given)
    shape = tuple(map(as_dim, (given,) if several is None else several))
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"{layer}: normalized_shape is [{','.join(map(str, shape))}], x is {x.type}",
            fix="give the sizes of the last dimensions of x, for example x.shape[-1]",
        )
    return shape


def _weight(trace: Trace, path: str, x: Tensor, shape: tuple[Dim, ...], learned: bool) -> Tensor:
    """The scale: a parameter that begins as 1, or 1."""
    if not learned:
        return trace.constant(1.0, x.dtype, path=path)
    return trace.parameter(f"{path}.weight", TensorType(x.dtype, shape), init.ones)


def _of_channels(trace: Trace, path: str, op: GroupNorm, x: Tensor, affine: bool) -> Tensor:
    with located(path):
        learned = flag(affine, "affine")
        channels = x.shape[1] if x.ndim > 1 else 0
        if not isinstance(channels, int) or not channels:
            raise ShapeError(
                f"{op.name} takes x [N, C, ...] with a known number of channels, got {x.type}",
                fix="give the number of channels as an int in init(...)",
            )
    type_ = TensorType(x.dtype, (channels,))
    if learned:
        weight = trace.parameter(f"{path}.weight", type_, init.ones)
        shift = trace.parameter(f"{path}.bias", type_, init.zeros)
    else:
        weight = trace.constant(np.ones(channels), x.dtype, path=path)
        shift = trace.constant(np.zeros(channels), x.dtype, path=path)
    return trace.emit(op, x, weight, shift, path=path)


def _least_step(dtype: DType) -> float:
    """The distance from 1 to the next number."""
    return 2.0**-7 if dtype is DType.BF16 else float(np.finfo(dtype.numpy).eps)
