"""Pooling in one, two and three dimensions. Named as in ``torch.nn.functional``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..ir.attributes import Pair, borders, integer, number, parts, per_axis
from ..ir.errors import AttributeMistake, located
from ..ir.location import here
from ..ir.ops import adaptive_pool, pool, pool_nd
from ..ir.ops import shape as shape_ops
from ..ir.tracebacks import user_facing
from .functional import _layer
from .tensor import Tensor
from .tracing import current

PerAxis = int | Sequence[int]
OutputSize = int | None | Sequence[int | None]
Borders = int | Sequence[int] | Sequence[Sequence[int]]


@user_facing
def max_pool1d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """The greatest element of each window of x [N, C, L]; stride defaults to the window."""
    windows = (kernel_size, stride, padding, dilation)
    return _layer("max_pool", name, lambda: _max_windows(1, *windows, ceil_mode), x)


@user_facing
def max_pool2d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """The greatest element of each window of x [N, C, H, W]; stride defaults to the window."""
    windows = (kernel_size, stride, padding, dilation)
    return _layer("max_pool", name, lambda: _max_windows(2, *windows, ceil_mode), x)


@user_facing
def max_pool3d(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Borders = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """The greatest element of each window of x [N, C, D, H, W]; stride defaults to the window."""
    windows = (kernel_size, stride, padding, dilation)
    return _layer("max_pool", name, lambda: _max_windows(3, *windows, ceil_mode), x)


def _max_windows(
    axes: int,
    kernel_size: PerAxis,
    stride: PerAxis | None,
    padding: Borders,
    dilation: PerAxis,
    ceil_mode: bool,
) -> pool.MaxPool2d | pool_nd.MaxPool:
    """Max pooling over so many axes."""
    if axes == 2:
        make: Any = pool.MaxPool2d  # which takes an int for a pair
        return make(kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode)
    windows = _windows(axes, kernel_size, stride, padding)
    return pool_nd.MaxPool(*windows, ceil_mode, per_axis(dilation, "dilation", axes))


def _windows(
    axes: int, kernel_size: PerAxis, stride: PerAxis | None, padding: Borders
) -> tuple[tuple[int, ...], tuple[int, ...] | None, tuple[Pair, ...]]:
    """Kernel size, stride and padding of each axis."""
    steps = None if stride is None else per_axis(stride, "stride", axes)
    return per_axis(kernel_size, "kernel_size", axes), steps, borders(padding, "padding", axes)


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


@user_facing
def adaptive_avg_pool2d(x: Tensor, output_size: OutputSize, *, name: str | None = None) -> Tensor:
    """The mean of windows chosen so that the result is [N, C, *output_size].

    A size that is None is that of x: ``(None, 1)`` is the mean of each row.
    """
    return _adaptive("adaptive_avg_pool", name, adaptive_pool.AdaptiveAvgPool2d, x, output_size)


@user_facing
def adaptive_max_pool2d(x: Tensor, output_size: OutputSize, *, name: str | None = None) -> Tensor:
    """The greatest element of windows chosen so that the result is [N, C, *output_size].

    A size that is None is that of x.
    """
    return _adaptive("adaptive_max_pool", name, adaptive_pool.AdaptiveMaxPool2d, x, output_size)


def _adaptive(
    kind: str,
    name: str | None,
    make: type[adaptive_pool.AdaptiveAvgPool2d | adaptive_pool.AdaptiveMaxPool2d],
    x: Tensor,
    output_size: OutputSize,
) -> Tensor:
    """An adaptive pool; along an axis that is kept, whose size may not be known, the channels and
    that axis are pooled as one."""
    given = parts(output_size)
    extents = (output_size, output_size) if given is None else given
    kept = [axis for axis, size in enumerate(extents) if size is None]
    if len(extents) != 2 or x.ndim != 4 or not kept:
        return _layer(kind, name, lambda: make(output_size), x)  # type: ignore[arg-type]
    if len(kept) == 2:
        return x
    trace, size = current(), extents[1 - kept[0]]
    n, c = x.shape[:2]
    path = trace.layer_path(kind, name)
    with trace.at(path):
        rows = x if kept == [0] else x.permute(0, 1, 3, 2)
        along, across = rows.shape[2:]
        flat = rows.reshape(n, c * along, 1, across)
        with located(path):
            pooled = trace.emit(make((1, size)), flat)
        y = pooled.reshape(n, c, along, size)
        return y if kept == [0] else y.permute(0, 1, 3, 2)
