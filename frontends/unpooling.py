"""Max unpooling in one, two and three dimensions: what max pooling took, back in its places."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dims import Dim, as_dim
from ..ir.errors import AttributeMistake
from ..ir.ops.pool_indices import MaxUnpool
from ..ir.tracebacks import user_facing
from .functional import _layer
from .pooling import PerAxis, need_axes, windows_of
from .tensor import Tensor


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
    """As :func:`max_unpool2d`, over x [N, C, L].

    The arguments are those of there: ``indices``, ``kernel_size``, ``stride``, ``padding``,
    ``output_size``. The indices are i64; the result has the dtype of x.

    Raises:
        ShapeError: x has other dimensions, or another shape than the indices; in a run, an index
            beyond the result.
        TypeMismatch: indices that are no integers.
        AttributeMistake: output_size of another length.

    Examples:
        >>> def back(x):
        ...     y, places = nn.max_pool1d(x, 2, return_indices=True)
        ...     return nn.max_unpool1d(y, places, 2)
        >>> model = cauce.network(back).init(x=("N", 1, 4))
        >>> cauce.compile(model, "numpy")(np.float32([[[1, 3, 2, 5]]]))
        array([[[0., 3., 0., 5.]]], dtype=float32)
    """
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

    The indices, i64, have the shape of x, whose dtype the result has.

    Args:
        x: what was pooled.
        indices: what ``max_pool2d(..., return_indices=True)`` gives as its second result.
        kernel_size: that of the pooling.
        stride: likewise; the kernel size where None.
        padding: likewise, an int or one for each axis.
        output_size: (H, W) of the result, which may be symbolic: ``before.shape[2:]``. Where None
            the least that has so many windows, ``(H - 1)*stride - 2*padding + kernel_size``.
        name: the layer's name.

    Raises:
        ShapeError: x has other dimensions, or another shape than the indices; in a run, an index
            beyond the result.
        TypeMismatch: indices that are no integers.
        AttributeMistake: output_size of another length.

    Examples:
        >>> def back(x):
        ...     y, places = nn.max_pool2d(x, 2, return_indices=True)
        ...     return nn.max_unpool2d(y, places, 2)
        >>> model = cauce.network(back).init(x=("N", 1, 2, 2))
        >>> cauce.compile(model, "numpy")(np.float32([[[[1, 3], [2, 5]]]]))
        array([[[[0., 0.],
                 [0., 5.]]]], dtype=float32)
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
    """As :func:`max_unpool2d`, over x [N, C, D, H, W].

    The arguments are those of there: ``indices``, ``kernel_size``, ``stride``, ``padding``,
    ``output_size``. The indices are i64; the result has the dtype of x.

    Raises:
        ShapeError: x has other dimensions, or another shape than the indices; in a run, an index
            beyond the result.
        TypeMismatch: indices that are no integers.
        AttributeMistake: output_size of another length.

    Examples:
        >>> def back(x):
        ...     y, places = nn.max_pool3d(x, (1, 2, 2), return_indices=True)
        ...     return nn.max_unpool3d(y, places, (1, 2, 2))
        >>> model = cauce.network(back).init(x=("N", 1, 1, 2, 2))
        >>> cauce.compile(model, "numpy")(np.float32([[[[[1, 3], [2, 5]]]]]))
        array([[[[[0., 0.],
                  [0., 5.]]]]], dtype=float32)
    """
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
        kernel, stride, padding = windows_of(axes, *windows)
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
