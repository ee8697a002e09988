"""Pooling to a size that is given. Named as in ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.attributes import parts, per_axis
from ..ir.errors import located
from ..ir.ops import adaptive_pool
from ..ir.tracebacks import user_facing
from .functional import _layer
from .pooling import need_axes
from .tensor import Tensor
from .tracing import current

OutputSize = int | None | Sequence[int | None]


@user_facing
def adaptive_avg_pool1d(x: Tensor, output_size: int, *, name: str | None = None) -> Tensor:
    """The mean of windows chosen so that [N, C, L] becomes [N, C, output_size].

    x is floating-point; the result has its dtype.

    Raises:
        ShapeError: x has other dimensions, or a size that is not known.
        TypeMismatch: another dtype.
        AttributeMistake: a size below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.adaptive_avg_pool1d(x, 2)).init(x=("N", 1, 5))
        >>> cauce.compile(net, "numpy")(np.float32([[[1, 2, 3, 4, 5]]]))
        array([[[2., 4.]]], dtype=float32)
    """
    make = adaptive_pool.AdaptiveAvgPool2d
    return _adaptive_line("adaptive_avg_pool", name, make, x, output_size)


@user_facing
def adaptive_avg_pool3d(x: Tensor, output_size: OutputSize, *, name: str | None = None) -> Tensor:
    """The mean of windows chosen so that [N, C, D, H, W] becomes [N, C, *output_size].

    A size that is None is that of x.

    x is floating-point; the result has its dtype.

    Raises:
        ShapeError: x has other dimensions, or a size that is not known.
        TypeMismatch: another dtype.
        AttributeMistake: a size below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.adaptive_avg_pool3d(x, 1)).init(x=("N", 1, 1, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[[1, 2], [3, 4]]]]]))
        array([[[[[2.5]]]]], dtype=float32)
    """
    make = adaptive_pool.AdaptiveAvgPool2d
    return _adaptive_volume("adaptive_avg_pool", name, make, x, output_size)


@user_facing
def adaptive_max_pool1d(x: Tensor, output_size: int, *, name: str | None = None) -> Tensor:
    """The greatest element of windows chosen so that [N, C, L] becomes [N, C, output_size].

    x is floating-point or integer; the result has its dtype.

    Raises:
        ShapeError: x has other dimensions, or a size that is not known.
        TypeMismatch: another dtype.
        AttributeMistake: a size below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.adaptive_max_pool1d(x, 2)).init(x=("N", 1, 5))
        >>> cauce.compile(net, "numpy")(np.float32([[[1, 2, 3, 4, 5]]]))
        array([[[3., 5.]]], dtype=float32)
    """
    make = adaptive_pool.AdaptiveMaxPool2d
    return _adaptive_line("adaptive_max_pool", name, make, x, output_size)


@user_facing
def adaptive_max_pool3d(x: Tensor, output_size: OutputSize, *, name: str | None = None) -> Tensor:
    """The greatest element of windows chosen so that [N, C, D, H, W] becomes [N, C, *output_size].

    A size that is None is that of x.

    x is floating-point or integer; the result has its dtype.

    Raises:
        ShapeError: x has other dimensions, or a size that is not known.
        TypeMismatch: another dtype.
        AttributeMistake: a size below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.adaptive_max_pool3d(x, 1)).init(x=("N", 1, 1, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[[1, 2], [3, 4]]]]]))
        array([[[[[4.]]]]], dtype=float32)
    """
    make = adaptive_pool.AdaptiveMaxPool2d
    return _adaptive_volume("adaptive_max_pool", name, make, x, output_size)


Adaptive = type[adaptive_pool.AdaptiveAvgPool2d | adaptive_pool.AdaptiveMaxPool2d]


def _adaptive_line(
    kind: str, name: str | None, make: Adaptive, x: Tensor, output_size: int
) -> Tensor:
    """An adaptive pool along one axis: of an image with one row."""
    trace = current()
    path = trace.layer_path(kind, name)
    with located(path):
        (size,) = per_axis(output_size, "output_size", 1)
        op = make((1, size))
        need_axes(f"{kind}1d", x, 1)
    with trace.at(path):
        n, c, length = x.shape
        return trace.emit(op, x.reshape(n, c, 1, length)).reshape(n, c, size)


def _adaptive_volume(
    kind: str, name: str | None, make: Adaptive, x: Tensor, output_size: OutputSize
) -> Tensor:
    """An adaptive pool of volumes: of each slice, then of slices."""
    trace = current()
    path = trace.layer_path(kind, name)
    with located(path):
        need_axes(f"{kind}3d", x, 3)
        given = parts(output_size) or (output_size,) * 3
        wanted = [own if size is None else size for own, size in zip(x.shape[2:], given)]
        depth, height, width = per_axis(wanted if len(given) == 3 else given, "output_size", 3)
        ops = make((height, width)), make((depth, height * width))
    with trace.at(path):
        n, c, *size = x.shape
        slices = trace.emit(ops[0], x.reshape(n, c * size[0], *size[1:]))
        lines = trace.emit(ops[1], slices.reshape(n, c, size[0], height * width))
        return lines.reshape(n, c, depth, height, width)


@user_facing
def adaptive_avg_pool2d(x: Tensor, output_size: OutputSize, *, name: str | None = None) -> Tensor:
    """The mean of windows chosen so that the result is [N, C, *output_size].

    A size that is None is that of x: ``(None, 1)`` is the mean of each row.

    x is floating-point; the result has its dtype.

    Raises:
        ShapeError: x has other dimensions, or a size that is not known.
        TypeMismatch: another dtype.
        AttributeMistake: a size below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.adaptive_avg_pool2d(x, (1, 2))).init(x=("N", 1, 2, 3))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1, 2, 3], [4, 5, 6]]]]))
        array([[[[3., 4.]]]], dtype=float32)
    """
    return _adaptive("adaptive_avg_pool", name, adaptive_pool.AdaptiveAvgPool2d, x, output_size)


@user_facing
def adaptive_max_pool2d(x: Tensor, output_size: OutputSize, *, name: str | None = None) -> Tensor:
    """The greatest element of windows chosen so that the result is [N, C, *output_size].

    A size that is None is that of x.

    x is floating-point or integer; the result has its dtype.

    Raises:
        ShapeError: x has other dimensions, or a size that is not known.
        TypeMismatch: another dtype.
        AttributeMistake: a size below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.adaptive_max_pool2d(x, (1, 2))).init(x=("N", 1, 2, 3))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1, 2, 3], [4, 5, 6]]]]))
        array([[[[5., 6.]]]], dtype=float32)
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
