"""Samples of the indices of maxima, and of what is put back by them."""

from __future__ import annotations

import math

from cauce.ir.ops.pool_indices import MaxPool2dIndices, MaxPoolIndices, MaxUnpool

from .sample import Draw, Sample, samples
from .samples_pool import fixed_windows, image
from .samples_pool_nd import windows
from .samples_shape import INDEX


@samples(MaxPool2dIndices)
def max_pool2d_indices(draw: Draw) -> Sample:
    """Windows that hold a cell: where one holds none, ONNX Runtime has another index."""
    op = MaxPool2dIndices(**fixed_windows(draw), dilation=draw.pair(1, 2))
    return Sample(op, (image(draw, (op.extent(0), op.extent(1))),))


@samples(MaxPoolIndices)
def max_pool_indices(draw: Draw) -> Sample:
    attributes, x = windows(draw)
    return Sample(
        MaxPoolIndices(**attributes, storage_order=draw.int(0, 1), flat=draw.flag()), (x,)
    )


@samples(MaxUnpool)
def max_unpool(draw: Draw) -> Sample:
    """Several elements at one place too."""
    axes, flat = draw.int(1, 3), draw.flag()
    x = draw.normal((draw.int(1, 2), draw.int(1, 2), *(draw.int(1, 3) for _ in range(axes))))
    size = tuple(draw.int(1, 4) for _ in range(axes))
    cells = math.prod(size) * (x.shape[0] * x.shape[1] if flat else 1)
    indices = draw.integers(x.shape, 0, cells - 1, draw.choice(*INDEX))
    return Sample(MaxUnpool(size, flat), (x, indices), (0,))
