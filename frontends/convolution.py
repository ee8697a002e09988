"""Convolutions in one, two and three dimensions, and their transposes: layers that own parameters.

Names, argument names and defaults are those of PyTorch's modules, in snake case, less the width of
the input, which is known. So options go by name alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import TensorType
from ..ir.attributes import Pair, borders, flag, per_axis, positive
from ..ir.dims import Dim, as_dim
from ..ir.errors import AttributeMistake, ShapeError, located
from ..ir.ops.conv import AXES, Conv2dBackwardData, extent
from ..ir.ops.conv_nd import ConvTranspose, conv, conv_transpose
from ..ir.ops.elementwise import Add
from ..ir.ops.shape import Pad, Reshape
from ..ir.tracebacks import user_facing
from . import init
from .layers import bias_parameter
from .tensor import Tensor
from .tracing import Initializer, current

Ints = tuple[int, ...]
PerAxis = int | Sequence[int]
Borders = int | Sequence[int] | Sequence[Sequence[int]]

_DIMENSIONS = ("three", "four", "five")


@user_facing
def conv1d(
    x: Tensor,
    out_channels: int,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: str | Borders = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    bias: bool = True,
    weight_init: Initializer = init.default_weight,
    bias_init: Initializer | None = None,
    name: str | None = None,
) -> Tensor:
    """:func:`conv2d` over x [N, C, L]; gives [N, out_channels, L'].

    ``kernel_size``, ``stride`` and ``dilation`` are ints; ``padding`` is an int, ``((before,
    after),)``, ``"valid"`` or ``"same"``.

    All else, ``groups``, ``bias`` and the first values by ``weight_init`` and ``bias_init``, is as
    there. x is floating-point; so is the result.

    Raises:
        ShapeError, AttributeMistake, TypeMismatch: as :func:`conv2d`.

    Examples:
        >>> net = cauce.network(lambda x: nn.conv1d(x, 8, 3, stride=2)).init(x=("N", 4, 16))
        >>> cauce.compile(net, "numpy")(np.zeros((2, 4, 16), np.float32)).shape
        (2, 8, 7)
    """
    sizes, inits = (kernel_size, stride, padding, dilation), (weight_init, bias_init)
    return _conv(1, x, out_channels, sizes, groups, bias, inits, name)


@user_facing
def conv2d(
    x: Tensor,
    out_channels: int,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: str | Borders = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    bias: bool = True,
    weight_init: Initializer = init.default_weight,
    bias_init: Initializer | None = None,
    name: str | None = None,
) -> Tensor:
    """Convolution over x [N, C, H, W]; gives [N, out_channels, H', W'].

    x is floating-point; the result and the parameters have its dtype. The weight is [out_channels,
    C/groups, K_h, K_w], the bias [out_channels].

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
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.conv2d(x, 16, 3, padding=1)).init(x=("N", 3, 32, 32))
        >>> cauce.compile(net, "numpy")(np.zeros((2, 3, 32, 32), np.float32)).shape
        (2, 16, 32, 32)
    """
    sizes, inits = (kernel_size, stride, padding, dilation), (weight_init, bias_init)
    return _conv(2, x, out_channels, sizes, groups, bias, inits, name)


@user_facing
def conv3d(
    x: Tensor,
    out_channels: int,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: str | Borders = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    bias: bool = True,
    weight_init: Initializer = init.default_weight,
    bias_init: Initializer | None = None,
    name: str | None = None,
) -> Tensor:
    """:func:`conv2d` over x [N, C, D, H, W]; gives [N, out_channels, D', H', W'].

    ``kernel_size``, ``stride`` and ``dilation`` are ints or three of them; ``padding`` is an int,
    three, three pairs (before, after), ``"valid"`` or ``"same"``.

    All else, ``groups``, ``bias`` and the first values by ``weight_init`` and ``bias_init``, is as
    there. x is floating-point; so is the result.

    Raises:
        ShapeError, AttributeMistake, TypeMismatch: as :func:`conv2d`.

    Examples:
        >>> net = cauce.network(lambda x: nn.conv3d(x, 8, 3)).init(x=("N", 2, 5, 5, 5))
        >>> cauce.compile(net, "numpy")(np.zeros((1, 2, 5, 5, 5), np.float32)).shape
        (1, 8, 3, 3, 3)
    """
    sizes, inits = (kernel_size, stride, padding, dilation), (weight_init, bias_init)
    return _conv(3, x, out_channels, sizes, groups, bias, inits, name)


def _conv(
    axes: int,
    x: Tensor,
    out_channels: int,
    sizes: tuple[PerAxis, PerAxis, str | Borders, PerAxis],
    groups: int,
    bias: bool,
    inits: tuple[Initializer, Initializer | None],
    name: str | None,
) -> Tensor:
    """A convolution; ``sizes`` are kernel size, stride, padding and dilation."""
    trace = current()
    trace.check_own(x, what=f"the x of conv{axes}d(x, out_channels, kernel_size)")
    path = trace.layer_path("conv", name)
    with located(path):
        kernel = per_axis(sizes[0], "kernel_size", axes, least=1)
        out_channels, groups = positive(out_channels, "out_channels"), positive(groups, "groups")
        bias = flag(bias, "bias")
        if x.ndim != axes + 2:
            example = ", ".join(["'N'", "1", *["28"] * axes])
            raise ShapeError(
                f"conv{axes}d takes [N, C, {AXES[axes]}], got {x.type}",
                fix=f"give init a shape such as ({example}), or reshape x to "
                f"{_DIMENSIONS[axes - 1]} dimensions",
            )
        channels = x.channels
        if isinstance(channels, int) and (channels % groups or out_channels % groups):
            raise ShapeError(
                f"conv{axes}d: {channels} input and {out_channels} output channels do not divide "
                f"into {groups} groups",
                fix=_groups_that_divide(channels, out_channels),
            )
        stride = per_axis(sizes[1], "stride", axes, least=1)
        dilation = per_axis(sizes[3], "dilation", axes, least=1)
        padding = _padding(sizes[2], x, kernel, stride, dilation)
        op = conv(stride, padding, dilation, groups)
    shape = (out_channels, channels // groups, *kernel)
    weight = trace.parameter(f"{path}.weight", TensorType(x.dtype, shape), inits[0])
    operands = [x, weight]
    if bias:
        operands.append(bias_parameter(trace, path, out_channels, weight, inits[1]))
    return trace.emit(op, *operands, path=path)


def _groups_that_divide(channels: int, out_channels: int) -> str:
    common = math.gcd(channels, out_channels)
    fitting = [str(groups) for groups in range(1, common + 1) if common % groups == 0]
    return f"the number of groups must divide both: {', '.join(fitting)} would"


def _padding(
    padding: object, x: Tensor, kernel: Ints, stride: Ints, dilation: Ints
) -> tuple[Pair, ...]:
    axes = len(kernel)
    if not isinstance(padding, str):
        return borders(padding, "padding", axes)
    if padding == "valid":
        return ((0, 0),) * axes
    if padding != "same":
        raise AttributeMistake(
            f"there is no padding {padding!r}", fix="use 'same', 'valid' or numbers: padding=1"
        )
    found = []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation):
        span = extent(k, d)
        if s == 1:
            total = span - 1
        elif isinstance(size, int):
            total = max((math.ceil(size / s) - 1) * s + span - size, 0)
        else:
            raise AttributeMistake(
                f"padding='same' with stride {s} depends on the size, which is {size} here",
                fix="give the padding in numbers (half the kernel, rounded down, is usual), or the "
                "size in init(...)",
            )
        found.append((total // 2, total - total // 2))
    return tuple(found)


@user_facing
def conv_transpose1d(
    x: Tensor,
    out_channels: int,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Borders = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    bias: bool = True,
    dilation: PerAxis = 1,
    output_size: Sequence[Dim] | None = None,
    weight_init: Initializer = init.default_weight,
    bias_init: Initializer | None = None,
    name: str | None = None,
) -> Tensor:
    """:func:`conv_transpose2d` over x [N, C, L]; gives [N, out_channels, L'].

    The arguments are those of there: ``kernel_size``, ``stride``, ``padding``, ``output_padding``,
    ``groups``, ``bias``, ``dilation``, ``output_size``, ``weight_init``, ``bias_init``. x is
    floating-point; so is the result.

    Raises:
        ShapeError, AttributeMistake, TypeMismatch: as :func:`conv_transpose2d`.

    Examples:
        >>> net = cauce.network(lambda x: nn.conv_transpose1d(x, 4, 2, stride=2))
        >>> run = cauce.compile(net.init(x=("N", 8, 5)), "numpy")
        >>> run(np.zeros((1, 8, 5), np.float32)).shape
        (1, 4, 10)
    """
    sizes, inits = (kernel_size, stride, padding, dilation), (weight_init, bias_init)
    wanted = (output_padding, output_size)
    return _conv_transpose(1, x, out_channels, sizes, wanted, groups, bias, inits, name)


@user_facing
def conv_transpose2d(
    x: Tensor,
    out_channels: int,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Borders = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    bias: bool = True,
    dilation: PerAxis = 1,
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

    x is floating-point; the result and the parameters have its dtype. The weight is [C,
    out_channels/groups, K_h, K_w].

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
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.conv_transpose2d(x, 4, 2, stride=2))
        >>> run = cauce.compile(net.init(x=("N", 8, 5, 5)), "numpy")
        >>> run(np.zeros((1, 8, 5, 5), np.float32)).shape
        (1, 4, 10, 10)
    """
    sizes, inits = (kernel_size, stride, padding, dilation), (weight_init, bias_init)
    wanted = (output_padding, output_size)
    return _conv_transpose(2, x, out_channels, sizes, wanted, groups, bias, inits, name)


@user_facing
def conv_transpose3d(
    x: Tensor,
    out_channels: int,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Borders = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    bias: bool = True,
    dilation: PerAxis = 1,
    output_size: Sequence[Dim] | None = None,
    weight_init: Initializer = init.default_weight,
    bias_init: Initializer | None = None,
    name: str | None = None,
) -> Tensor:
    """:func:`conv_transpose2d` over x [N, C, D, H, W]; gives [N, out_channels, D', H', W'].

    The arguments are those of there: ``kernel_size``, ``stride``, ``padding``, ``output_padding``,
    ``groups``, ``bias``, ``dilation``, ``output_size``, ``weight_init``, ``bias_init``. x is
    floating-point; so is the result.

    Raises:
        ShapeError, AttributeMistake, TypeMismatch: as :func:`conv_transpose2d`.

    Examples:
        >>> net = cauce.network(lambda x: nn.conv_transpose3d(x, 4, 2, stride=2))
        >>> run = cauce.compile(net.init(x=("N", 8, 2, 2, 2)), "numpy")
        >>> run(np.zeros((1, 8, 2, 2, 2), np.float32)).shape
        (1, 4, 4, 4, 4)
    """
    sizes, inits = (kernel_size, stride, padding, dilation), (weight_init, bias_init)
    wanted = (output_padding, output_size)
    return _conv_transpose(3, x, out_channels, sizes, wanted, groups, bias, inits, name)


def _conv_transpose(
    axes: int,
    x: Tensor,
    out_channels: int,
    sizes: tuple[PerAxis, PerAxis, Borders, PerAxis],
    wanted: tuple[PerAxis, Sequence[Dim] | None],
    groups: int,
    bias: bool,
    inits: tuple[Initializer, Initializer | None],
    name: str | None,
) -> Tensor:
    """A transposed convolution; ``wanted`` are output_padding and output_size."""
    trace, what = current(), f"conv_transpose{axes}d"
    trace.check_own(x, what=f"the x of {what}(x, out_channels, kernel_size)")
    path = trace.layer_path("conv_transpose", name)
    with located(path):
        kernel = per_axis(sizes[0], "kernel_size", axes, least=1)
        out_channels, groups = positive(out_channels, "out_channels"), positive(groups, "groups")
        bias = flag(bias, "bias")
        if x.ndim != axes + 2:
            raise ShapeError(
                f"{what} takes [N, C, {AXES[axes]}], got {x.type}",
                fix=f"give the input {_DIMENSIONS[axes - 1]} dimensions, for example with reshape",
            )
        op = conv_transpose(
            per_axis(sizes[1], "stride", axes, least=1),
            borders(sizes[2], "padding", axes),
            per_axis(sizes[3], "dilation", axes, least=1),
            groups,
        )
        channels = x.channels
        if (isinstance(channels, int) and channels % groups) or out_channels % groups:
            raise ShapeError(
                f"{what}: {channels} input and {out_channels} output channels do not "
                f"divide into {groups} groups",
                fix="choose groups that divides both",
            )
        more = per_axis(wanted[0], "output_padding", axes)
        size = _transposed_size(what, x, kernel, op, more, wanted[1])
        zeros: tuple[Pair, ...] = ()
        if wanted[1] is None:
            op, size, zeros = _beyond_the_stride(op, size, more)
        op = op.with_attributes(size=size)
    shape = (channels, out_channels // groups, *kernel)
    weight = trace.parameter(f"{path}.weight", TensorType(x.dtype, shape), inits[0])
    y = trace.emit(op, x, weight, path=path)
    if any(map(any, zeros)):
        y = trace.emit(Pad(((0, 0), (0, 0), *zeros)), y, path=path)
    if not bias:
        return y
    shift = bias_parameter(trace, path, out_channels, weight, inits[1])
    column = trace.emit(Reshape((out_channels, *(1,) * axes)), shift, path=path)
    return trace.emit(Add(), y, column, path=path)


def _beyond_the_stride(
    op: Conv2dBackwardData | ConvTranspose, size: tuple[Dim, ...], more: Ints
) -> tuple[Conv2dBackwardData | ConvTranspose, tuple[Dim, ...], tuple[Pair, ...]]:
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
    return op.with_attributes(padding=tuple(padding)), tuple(sizes), tuple(zeros)


def _transposed_size(
    what: str,
    x: Tensor,
    kernel: Ints,
    op: Conv2dBackwardData | ConvTranspose,
    output_padding: Ints,
    output_size: Sequence[Dim] | None,
) -> tuple[Dim, ...]:
    """The size of the result of a transposed convolution, checked."""
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
    if len(result) != len(kernel) or not fits or any(isinstance(d, int) and d < 1 for d in result):
        ranges = (f"{low} to {low + s - 1}" for low, s in zip(least, below))
        names = ("slices", "rows", "columns")[-len(kernel) :]
        own = " and ".join(f"{size} {name}" for size, name in zip(x.shape[2:], names))
        raise ShapeError(
            f"{what}: {given} is not possible: a stride of {list(op.stride)} makes "
            f"{' and '.join(ranges)} of {own}",
            fix="choose output_padding less than the stride or the dilation, or an output_size "
            "in that range",
        )
    return result
