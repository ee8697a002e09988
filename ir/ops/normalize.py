"""Batch normalisation: with given statistics, and with those of the batch.

Ioffe and Szegedy 2015, "Batch normalization", algorithms 1 and 2. Channels are dimension 1.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from ..builder import Builder
from ..dims import Dim, product
from ..errors import AttributeMistake, ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, Values, register
from ..types import Array, TensorType
from .broadcast import need_float, same_dtype
from .constant import scalar, size_as
from .elementwise import Add, Div, Mul, Sub
from .reduce import Mean, Sum, Variance, mean_of, sum_of, variance_of, variance_scale
from .shape import Expand, Reshape


def other_axes(rank: int) -> tuple[int, ...]:
    """All axes but the channels'."""
    return (0, *range(2, rank))


def elements_per_channel(x: TensorType) -> Dim:
    """M, the number of elements of x [N, C, ...] that share a channel."""
    return product(tuple(x.shape[axis] for axis in other_axes(x.rank)))


def against(channels: Array, x: Array) -> Array:
    """``channels`` [C] reshaped to broadcast against x [N, C, ...]."""
    return channels.reshape(-1, *(1,) * (x.ndim - 2))


def write_against(b: Builder, channels: Value, x: Value) -> Value:
    """Write ``channels`` [C] reshaped to broadcast against x [N, C, ...]."""
    shape = (*channels.type.shape, *(1,) * (x.type.rank - 2))
    return channels if x.type.rank == 2 else b(Reshape(shape), channels)


def need_epsilon(op: str, epsilon: float) -> None:
    """Raise AttributeMistake where what is added to a variance is negative or NaN."""
    if not epsilon >= 0:
        raise AttributeMistake(
            f"{op}: epsilon must not be negative, got {epsilon}",
            fix="use a small positive number, such as 1e-5",
        )


class BatchNormBase(Op):
    """The attribute and the checks that batch normalisations share."""

    epsilon: float = 1e-5

    def check(self) -> None:
        need_epsilon(self.name, self.epsilon)

    def check_operands(self, x: TensorType, *channels: TensorType) -> None:
        """Raise unless x is [N, C] with up to three more dimensions, and ``channels`` are [C]."""
        need_float(self.name, x, *channels)
        same_dtype(self.name, x, *channels)
        if not 2 <= x.rank <= 5:
            raise ShapeError(
                f"{self.name} takes x with 2 to 5 dimensions, channels second, got {x}",
                fix="add a dimension or merge some with reshape",
            )
        for name, channel in zip(self.operands[1:], channels):
            if channel.shape != (x.shape[1],):
                raise ShapeError(
                    f"{self.name}: {name} is {channel}, x {x} has {x.shape[1]} channels",
                    fix=f"{name} must be [{x.shape[1]}]",
                )


@register
class BatchNorm(BatchNormBase):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per channel of x [N, C, ...].

    The other operands are [C]. ONNX BatchNormalization-15.
    """

    name = "batch_norm"
    operands = ("x", "gamma", "beta", "mean", "variance")
    flops_per_element = 3

    def infer(self, x: TensorType, *channels: TensorType) -> TensorType:
        self.check_operands(x, *channels)
        return x

    def reference(self, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array) -> Array:
        normal = (x - against(mean, x)) / np.sqrt(against(variance, x) + self.epsilon)
        return normal * against(gamma, x) + against(beta, x)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, gamma, beta, mean, variance = operands
        scale = b(Mul(), gamma, variance_scale(b, variance, self.epsilon))
        centred = b(Sub(), x, write_against(b, mean, x))
        return b(Add(), b(Mul(), centred, write_against(b, scale, x)), write_against(b, beta, x))


@register
class BatchNormTrain(BatchNormBase):
    """y = batch_norm of x with its own mean and biased variance over all axes but 1, both [C].

    mean = sum x / M, variance = sum (x - mean)**2 / M with M = N*H*W, in two passes: the
    difference E[x**2] - E[x]**2 loses all digits where the mean is large. Given only the results
    y, mean and variance: the running statistics are nodes of their own.

    A run with M = 1 is a ShapeError, as in PyTorch: y would be beta whatever x is, and the running
    variance would move towards 0.
    """

    name = "batch_norm_train"
    operands = ("x", "gamma", "beta")
    results = ("y", "mean", "variance")
    flops_per_element = 7

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> tuple[TensorType, ...]:
        self.check_operands(x, gamma, beta)
        return (x, gamma, gamma)

    def check_run(self, *operands: TensorType) -> None:
        x, *_ = operands
        if elements_per_channel(x) == 1:
            raise ShapeError(
                f"{self.name} has one value for each channel in {x}: there is no variance to learn "
                "from",
                fix="leave out a last batch of one image with drop_last=True, and train on batches "
                "of at least 2",
            )

    def reference(self, x: Array, gamma: Array, beta: Array) -> tuple[Array, Array, Array]:
        self.check_run(*map(TensorType.of, (x, gamma, beta)))
        axes = other_axes(x.ndim)
        mean, variance = mean_of(x, axes), variance_of(x, axes)
        return (BatchNorm(self.epsilon).reference(x, gamma, beta, mean, variance), mean, variance)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, gamma, beta = operands
        axes = other_axes(x.type.rank)
        mean, variance = b(Mean(axes), x), b(Variance(axes), x)
        return (b(BatchNorm(self.epsilon), x, gamma, beta, mean, variance), mean, variance)

    def gradient(self, b: Builder, node: Node, *dys: Value | None) -> Gradients:
        dy, dmean, dvariance = dys
        x, gamma, _ = node.operands
        _, mean, variance = node.results
        count = size_as(b, elements_per_channel(x.type), x.type.dtype)
        terms, dgamma, dbeta = [], None, None
        if dy is not None:
            backward = BatchNormTrainBackward(self.epsilon)
            dx, dgamma, dbeta = b.results(backward, x, gamma, mean, variance, dy)
            terms.append(dx)
        if dmean is not None:
            share = write_against(b, b(Div(), dmean, count), x)
            terms.append(b(Expand(x.type.shape), share))
        if dvariance is not None:
            # Through the mean the variance does not change: sum (x - mean) = 0.
            slope = b(Div(), b(Mul(), dvariance, scalar(b, 2, x)), count)
            centred = b(Sub(), x, write_against(b, mean, x))
            terms.append(b(Mul(), centred, write_against(b, slope, x)))
        total = reduce(lambda left, right: b(Add(), left, right), terms) if terms else None
        return (total, dgamma, dbeta)


def moved_statistics(
    b: Builder, trained: Node, running: tuple[Value, Value], share: Value | float
) -> tuple[Value, Value]:
    """Write the running mean and variance as they are after a ``batch_norm_train``.

    running * (1 - share) + batch * share, with the unbiased variance of the batch,
    sum (x - mean)**2 / (M - 1), as in PyTorch. ONNX's momentum is 1 - share.
    """
    x, (_, mean, variance) = trained.operands[0], trained.results

    def moved(old: Value, new: Value) -> Value:
        if isinstance(share, float):
            kept, taken = b(Mul(), old, scalar(b, 1 - share, x)), scalar(b, share, x)
        else:
            kept, taken = b(Mul(), old, b(Sub(), scalar(b, 1, x), share)), share
        return b(Add(), kept, b(Mul(), new, taken))

    count = size_as(b, elements_per_channel(x.type), x.type.dtype)
    bessel = b(Div(), count, b(Sub(), count, scalar(b, 1, x)))
    unbiased = b(Mul(), variance, bessel)
    return moved(running[0], mean), moved(running[1], unbiased)


@register
class BatchNormTrainBackward(BatchNormBase):
    """The gradient of y of batch_norm_train. With s = 1 / sqrt(variance + epsilon),
    x' = (x - mean) * s and M = N*H*W:

    dbeta = sum dy, dgamma = sum dy * x', dx = gamma * s * (dy - (dbeta + x' * dgamma) / M).

    Ioffe and Szegedy 2015, section 3, the chain rule simplified.
    """

    name = "batch_norm_train_backward"
    operands = ("x", "gamma", "mean", "variance", "dy")
    results = ("dx", "dgamma", "dbeta")
    flops_per_element = 9

    def infer(self, x: TensorType, *others: TensorType) -> tuple[TensorType, ...]:
        *channels, dy = others
        self.check_operands(x, *channels)
        if dy != x:
            raise ShapeError(f"{self.name}: x is {x}, dy is {dy}")
        return (x, channels[0], channels[0])

    def reference(
        self, x: Array, gamma: Array, mean: Array, variance: Array, dy: Array
    ) -> tuple[Array, Array, Array]:
        axes = other_axes(x.ndim)
        s = 1 / np.sqrt(against(variance, x) + self.epsilon)
        normal = (x - against(mean, x)) * s
        along = dy * normal
        shared = mean_of(dy, axes, keepdims=True) + normal * mean_of(along, axes, keepdims=True)
        dx = against(gamma, x) * s * (dy - shared)
        return (dx, sum_of(along, axes), sum_of(dy, axes))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, gamma, mean, variance, dy = operands
        axes = other_axes(x.type.rank)
        s = variance_scale(b, variance, self.epsilon)
        centred = b(Sub(), x, write_against(b, mean, x))
        normal = b(Mul(), centred, write_against(b, s, x))
        dbeta, dgamma = b(Sum(axes), dy), b(Sum(axes), b(Mul(), dy, normal))
        count = size_as(b, elements_per_channel(x.type), x.type.dtype)
        along = b(Mul(), normal, write_against(b, b(Div(), dgamma, count), x))
        shared = b(Add(), along, write_against(b, b(Div(), dbeta, count), x))
        scale = write_against(b, b(Mul(), gamma, s), x)
        return (b(Mul(), b(Sub(), dy, shared), scale), dgamma, dbeta)
