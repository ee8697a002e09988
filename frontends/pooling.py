"""Pooling in one, two and three dimensions. Named as in ``torch.nn.functional``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, overload

from ..ir.attributes import Pair, borders, flag, integer, number, per_axis
from ..ir.dims import Dim, as_dim
from ..ir.errors import AttributeMistake, ShapeError, located
from ..ir.location import here
from ..ir.ops import pool, pool_nd
from ..ir.ops import shape as shape_ops
from ..ir.ops.conv import AXES
from ..ir.ops.pool_indices import MaxPoolIndices, MaxUnpool
from ..ir.tracebacks import user_facing
from .functional import _layer
from .tensor import Tensor
from .tracing import current

PerAxis = int | Sequence[int]
Borders = int | Sequence[int] | Sequence[Sequence[int]]


@overload
def max_pool1d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    *,
    name: str | None = None,
) -> Tensor: ...


@overload
def max_pool1d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
    name: str | None = None,
) -> tuple[Tensor, Tensor]: ...


@user_facing
def max_pool1d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    name: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The greatest element of each window of x [N, C, L]; stride defaults to the window.

    With ``return_indices`` also where it stands: its number in its plane, in row order, for
    :func:`max_unpool1d`.
    """
    windows = (kernel_size, stride, padding, dilation)
    return _maximum(1, x, windows, ceil_mode, return_indices, name)


@overload
def max_pool2d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    *,
    name: str | None = None,
) -> Tensor: ...


@overload
def max_pool2d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
    name: str | None = None,
) -> tuple[Tensor, Tensor]: ...


@user_facing
def max_pool2d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    name: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The greatest element of each window of x [N, C, H, W]; stride defaults to the window.

    With ``return_indices`` also where it stands: its number in its plane, in row order, for
    :func:`max_unpool2d`.
    """
    windows = (kernel_size, stride, padding, dilation)
    return _maximum(2, x, windows, ceil_mode, return_indices, name)


@overload
def max_pool3d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    *,
    name: str | None = None,
) -> Tensor: ...


@overload
def max_pool3d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
    name: str | None = None,
) -> tuple[Tensor, Tensor]: ...


@user_facing
def max_pool3d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    name: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The greatest element of each window of x [N, C, D, H, W]; stride defaults to the window.

    With ``return_indices`` also where it stands: its number in its plane, in row order, for
    :func:`max_unpool3d`.
    """
    windows = (kernel_size, stride, padding, dilation)
    return _maximum(3, x, windows, ceil_mode, return_indices, name)


def _maximum(
    axes: int,
    x: Tensor,
    windows: tuple[PerAxis, PerAxis | None, Borders, PerAxis],
    ceil_mode: bool,
    return_indices: bool,
    name: str | None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Max pooling; ``windows`` are kernel size, stride, padding and dilation."""
    trace = current()
    path = trace.layer_path("max_pool", name)
    with located(path):
        both = flag(return_indices, "return_indices")
        kernel_size, stride, padding, dilation = windows
        pool_op: pool.MaxPool2d | pool_nd.MaxPool
        if axes == 2:
            make: Any = pool.MaxPool2d  # which takes an int for a pair
            pool_op = make(kernel_size, stride, padding, ceil_mode, dilation)
        else:
            own = _windows(axes, kernel_size, stride, padding)
            pool_op = pool_nd.MaxPool(*own, ceil_mode, per_axis(dilation, "dilation", axes))
    y = trace.emit(pool_op, x, path=path)
    if not both:
        return y
    return y, trace.emit(MaxPoolIndices(**dict(pool_op.attributes())), x, path=path)


def _windows(
    axes: int, kernel_size: PerAxis, stride: PerAxis | None, padding: Borders
) -> tuple[tuple[int, ...], tuple[int, ...] | None, tuple[Pair, ...]]:
    """Kernel size, stride and padding of each axis."""
    steps = None if stride is None else per_axis(stride, "stride", axes)
    return per_axis(kernel_size, "kernel_size", axes), steps, borders(padding, "padding", axes)


@user_facing
def max_unpool1d(
    x: Tensor,
    indices: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PerAxis = 0,
    output_size: Sequence[Dim] | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """As :func:`max_unpool2d`, over x [N, C, L]."""
    return _unpool(1, x, indices, (kernel_size, stride, padding), output_size, name)


@user_facing
def max_unpool2d(
    x: Tensor,
    indices: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PerAxis = 0,
    output_size: Sequence[Dim] | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """Zeros with the elements of x [N, C, H, W] where :func:`max_pool2d` found them.

    Args:
        x: what was pooled.
        indices: what ``max_pool2d(..., return_indices=True)`` gives as its second result.
        kernel_size: that of the pooling.
        stride: likewise; the kernel size where None.
        padding: likewise, an int or one for each axis.
        output_size: (H, W) of the result, which may be symbolic: ``before.shape[2:]``. Where None
            the least that has so many windows, ``(H - 1)*stride - 2*padding + kernel_size``.
        name: the layer's name.
    """
    return _unpool(2, x, indices, (kernel_size, stride, padding), output_size, name)


@user_facing
def max_unpool3d(
    x: Tensor,
    indices: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PerAxis = 0,
    output_size: Sequence[Dim] | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """As :func:`max_unpool2d`, over x [N, C, D, H, W]."""
    return _unpool(3, x, indices, (kernel_size, stride, padding), output_size, name)


def _unpool(
    axes: int,
    x: Tensor,
    indices: Tensor,
    windows: tuple[PerAxis, PerAxis | None, PerAxis],
    output_size: Sequence[Dim] | None,
    name: str | None,
) -> Tensor:
    """Max unpooling; ``windows`` are kernel size, stride and padding."""

    def make() -> MaxUnpool:
        need_axes(f"max_unpool{axes}d", x, axes)
        kernel, stride, padding = _windows(axes, *windows)
        if output_size is None:
            steps = stride or kernel
            parts = zip(x.shape[2:], kernel, steps, padding)
            return MaxUnpool(tuple((d - 1) * s - sum(p) + k for d, k, s, p in parts))
        size = tuple(map(as_dim, output_size))
        if len(size) != axes:
            raise AttributeMistake(
                f"max_unpool{axes}d: output_size has {len(size)} items, not {axes}",
                fix="give the spatial sizes alone: x.shape[2:] of what was pooled",
            )
        return MaxUnpool(size)

    return _layer("max_unpool", name, make, x, indices)


@user_facing
def avg_pool1d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    name: str | None = None,
) -> Tensor:
    """The mean of each window of x [N, C, L], as :func:`avg_pool2d`."""
    windows = (kernel_size, stride, padding)
    return _average(1, x, windows, ceil_mode, count_include_pad, None, name)


@user_facing
def avg_pool2d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """The mean of each window of x [N, C, H, W]; stride defaults to the window.

    With ``divisor_override`` the sum of each window divided by that number, as in PyTorch.
    """
    windows = (kernel_size, stride, padding)
    return _average(2, x, windows, ceil_mode, count_include_pad, divisor_override, name)


@user_facing
def avg_pool3d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """The mean of each window of x [N, C, D, H, W], as :func:`avg_pool2d`."""
    windows = (kernel_size, stride, padding)
    return _average(3, x, windows, ceil_mode, count_include_pad, divisor_override, name)


def _average(
    axes: int,
    x: Tensor,
    windows: tuple[PerAxis, PerAxis | None, Borders],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    name: str | None,
) -> Tensor:
    """Average pooling; ``windows`` are kernel size, stride and padding."""

    def make() -> pool.AvgPool2d | pool_nd.AvgPool:
        one: Any = pool.AvgPool2d if axes == 2 else pool_nd.AvgPool
        own = windows if axes == 2 else _windows(axes, *windows)
        op: pool.AvgPool2d | pool_nd.AvgPool = one(*own, ceil_mode, count_include_pad)
        return op if divisor_override is None else _counting_alike(op)

    if divisor_override is None:
        return _layer("avg_pool", name, make, x)
    divisor = integer(divisor_override, "divisor_override")
    if not divisor:
        raise AttributeMistake(
            f"avg_pool{axes}d: divisor_override divides, it must not be 0",
            fix="leave it out for the number of cells, or write divisor_override=1 for the sum",
            loc=here(),
        )
    mean = _layer("avg_pool", name, make, x)
    node = mean.value.node
    assert node is not None and isinstance(node.op, (pool.AvgPool2d, pool_nd.AvgPool))
    with mean.trace.at(mean.value.path):
        return mean * (math.prod(node.op.kernel_size) / divisor)


def _counting_alike(op: pool.AvgPool2d | pool_nd.AvgPool) -> pool.AvgPool2d | pool_nd.AvgPool:
    """The same windows, each counting all its cells: what ceil mode adds is padding as well."""
    padding = tuple(op.reach(axis) for axis in range(op.axes))
    return op.with_attributes(padding=padding, ceil_mode=False, count_include_pad=True)


@user_facing
def lp_pool1d(
    x: Tensor,
    norm_type: float,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """As :func:`lp_pool2d`, of each window of x [N, C, L]."""

    def make() -> pool_nd.LpPool:
        p = number(norm_type, "norm_type")
        return pool_nd.LpPool(*_windows(1, kernel_size, stride, 0), ceil_mode, p=p)

    return _layer("lp_pool", name, make, x)


@user_facing
def lp_pool2d(
    x: Tensor,
    norm_type: float,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """(sum of |x|**norm_type)**(1/norm_type) of each window of x [N, C, H, W].

    The stride defaults to the window; where the sum is zero, so is the gradient. (PyTorch leaves
    out the absolute value, and has NaN where an odd power has a negative sum.)
    """

    def make() -> pool_nd.LpPool:
        p = number(norm_type, "norm_type")
        return pool_nd.LpPool(*_windows(2, kernel_size, stride, 0), ceil_mode, p=p)

    return _layer("lp_pool", name, make, x)


@user_facing
def lp_pool3d(
    x: Tensor,
    norm_type: float,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """As :func:`lp_pool2d`, of each window of x [N, C, D, H, W]."""

    def make() -> pool_nd.LpPool:
        p = number(norm_type, "norm_type")
        return pool_nd.LpPool(*_windows(3, kernel_size, stride, 0), ceil_mode, p=p)

    return _layer("lp_pool", name, make, x)


@user_facing
def global_avg_pool(x: Tensor, *, name: str | None = None) -> Tensor:
    """The mean of each channel: [N, C, H, W] becomes [N, C]."""
    pooled = _layer("global_avg_pool", name, pool.GlobalAvgPool2d, x)
    return current().emit(shape_ops.Flatten(), pooled, path=pooled.value.path)


def need_axes(what: str, x: Tensor, axes: int) -> None:
    """Raise ShapeError unless x has a batch, channels and so many axes."""
    if x.ndim != axes + 2:
        raise ShapeError(
            f"{what} takes [N, C, {AXES[axes]}], got {x.type}",
            fix="reshape x to as many dimensions",
        )
