"""Means and norms of windows in one, two and three dimensions, named as in PyTorch."""

from __future__ import annotations

import math
from typing import Any

from ..ir.attributes import integer, number
from ..ir.errors import AttributeMistake
from ..ir.location import here
from ..ir.ops import pool, pool_nd
from ..ir.ops import shape as shape_ops
from ..ir.tracebacks import user_facing
from .functional import _layer
from .pooling import Borders, PerAxis, windows_of
from .tensor import Tensor
from .tracing import current


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
    """The mean of each window of x [N, C, L], as :func:`avg_pool2d`.

    Windows take ``kernel_size`` elements every ``stride`` ones, ``padding`` of them before and
    behind (an int, one for each axis, or pairs) of zeros, which count unless ``count_include_pad``
    is False; with ``ceil_mode`` a last window may reach beyond. x is floating-point; the result has
    its dtype.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.avg_pool1d(x, 2)).init(x=("N", 1, 4))
        >>> cauce.compile(net, "numpy")(np.float32([[[1, 3, 2, 5]]]))
        array([[[2. , 3.5]]], dtype=float32)
    """
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

    Windows take ``kernel_size`` elements every ``stride`` ones, ``padding`` of them before and
    behind (an int, one for each axis, or pairs) of zeros, which count unless ``count_include_pad``
    is False; with ``ceil_mode`` a last window may reach beyond. x is floating-point; the result has
    its dtype.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.avg_pool2d(x, 2)).init(x=("N", 1, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1, 3], [2, 5]]]]))
        array([[[[2.75]]]], dtype=float32)
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
    """The mean of each window of x [N, C, D, H, W], as :func:`avg_pool2d`.

    With ``divisor_override`` the sum of each window divided by that number.

    Windows take ``kernel_size`` elements every ``stride`` ones, ``padding`` of them before and
    behind (an int, one for each axis, or pairs) of zeros, which count unless ``count_include_pad``
    is False; with ``ceil_mode`` a last window may reach beyond. x is floating-point; the result has
    its dtype.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.avg_pool3d(x, 2)).init(x=("N", 1, 2, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[[1, 3], [2, 5]], [[0, 0], [0, 9]]]]]))
        array([[[[[2.5]]]]], dtype=float32)
    """
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
        own = windows if axes == 2 else windows_of(axes, *windows)
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
    """As :func:`lp_pool2d`, of each window of x [N, C, L].

    Windows take ``kernel_size`` elements every ``stride`` ones; with ``ceil_mode`` a last window
    may reach beyond. x is floating-point; the result has its dtype. ``norm_type`` is p.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.lp_pool1d(x, 2, 2)).init(x=("N", 1, 4))
        >>> cauce.compile(net, "numpy")(np.float32([[[1, 3, 2, 5]]]))
        array([[[3.1622777, 5.3851647]]], dtype=float32)
    """

    def make() -> pool_nd.LpPool:
        p = number(norm_type, "norm_type")
        return pool_nd.LpPool(*windows_of(1, kernel_size, stride, 0), ceil_mode, p=p)

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

    Windows take ``kernel_size`` elements every ``stride`` ones; with ``ceil_mode`` a last window
    may reach beyond. x is floating-point; the result has its dtype.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.lp_pool2d(x, 2, 2)).init(x=("N", 1, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1, 3], [2, 5]]]]))
        array([[[[6.244998]]]], dtype=float32)
    """

    def make() -> pool_nd.LpPool:
        p = number(norm_type, "norm_type")
        return pool_nd.LpPool(*windows_of(2, kernel_size, stride, 0), ceil_mode, p=p)

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
    """As :func:`lp_pool2d`, of each window of x [N, C, D, H, W].

    Windows take ``kernel_size`` elements every ``stride`` ones; with ``ceil_mode`` a last window
    may reach beyond. x is floating-point; the result has its dtype. ``norm_type`` is p.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.lp_pool3d(x, 2, 2)).init(x=("N", 1, 2, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[[1, 3], [2, 5]], [[0, 0], [0, 9]]]]]))
        array([[[[[10.954452]]]]], dtype=float32)
    """

    def make() -> pool_nd.LpPool:
        p = number(norm_type, "norm_type")
        return pool_nd.LpPool(*windows_of(3, kernel_size, stride, 0), ceil_mode, p=p)

    return _layer("lp_pool", name, make, x)


@user_facing
def global_avg_pool(x: Tensor, *, name: str | None = None) -> Tensor:
    """The mean of each channel: [N, C, H, W] becomes [N, C].

    x is floating-point; the result has its dtype. H and W may be symbols.

    Raises:
        ShapeError: x has other dimensions.
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.global_avg_pool(x)).init(x=("N", 1, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1, 2], [3, 4]]]]))
        array([[2.5]], dtype=float32)
    """
    pooled = _layer("global_avg_pool", name, pool.GlobalAvgPool2d, x)
    return current().emit(shape_ops.Flatten(), pooled, path=pooled.value.path)
