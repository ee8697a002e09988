"""Normalisation of each sample by itself: layer, group and instance norm, RMS norm, and by axes.

Statistics take two passes, first the mean and then the squares of what is left; E[x**2] - E[x]**2
would lose all digits where the mean is large.
"""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..dims import Dim
from ..errors import AttributeMistake, ShapeError
from ..graph import Value
from ..op import Op, Values, register
from ..types import Array, TensorType
from .broadcast import broadcast, need_float, same_dtype
from .constant import scalar
from .elementwise import Add, Div, Mul, Sqrt, Sub
from .normalize import against, need_epsilon, write_against
from .reduce import (
    Mean,
    Variance,
    mean_of,
    normalize_axes,
    normalize_axis,
    variance_of,
    variance_scale,
)
from .shape import Expand, Reshape


class _TrailingAxes(Op):
    """Base of norms over the axes from ``axis`` on, whose gamma and beta broadcast to x."""

    axis: int = -1
    epsilon: float = 1e-5

    def check(self) -> None:
        need_epsilon(self.name, self.epsilon)

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes whose elements are normalised together."""
        return tuple(range(normalize_axis(self.axis, rank, self.name), rank))

    def check_operands(self, x: TensorType, *factors: TensorType) -> None:
        """Raise unless all are floats of one dtype, and ``factors`` broadcast to ``x``."""
        need_float(self.name, x, *factors)
        same_dtype(self.name, x, *factors)
        normalised = x.shape[self.axes(x.rank)[0] :]
        for name, factor in zip(("gamma", "beta"), factors):
            if broadcast(x.shape, factor.shape) != x.shape:
                raise ShapeError(
                    f"{self.name}: {name} {factor} does not broadcast to x {x}",
                    fix=f"{name} is usually [{','.join(map(str, normalised))}]",
                )

    def kept(self, x: TensorType) -> TensorType:
        """The type of one statistic of each row of ``x``."""
        axes = self.axes(x.rank)
        return x.with_shape(1 if i in axes else dim for i, dim in enumerate(x.shape))


@register
class LayerNorm(_TrailingAxes):
    """y = (x - mean) * scale * gamma + beta with scale = 1 / sqrt(variance + epsilon).

    Mean and biased variance are those of the elements along the axes from ``axis`` on, which are 1
    in the results mean and scale. gamma and beta broadcast to x. Ba et al. 2016; ONNX
    LayerNormalization-17, whose InvStdDev is scale.
    """

    name = "layer_norm"
    operands = ("x", "gamma", "beta?")
    results = ("y", "mean", "scale")
    flops_per_element = 7

    def infer(
        self, x: TensorType, gamma: TensorType, *beta: TensorType
    ) -> tuple[TensorType, TensorType, TensorType]:
        self.check_operands(x, gamma, *beta)
        return (x, self.kept(x), self.kept(x))

    def reference(self, x: Array, gamma: Array, *beta: Array) -> tuple[Array, Array, Array]:
        axes = self.axes(x.ndim)
        mean = mean_of(x, axes, keepdims=True)
        scale = 1 / np.sqrt(variance_of(x, axes, keepdims=True) + self.epsilon)
        y = (x - mean) * scale * gamma
        return (y + beta[0] if beta else y, mean, scale)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, gamma, *beta = operands
        axes = self.axes(x.type.rank)
        kept = Reshape(self.kept(x.type).shape)
        # The variance takes the mean in the same form: both are one node.
        mean = b(kept, b(Mean(axes), x))
        scale = b(kept, variance_scale(b, b(Variance(axes), x), self.epsilon))
        y = b(Mul(), b(Mul(), b(Sub(), x, mean), scale), gamma)
        return (b(Add(), y, *beta) if beta else y, mean, scale)


@register
class RMSNorm(_TrailingAxes):
    """y = x / sqrt(mean of x**2 + epsilon) * gamma, over the axes from ``axis`` on.

    gamma broadcasts to x. Zhang and Sennrich 2019; ONNX RMSNormalization-23.
    """

    name = "rms_norm"
    operands = ("x", "gamma")
    flops_per_element = 4

    def infer(self, x: TensorType, gamma: TensorType) -> TensorType:
        self.check_operands(x, gamma)
        return x

    def reference(self, x: Array, gamma: Array) -> Array:
        squares = mean_of(x * x, self.axes(x.ndim), keepdims=True)
        return x / np.sqrt(squares + self.epsilon) * gamma

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, gamma = operands
        squares = b(Mean(self.axes(x.type.rank), keepdims=True), b(Mul(), x, x))
        return b(Mul(), b(Mul(), x, variance_scale(b, squares, self.epsilon)), gamma)


@register
class GroupNorm(Op):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per sample and group of channels.

    x is [N, C, ...], gamma and beta are [C]; mean and biased variance are those of C / num_groups
    channels that follow one another. With a group for each channel, num_groups = None, it is
    instance norm. Wu and He 2018, Ulyanov et al. 2016; ONNX GroupNormalization-21 and
    InstanceNormalization-22.
    """

    num_groups: int | None = None
    epsilon: float = 1e-5

    name = "group_norm"
    operands = ("x", "gamma", "beta")
    flops_per_element = 7

    def check(self) -> None:
        need_epsilon(self.name, self.epsilon)
        if self.num_groups is not None and self.num_groups < 1:
            raise AttributeMistake(
                f"group_norm: num_groups must be at least 1, got {self.num_groups}",
                fix="leave it out for a group of each channel, or use a divisor of their number",
            )

    def infer(self, x: TensorType, *channels: TensorType) -> TensorType:
        need_float(self.name, x, *channels)
        same_dtype(self.name, x, *channels)
        if x.rank < 2:
            raise ShapeError(
                f"group_norm takes x [N, C, ...], got {x}", fix="add dimensions with reshape"
            )
        for name, channel in zip(self.operands[1:], channels):
            if channel.shape != (x.shape[1],):
                raise ShapeError(
                    f"group_norm: {name} is {channel}, x {x} has {x.shape[1]} channels",
                    fix=f"{name} must be [{x.shape[1]}]",
                )
        self.grouped(x)
        return x

    def grouped(self, x: TensorType) -> tuple[Dim, Dim, Dim]:
        """(N, G, C / G) of ``x``."""
        n, c = x.shape[:2]
        if self.num_groups is None:
            return (n, c, 1)
        if not isinstance(c, int) or c % self.num_groups:
            raise ShapeError(
                f"group_norm: the {c} channels of {x} do not divide into {self.num_groups} groups",
                fix="use a number of groups that divides a known number of channels",
            )
        return (n, self.num_groups, c // self.num_groups)

    def reference(self, x: Array, gamma: Array, beta: Array) -> Array:
        n, groups, members = self.grouped(TensorType.of(x))
        rows = x.reshape(n, groups, members, *x.shape[2:])  # type: ignore[arg-type]
        axes = tuple(range(2, rows.ndim))
        variance = variance_of(rows, axes, keepdims=True)
        normal = (rows - mean_of(rows, axes, keepdims=True)) / np.sqrt(variance + self.epsilon)
        return normal.reshape(x.shape) * against(gamma, x) + against(beta, x)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, gamma, beta = operands
        centred = b(Sub(), x, self._write_means(b, x))
        variance = self._write_means(b, b(Mul(), centred, centred))
        scale = b(Mul(), variance_scale(b, variance, self.epsilon), write_against(b, gamma, x))
        return b(Add(), b(Mul(), centred, scale), write_against(b, beta, x))

    def _write_means(self, b: Builder, x: Value) -> Value:
        """Write the mean of each group for each of its channels, [N, C, 1, ...].

        First that of each channel: x itself need not be reshaped, and may lie in any order.
        """
        axes = tuple(range(2, x.type.rank))
        means = b(Mean(axes, keepdims=True), x) if axes else x
        n, groups, members = self.grouped(x.type)
        if members == 1:
            return means
        each = b(Mean((2,), keepdims=True), b(Reshape((n, groups, members)), means))
        return b(Reshape(means.type.shape), b(Expand((n, groups, members)), each))


@register
class MeanVarianceNorm(Op):
    """y = (x - mean) / (sqrt(variance) + 1e-9), over ``axes``. ONNX MeanVarianceNormalization-13.

    Mean and biased variance are those along ``axes``: with ONNX's default, of each channel.
    """

    axes: tuple[int, ...] = (0, 2, 3)

    name = "mean_variance_norm"
    flops_per_element = 7

    def infer(self, x: TensorType) -> TensorType:
        need_float(self.name, x)
        normalize_axes(self.axes, x.rank, self.name)
        return x

    def reference(self, x: Array) -> Array:
        root = np.sqrt(variance_of(x, self.axes, keepdims=True))
        return (x - mean_of(x, self.axes, keepdims=True)) / (root + x.dtype.type(1e-9))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        mean, variance = Mean(self.axes), Variance(self.axes)
        root = variance.spread(b, b(Sqrt(), b(variance, x)), x.type)
        centred = b(Sub(), x, mean.spread(b, b(mean, x), x.type))
        return b(Div(), centred, b(Add(), root, scalar(b, 1e-9, x)))
