"""Pooling in one, two and three dimensions. Named as in ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

from ..ir.attributes import Pair, borders, flag, per_axis
from ..ir.errors import ShapeError, located
from ..ir.ops import pool, pool_nd
from ..ir.ops.conv import AXES
from ..ir.ops.pool_indices import MaxPoolIndices
from ..ir.tracebacks import user_facing
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

    With ``return_indices`` also where it stands: its number in its plane, in row-major order, for
    :func:`max_unpool1d`.

    Windows take ``kernel_size`` elements every ``stride`` ones, ``dilation`` apart, ``padding`` of
    them before and behind (an int, one for each axis, or pairs) of -infinity; with ``ceil_mode`` a
    last window may reach beyond. x is floating-point or integer; the result has its dtype, the
    indices are i64.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.max_pool1d(x, 2)).init(x=("N", 1, 4))
        >>> cauce.compile(net, "numpy")(np.float32([[[1, 3, 2, 5]]]))
        array([[[3., 5.]]], dtype=float32)
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

    With ``return_indices`` also where it stands: its number in its plane, in row-major order, for
    :func:`max_unpool2d`.

    Windows take ``kernel_size`` elements every ``stride`` ones, ``dilation`` apart, ``padding`` of
    them before and behind (an int, one for each axis, or pairs) of -infinity; with ``ceil_mode`` a
    last window may reach beyond. x is floating-point or integer; the result has its dtype, the
    indices are i64.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.max_pool2d(x, 2)).init(x=("N", 1, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1, 3], [2, 5]]]]))
        array([[[[5.]]]], dtype=float32)
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

    With ``return_indices`` also where it stands: its number in its plane, in row-major order, for
    :func:`max_unpool3d`.

    Windows take ``kernel_size`` elements every ``stride`` ones, ``dilation`` apart, ``padding`` of
    them before and behind (an int, one for each axis, or pairs) of -infinity; with ``ceil_mode`` a
    last window may reach beyond. x is floating-point or integer; the result has its dtype, the
    indices are i64.

    Raises:
        ShapeError: x has other dimensions, or a window is larger than x with its padding.
        TypeMismatch: another dtype.
        AttributeMistake: an argument that cannot be, such as a padding above half the window.

    Examples:
        >>> net = cauce.network(lambda x: nn.max_pool3d(x, 2)).init(x=("N", 1, 2, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[[1, 3], [2, 5]], [[0, 0], [0, 9]]]]]))
        array([[[[[9.]]]]], dtype=float32)
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
            own = windows_of(axes, kernel_size, stride, padding)
            pool_op = pool_nd.MaxPool(*own, ceil_mode, per_axis(dilation, "dilation", axes))
    y = trace.emit(pool_op, x, path=path)
    if not both:
        return y
    return y, trace.emit(MaxPoolIndices(**dict(pool_op.attributes())), x, path=path)


def windows_of(
    axes: int, kernel_size: PerAxis, stride: PerAxis | None, padding: Borders
) -> tuple[tuple[int, ...], tuple[int, ...] | None, tuple[Pair, ...]]:
    """Kernel size, stride and padding of each axis."""
    steps = None if stride is None else per_axis(stride, "stride", axes)
    return per_axis(kernel_size, "kernel_size", axes), steps, borders(padding, "padding", axes)


def need_axes(what: str, x: Tensor, axes: int) -> None:
    """Raise ShapeError unless x has a batch, channels and so many axes."""
    if x.ndim != axes + 2:
        raise ShapeError(
            f"{what} takes [N, C, {AXES[axes]}], got {x.type}",
            fix="reshape x to as many dimensions",
        )
