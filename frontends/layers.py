"""Layers that own parameters: convolution, linear, batch normalisation.

Names, argument names and defaults are those of PyTorch's modules, in snake case, less the width of
the input, which is known. So options go by name alone: the places of PyTorch's would be others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..ir import Builder, DType, Role, TensorType
from ..ir.attributes import Padding, flag, number, pair, positive
from ..ir.attributes import padding as padding_kind
from ..ir.dims import Dim, as_dim
from ..ir.errors import AttributeMistake, ShapeError, located
from ..ir.ops.conv import Conv2d, Conv2dBackwardData, extent
from ..ir.ops.elementwise import Add
from ..ir.ops.linear import Linear
from ..ir.ops.normalize import BatchNorm, BatchNormTrain, moved_statistics
from ..ir.ops.shape import Pad, Reshape
from ..ir.tracebacks import user_facing
from . import init
from .tensor import Tensor
from .tracing import Initializer, Trace, current

IntPair = int | Sequence[int]


@user_facing
def conv2d(
    x: Tensor,
    out_channels: int,
    kernel_size: IntPair,
    *,
    stride: IntPair = 1,
    padding: int | str | Sequence[int] | Sequence[Sequence[int]] = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    bias: bool = True,
    weight_init: Initializer = init.default_weight,
    bias_init: Initializer | None = None,
    name: str | None = None,
) -> Tensor:
    """Convolution over x [N, C, H, W]; gives [N, out_channels, H', W'].

    Args:
        x: the input.
        out_channels: the number of filters.
        kernel_size: K, or (K_h, K_w).
        stride: S, or (S_h, S_w).
        padding: zeros around: an int, (rows, columns), ((top, bottom), (left, right)), ``"valid"``
            (none) or ``"same"`` (H' = ceil(H/S); the odd one goes to the bottom and right). With
            a stride, ``"same"`` depends on H and W, so it takes sizes that are known.
        dilation: the distance between the places of the kernel.
        groups: channels are split into that many independent groups.
        bias: whether a bias is added.
        weight_init: the first values of the weight.
        bias_init: the first values of the bias; uniform within 1/sqrt(fan_in) where None.
        name: the layer's name; ``conv1``, ``conv2``, ... where None.

    Raises:
        ShapeError: the kernel is larger than the padded input, or channels do not divide.
        AttributeMistake: an argument that cannot be.
    """
    trace = current()
    trace.check_own(x, what="the x of conv2d(x, out_channels, kernel_size)")
    path = trace.layer_path("conv", name)
    with located(path):
        kernel = pair(kernel_size, "kernel_size", least=1)
        out_channels, groups = positive(out_channels, "out_channels"), positive(groups, "groups")
        bias = flag(bias, "bias")
        if x.ndim != 4:
            raise ShapeError(
                f"conv2d takes [N, C, H, W], got {x.type}",
                fix="give init a shape such as ('N', 1, 28, 28), or reshape x to four dimensions",
            )
        channels = x.channels
        if isinstance(channels, int) and (channels % groups or out_channels % groups):
            raise ShapeError(
                f"conv2d: {channels} input and {out_channels} output channels do not divide into "
                f"{groups} groups",
                fix=_groups_that_divide(channels, out_channels),
            )
        op = Conv2d(pair(stride, "stride", least=1), 0, pair(dilation, "dilation", 1), groups)  # type: ignore[arg-type]
        op = op.with_attributes(padding=_conv_padding(padding, x, kernel, op))
    shape = (out_channels, channels // groups, *kernel)
    weight = trace.parameter(f"{path}.weight", TensorType(x.dtype, shape), weight_init)
    operands = [x, weight]
    if bias:
        operands.append(_bias(trace, path, out_channels, weight, bias_init))
    return trace.emit(op, *operands, path=path)


def _groups_that_divide(channels: int, out_channels: int) -> str:
    common = math.gcd(channels, out_channels)
    fitting = [str(groups) for groups in range(1, common + 1) if common % groups == 0]
    return f"the number of groups must divide both: {', '.join(fitting)} would"


def _conv_padding(padding: object, x: Tensor, kernel: tuple[int, int], op: Conv2d) -> object:
    if not isinstance(padding, str):
        return padding_kind(padding, "padding")
    if padding == "valid":
        return 0
    if padding != "same":
        raise AttributeMistake(
            f"there is no padding {padding!r}", fix="use 'same', 'valid' or numbers: padding=1"
        )
    borders = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, op.stride, op.dilation):
        span = extent(k, dilation)
        if stride == 1:
            total = span - 1
        elif isinstance(size, int):
            total = max((math.ceil(size / stride) - 1) * stride + span - size, 0)
        else:
            raise AttributeMistake(
                f"padding='same' with stride {stride} depends on the size, which is {size} here",
                fix="give the padding in numbers (half the kernel, rounded down, is usual), or the "
                "size in init(...)",
            )
        borders.append((total // 2, total - total // 2))
    return tuple(borders)


@user_facing
def conv_transpose2d(
    x: Tensor,
    out_channels: int,
    kernel_size: IntPair,
    *,
    stride: IntPair = 1,
    padding: int | Sequence[int] | Sequence[Sequence[int]] = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    bias: bool = True,
    dilation: IntPair = 1,
    output_size: Sequence[Dim] | None = None,
    weight_init: Initializer = init.default_weight,
    bias_init: Initializer | None = None,
    name: str | None = None,
) -> Tensor:
    """Transposed convolution over x [N, C, H, W]; gives [N, out_channels, H', W'].

    The transpose of the :func:`conv2d` that makes [N, C, H, W] of [N, out_channels, H', W']: with
    kernel K, stride S, padding P and dilation D, ``H' = (H - 1)*S - P_top - P_bottom + D*(K - 1) +
    output_padding + 1``. The weight is [C, out_channels/groups, K, K], as in PyTorch. Dumoulin and
    Visin 2016, section 4; ONNX ConvTranspose-11.

    Args:
        x: the input.
        out_channels: the number of channels of the result.
        kernel_size: K, or (K_h, K_w).
        stride: S, or (S_h, S_w).
        padding: rows and columns left out at the borders of the result.
        output_padding: rows (columns) added below (to the right); less than the stride or than
            the dilation.
        groups: channels are split into that many independent groups.
        bias: whether a bias is added.
        dilation: the distance between the places of the kernel.
        output_size: (H', W') instead of output_padding; one of the S sizes that the convolution
            takes to H, symbolic ones too, for example ``skip.shape[2:]``.
        weight_init: the first values of the weight.
        bias_init: the first values of the bias; uniform within 1/sqrt(fan_in) where None.
        name: the layer's name; ``conv_transpose1``, ``conv_transpose2``, ... where None.

    Raises:
        ShapeError: channels do not divide, or an output size that cannot be.
        AttributeMistake: an argument that cannot be.
    """
    trace = current()
    trace.check_own(x, what="the x of conv_transpose2d(x, out_channels, kernel_size)")
    path = trace.layer_path("conv_transpose", name)
    with located(path):
        kernel = pair(kernel_size, "kernel_size", least=1)
        out_channels, groups = positive(out_channels, "out_channels"), positive(groups, "groups")
        bias = flag(bias, "bias")
        if x.ndim != 4:
            raise ShapeError(
                f"conv_transpose2d takes [N, C, H, W], got {x.type}",
                fix="give the input four dimensions, for example with reshape",
            )
        op = Conv2dBackwardData(
            pair(stride, "stride", least=1),
            padding_kind(padding, "padding"),
            pair(dilation, "dilation", least=1),
            groups,
        )
        channels = x.channels
        if (isinstance(channels, int) and channels % groups) or out_channels % groups:
            raise ShapeError(
                f"conv_transpose2d: {channels} input and {out_channels} output channels do not "
                f"divide into {groups} groups",
                fix="choose groups that divides both",
            )
        more = pair(output_padding, "output_padding")
        size = _transposed_size(x, kernel, op, more, output_size)
        borders = ((0, 0), (0, 0))
        if output_size is None:
            op, size, borders = _beyond_the_stride(op, size, more)
        op = op.with_attributes(size=size)
        shape = (channels, out_channels // groups, *kernel)
        weight = trace.parameter(f"{path}.weight", TensorType(x.dtype, shape), weight_init)
        y = trace.emit(op, x, weight, path=path)
        if borders != ((0, 0), (0, 0)):
            y = trace.emit(Pad(((0, 0), (0, 0), *borders)), y, path=path)
    if not bias:
        return y
    shift = _bias(trace, path, out_channels, weight, bias_init)
    column = trace.emit(Reshape((out_channels, 1, 1)), shift, path=path)
    return trace.emit(Add(), y, column, path=path)


def _beyond_the_stride(
    op: Conv2dBackwardData, size: tuple[Dim, ...], more: tuple[int, int]
) -> tuple[Conv2dBackwardData, tuple[Dim, ...], Padding]:
    """The op, its size and borders behind it, for an output_padding of the stride or more.

    Of the rows that are more than a convolution makes H of, those that ``padding`` has left out
    are no longer left out; no place of the kernel reaches the others, so they are zero.
    """
    padding, sizes, zeros = [], [], []
    for (before, after), rows, added, stride in zip(op.padding, size, more, op.stride):
        surplus = max(added - (stride - 1), 0)
        back = min(surplus, after)
        padding.append((before, after - back))
        sizes.append(rows - (surplus - back))
        zeros.append((0, surplus - back))
    borders = (zeros[0], zeros[1])
    return op.with_attributes(padding=tuple(padding)), tuple(sizes), borders


def _transposed_size(
    x: Tensor,
    kernel: tuple[int, int],
    op: Conv2dBackwardData,
    output_padding: tuple[int, int],
    output_size: Sequence[Dim] | None,
) -> tuple[Dim, ...]:
    """(H', W') of a transposed convolution, checked."""
    least = tuple(
        (size - 1) * stride - sum(borders) + extent(k, dilation)
        for size, k, stride, borders, dilation in zip(
            x.shape[2:], kernel, op.stride, op.padding, op.dilation
        )
    )
    if output_size is None:
        result = tuple(size + more for size, more in zip(least, output_padding))
        given = f"output_padding={list(output_padding)}"
    else:
        result = tuple(map(as_dim, output_size))
        given = f"output_size=[{', '.join(map(str, result))}]"
    more = [size - lowest for size, lowest in zip(result, least)]
    # A size that is asked for is one that a convolution takes to H; a number of rows to add is
    # PyTorch's, which takes up to the dilation.
    below = op.stride if output_size is not None else tuple(map(max, op.stride, op.dilation))
    fits = all(not isinstance(m, int) or 0 <= m < s for m, s in zip(more, below))
    if len(result) != 2 or not fits or any(isinstance(d, int) and d < 1 for d in result):
        ranges = (f"{low} to {low + s - 1}" for low, s in zip(least, below))
        raise ShapeError(
            f"conv_transpose2d: {given} is not possible: a stride of {list(op.stride)} makes "
            f"{' and '.join(ranges)} of {x.height} rows and {x.width} columns",
            fix="choose output_padding less than the stride or the dilation, or an output_size "
            "in that range",
        )
    return result


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

    Raises:
        ShapeError: fewer than two dimensions, or an unknown number of features.
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
        operands.append(_bias(trace, path, out_features, weight, bias_init))
    return trace.emit(Linear(), *operands, path=path)


def _bias(
    trace: Trace, path: str, size: int, weight: Tensor, initializer: Initializer | None
) -> Tensor:
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

    Args:
        x: the input, with channels in dimension 1.
        eps: added to the variance.
        momentum: the weight of the batch in the running statistics; where None, they are the plain
            means over all batches, whose number is the state ``num_batches_tracked``.
        affine: whether scale (gamma) and shift (beta) are parameters, or 1 and 0.
        gamma_init: the first values of gamma.
        name: the layer's name; ``bn1``, ``bn2``, ... where None.
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
    """A parameter for code of your own; ``name`` is below the scopes that are open."""
    trace = current()
    path = trace.layer_path("parameter", name)
    return trace.parameter(path, TensorType.make(dtype, shape), weight_init)
