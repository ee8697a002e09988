"""Adaptive pooling: as many windows as the output has cells, whatever the size of the input.

With k windows over H rows, window i holds the rows floor(i*H/k) to ceil((i + 1)*H/k) - 1. Windows
cover the input; neighbours share a row where k does not divide i*H. PyTorch AdaptiveMaxPool2d
and AdaptiveAvgPool2d; ONNX has no such op.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..attributes import Pair
from ..dims import Dim, ceil_div, product
from ..errors import AttributeMistake, ShapeError
from ..op import register
from ..types import TensorType
from .pool import Average, AverageBackward, MaximumBackward, MaximumPool, MaximumSelect, Pooling


class AdaptiveWindows(Pooling):
    """The windows of the module's formula; ``output_size`` is (H', W') of y."""

    output_size: Pair

    def check(self) -> None:
        if min(self.output_size) < 1:
            raise AttributeMistake(
                f"{self.name}: output_size must be at least 1, got {self.output_size}",
                fix="give the height and the width of the result, for example (7, 7)",
            )

    def count(self, axis: int, size: Dim) -> Dim:
        return self.output_size[axis]

    def bounds(self, axis: int, size: Dim) -> list[tuple[Dim, Dim]]:
        """The first cell of each window along an axis, and the one after its last."""
        k = self.output_size[axis]
        return [(i * size // k, ceil_div((i + 1) * size, k)) for i in range(k)]

    def cells(self, axis: int, size: Dim) -> Dim:
        total: Dim = 0
        for start, stop in self.bounds(axis, size):
            total = total + stop - start
        return total

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        """The cells of all windows over x. Where that is a longer expression than a size may be,
        the most that there can be: neighbours share a cell at most."""
        try:
            return super().flops(operands, results)
        except ShapeError:
            n, c, *size = operands[0].shape
            along = (dim + (count - 1) for dim, count in zip(size, self.output_size))
            return n * c * product(tuple(along))

    def spans(self, axis: int, size: int) -> list[slice]:
        return [slice(*bounds) for bounds in self.bounds(axis, size)]


@register
class AdaptiveMaxPool2d(MaximumPool, AdaptiveWindows):
    """y[n,c,i,j] = max of x[n,c,a,b] over the cells (a, b) of window (i, j); NaN wins.

    Of equal maxima the first in row-major order takes the gradient.
    """

    name = "adaptive_max_pool2d"
    exact = True


@register
class AdaptiveMaxPool2dBackward(MaximumBackward, AdaptiveWindows):
    """dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows of x whose first maximum is at (a, b)."""

    name = "adaptive_max_pool2d_backward"


@register
class AdaptiveMaxPool2dSelect(MaximumSelect, AdaptiveWindows):
    """y[n,c,i,j] = g[n,c,a,b] where the first maximum of window (i, j) of x is at (a, b)."""

    name = "adaptive_max_pool2d_select"
    exact = True


@register
class AdaptiveAvgPool2d(Average, AdaptiveWindows):
    """y[n,c,i,j] = mean of x[n,c,a,b] over the cells (a, b) of window (i, j)."""

    name = "adaptive_avg_pool2d"


@register
class AdaptiveAvgPool2dBackward(AverageBackward, AdaptiveWindows):
    """dx[n,c,a,b] = sum of dy[n,c,i,j] / number of cells over the windows that hold (a, b).

    ``size`` is (H, W) of x.
    """

    name = "adaptive_avg_pool2d_backward"
