"""Layers that own parameters: linear, batch normalisation.

Names, argument names and defaults are those of PyTorch's modules, in snake case, less the width of
the input, which is known. So options go by name alone: the places of PyTorch's would be others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..ir import Builder, DType, Role, TensorType
from ..ir.attributes import flag, number, positive
from ..ir.dims import Dim
from ..ir.errors import AttributeMistake, ShapeError, located
from ..ir.ops.linear import Linear
from ..ir.ops.normalize import BatchNorm, BatchNormTrain, moved_statistics
from ..ir.tracebacks import user_facing
from . import init
from .tensor import Tensor
from .tracing import Initializer, Trace, current

IntPair = int | Sequence[int]


@user_facing
def linear(
    x: Tensor,
    out_features: int,
    *,
    bias: bool = True,
    weight_init: Initializer = init.default_weight,
    bias_init: Initializer | None = None,
    name: str | None = None,
) -> Tensor:
    """x @ weight.T + bias over the last dimension of x [..., in]; gives [..., out_features].

    x is floating-point. The weight is [out_features, in], the bias [out_features], both of the
    dtype of x. Where bias_init is None the bias is uniform within 1/sqrt(in); weight_init makes the
    weight.

    Raises:
        ShapeError: fewer than two dimensions, or an unknown number of features.
        TypeMismatch: x is not floating-point.
        AttributeMistake: out_features below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.linear(x, 10)).init(x=("N", 64))
        >>> [(value.name, value.type.shape) for value in net.parameters]
        [('linear1.weight', (10, 64)), ('linear1.bias', (10,))]
        >>> cauce.compile(net, "numpy")(np.zeros((2, 64), np.float32)).shape
        (2, 10)
    """
    trace = current()
    trace.check_own(x, what="the x of linear(x, out_features)")
    path = trace.layer_path("linear", name)
    with located(path):
        out_features, bias = positive(out_features, "out_features"), flag(bias, "bias")
        if x.ndim < 2:
            raise ShapeError(
                f"linear takes [N, features], got {x.type}",
                fix="keep the batch: flatten(x, 1), or reshape to two dimensions",
            )
    type_ = TensorType(x.dtype, (out_features, x.shape[-1]))
    weight = trace.parameter(f"{path}.weight", type_, weight_init)
    operands = [x, weight]
    if bias:
        operands.append(bias_parameter(trace, path, out_features, weight, bias_init))
    return trace.emit(Linear(), *operands, path=path)


def bias_parameter(
    trace: Trace, path: str, size: int, weight: Tensor, initializer: Initializer | None
) -> Tensor:
    """The bias of a layer; where no initializer is given, uniform within 1/sqrt(fan_in)."""
    if initializer is None:
        sizes = tuple(int(dim) for dim in weight.shape if isinstance(dim, int))
        initializer = init.uniform(1 / math.sqrt(init.fan_in(sizes)))
    return trace.parameter(f"{path}.bias", TensorType(weight.dtype, (size,)), initializer)


@user_facing
def batch_norm(
    x: Tensor,
    *,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    gamma_init: Initializer = init.ones,
    name: str | None = None,
) -> Tensor:
    """Normalises each channel of x [N, C, ...].

    In training with the mean and the biased variance of the batch, and the running statistics move
    by ``momentum`` towards them (the variance in its unbiased form, as in PyTorch); in inference
    with the running statistics. Ioffe and Szegedy 2015.

    A training step on one value for each channel (one image, of 1 x 1 pixels at this layer) is
    refused: it has no variance. A ``Trainer`` leaves out a last batch of one image with
    ``fit(..., drop_last=True)``.

    x is floating-point; the result has its shape and dtype. Scale, shift and statistics are [C].

    Args:
        x: the input, with channels in dimension 1.
        eps: added to the variance.
        momentum: the weight of the batch in the running statistics; where None, they are the plain
            means over all batches, whose number is the state ``num_batches_tracked``.
        affine: whether scale (gamma) and shift (beta) are parameters, or 1 and 0.
        gamma_init: the first values of gamma.
        name: the layer's name; ``bn1``, ``bn2``, ... where None.

    Raises:
        TypeMismatch: x is not floating-point.
        ShapeError: fewer than two dimensions, or an unknown number of channels.
        AttributeMistake: a momentum that is not within 0..1.

    Examples:
        >>> net = cauce.network(lambda x: nn.batch_norm(x)).init(x=("N", 3, 8, 8))
        >>> list(net.values)
        ['bn1.weight', 'bn1.bias', 'bn1.running_mean', 'bn1.running_var']
    """
    trace = current()
    trace.check_own(x, what="the x of batch_norm(x)")
    path = trace.layer_path("bn", name)
    with located(path):
        if x.ndim < 2:
            raise ShapeError(
                f"batch_norm takes [N, C, ...], got {x.type}",
                fix="give the input a batch and channels, for example with reshape",
            )
        momentum = None if momentum is None else number(momentum, "momentum")
        if momentum is not None and not 0 <= momentum <= 1:
            raise AttributeMistake(
                f"batch_norm: momentum is the weight of the batch, from 0 to 1, got {momentum}",
                fix="use for example 0.1; 1 - momentum is what some other libraries call so",
            )
        op, training_op = BatchNorm(eps), BatchNormTrain(eps)
        affine = flag(affine, "affine")
    type_ = TensorType(x.dtype, (x.channels,))
    if affine:
        gamma = trace.parameter(f"{path}.weight", type_, gamma_init)
        beta = trace.parameter(f"{path}.bias", type_, init.zeros)
    else:
        gamma = trace.constant(np.ones(_known(x.channels)), x.dtype, path=path)
        beta = trace.constant(np.zeros(_known(x.channels)), x.dtype, path=path)
    mean = trace.parameter(f"{path}.running_mean", type_, init.zeros, Role.STATE)
    variance = trace.parameter(f"{path}.running_var", type_, init.ones, Role.STATE)
    if not trace.training:
        return trace.emit(op, x, gamma, beta, mean, variance, path=path)
    y, *_ = trace.emit_all(training_op, x, gamma, beta, path=path)
    trained = y.value.node
    assert trained is not None
    with trace.at(path):
        share = _share(trace, path, x).value if momentum is None else float(momentum)
    b = Builder.like(trained)
    running = moved_statistics(b, trained, (mean.value, variance.value), share)
    for state, value in zip((mean, variance), running):
        trace.update(state, Tensor(value, trace))
    return y


def _share(trace: Trace, path: str, x: Tensor) -> Tensor:
    """The weight of a batch in the mean over all batches so far: 1 over their number."""
    name, type_ = f"{path}.num_batches_tracked", TensorType(DType.I64, ())
    batches = trace.parameter(name, type_, init.zeros, Role.STATE)
    number_now = batches + 1
    trace.update(batches, number_now)
    return 1 / number_now.cast(x.dtype)


def _known(dim: Dim) -> int:
    if not isinstance(dim, int):
        raise ShapeError(
            f"batch_norm: the number of channels must be known, it is {dim}",
            fix="give it as an int in init(...)",
        )
    return dim


@user_facing
def parameter(
    shape: Sequence[int], weight_init: Initializer = init.zeros, dtype: object = "f32", *, name: str
) -> Tensor:
    """A parameter for code of your own; ``name`` is below the scopes that are open.

    Its shape is of ints, its dtype a floating-point one, or its name.

    Args:
        shape: of the parameter.
        weight_init: its first values: a function of the shape and a random generator.
        dtype: of its elements.
        name: what it is called; there is no other name to go by.

    Raises:
        GraphError: the name is taken.
        AttributeMistake: no such dtype.

    Examples:
        >>> @cauce.network
        ... def scaled(x):
        ...     return x * nn.parameter((1,), nn.init.ones, name="scale")
        >>> scaled.init(x=("N", 3)).values
        {'scale': array([1.], dtype=float32)}
    """
    trace = current()
    path = trace.layer_path("parameter", name)
    return trace.parameter(path, TensorType.make(dtype, shape), weight_init)
