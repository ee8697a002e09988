"""Where the maxima of windows stand, and maxima put back there.

An index is a cell's number in its plane, in row-major order: ``a*W + b``, as PyTorch's
return_indices. ONNX's counts on over channels and images, and in column-major order where that is
asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..builder import Builder
from ..dims import Dim, product, sizes
from ..errors import AttributeMistake, ShapeError
from ..graph import Value
from ..op import Op, Values, register
from ..types import Array, DType, TensorType
from .constant import scalar, size_as
from .conv import AXES
from .elementwise import Add, Mul
from .indexing import Arange, GatherElements, ScatterElements
from .integers import Remainder, TruncDiv
from .pool import MaximumPool, MaxPool2d, MaxWindows, first_maximum
from .pool_nd import WindowsNd
from .shape import Expand, Reshape, check_indices, need_indices


def _indices(op: MaximumPool, x: Array) -> Array:
    """The number of the first maximum of each window, in its plane; 0 where there is none."""
    y = np.zeros(sizes(op.pooled(TensorType.of(x)).shape), np.int64)
    cells = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:])
    for place, patch in op.windows(x):
        first = np.where(first_maximum(x[patch]), cells[patch], 0)
        y[place] = first.sum(axis=tuple(range(2, x.ndim)))
    return y


@register
class MaxPool2dIndices(MaximumPool, MaxWindows):
    """y[n,c,i,j] = a*W + b, an i64, where the first maximum of window (i, j) of x is at (a, b).

    0 for a dilated window that steps over the whole input. PyTorch MaxPool2d, return_indices.
    """

    name = "max_pool2d_indices"
    zero_gradient = True
    gradient = Op.gradient

    def infer(self, x: TensorType) -> TensorType:
        return self.pooled(x).with_dtype(DType.I64)

    def reference(self, x: Array) -> Array:
        return _indices(self, x)


@register
class MaxPoolIndices(MaximumPool, WindowsNd):
    """y[n,c,i,...] = the number, an i64, of the cell of x at the first maximum of window (i, ...).

    x [N, C, L], [N, C, H, W] or [N, C, D, H, W]. The cells of a plane are counted in row-major
    order, or where ``storage_order`` is 1 in column-major order, its first axis fastest; from one
    plane on to the next where ``flat``. The second result of ONNX MaxPool-12 is flat.
    """

    storage_order: int = 0
    flat: bool = False

    name = "max_pool_indices"
    zero_gradient = True
    gradient = Op.gradient

    def check(self) -> None:
        super().check()
        if self.storage_order not in (0, 1):
            raise AttributeMistake(
                f"{self.name}: there is no storage_order {self.storage_order}",
                fix="use 0 for row-major order or 1 for column-major order",
            )

    def infer(self, x: TensorType) -> TensorType:
        return self.pooled(x).with_dtype(DType.I64)

    def reference(self, x: Array) -> Array:
        y, (n, c, *size) = _indices(self, x), x.shape
        if self.storage_order:
            y = np.ravel_multi_index(np.unravel_index(y, size), size, order="F")
        planes = np.arange(n * c).reshape(n, c, *(1,) * len(size)) * math.prod(size)
        return y + planes if self.flat else y

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        n, c, *size = x.type.shape
        index = self._in_plane(b, x)
        if self.storage_order:
            index = _in_columns(b, index, size)
        if not self.flat:
            return index
        planes = b(Mul(), b(Arange(n * c)), size_as(b, product(tuple(size)), DType.I64))
        return b(Add(), index, b(Reshape((n, c, *(1,) * len(size))), planes))

    def _in_plane(self, b: Builder, x: Value) -> Value:
        """The index in row-major order. In three dimensions the first maxima of the slices are
        pooled, and say which index of which slice it is."""
        n, c, *size = x.type.shape
        if self.axes < 3:
            return self.by_planes(b, x, lambda plane, x: b(MaxPool2dIndices(**plane), x))
        depth, *plane = size
        slices = b(Reshape((n, c * depth, *plane)), x)
        windows = self.plane(1, 2)
        index, best = b(MaxPool2dIndices(**windows), slices), b(MaxPool2d(**windows), slices)
        height, width = best.type.shape[2:]
        best = b(Reshape((n, c, depth, height * width)), best)
        place = b(MaxPool2dIndices(**self.plane(0, None)), best)
        count = place.type.shape[2]
        place = b(Reshape((n, c, count * height * width)), place)
        index = b(Reshape((n, c, depth * height * width)), index)
        chosen = b(GatherElements(2), index, place)
        slice_ = b(TruncDiv(), place, size_as(b, height * width, DType.I64))
        before = b(Mul(), slice_, size_as(b, product(tuple(plane)), DType.I64))
        return b(Reshape((n, c, count, height, width)), b(Add(), before, chosen))


def _in_columns(b: Builder, index: Value, size: list[Dim]) -> Value:
    """The number in column-major order of the cell that has an index in row-major order."""
    places = []
    for length in reversed(size[1:]):
        divisor = size_as(b, length, DType.I64)
        places.append(b(Remainder(), index, divisor))
        index = b(TruncDiv(), index, divisor)
    places.append(index)
    total, *rest = places
    for place, length in zip(rest, reversed(size[:-1])):
        total = b(Add(), place, b(Mul(), total, size_as(b, length, DType.I64)))
    return total


@register
class MaxUnpool(Op):
    """y = zeros with each element of x at its index: y[n,c] at indices[n,c,i,...] is x[n,c,i,...].

    ``size`` is (L), (H, W) or (D, H, W) of y. Indices count the cells of a plane in row-major
    order, from one plane on to the next where ``flat``; of several elements at one place the last
    counts. PyTorch MaxUnpool2d; ONNX MaxUnpool-11, whose indices are flat.
    """

    size: tuple[Dim, ...]
    flat: bool = False

    name = "max_unpool"
    exact = True
    operands = ("x", "indices")

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        need_indices(self.name, indices)
        axes = len(self.size)
        if axes not in AXES or x.rank != axes + 2 or indices.shape != x.shape:
            raise ShapeError(
                f"{self.name} takes x [N, C, ...] and as many indices, and the size of one to "
                f"three axes, got {x}, {indices} and a size of {axes} axes",
                fix="give the indices of the pooling that made x, and the size that it pooled",
            )
        return x.with_shape((*x.shape[:2], *self.size))

    def indices(self, *operands: TensorType) -> Mapping[int, Dim]:
        return {1: product((*(operands[0].shape[:2] if self.flat else ()), *self.size))}

    def reference(self, x: Array, indices: Array) -> Array:
        n, c = x.shape[:2]
        size = sizes(self.size)
        y = np.zeros((n, c, *size), x.dtype)
        lines = y.reshape(1, y.size) if self.flat else y.reshape(n * c, math.prod(size))
        check_indices(indices, lines.shape[1])
        places = indices.reshape(len(lines), indices.size // max(1, len(lines)))
        np.put_along_axis(lines, places.astype(np.int64), x.reshape(places.shape), axis=1)
        return y

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, indices = operands
        n, c, *own = x.type.shape
        lead: tuple[Dim, ...] = (n, c)
        count, length = product(tuple(own)), product(self.size)
        if self.flat:
            lead, count, length = (1, 1), n * c * count, n * c * length
        zeros = b(Expand((*lead, length)), scalar(b, 0, x))
        line = Reshape((*lead, count))
        y = b(ScatterElements(2), zeros, b(line, indices), b(line, x))
        return b(Reshape((n, c, *self.size)), y)
