"""Layers without parameters: activations, pooling, dropout, shapes. Named as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from ..ir import Array, DType, Op
from ..ir.attributes import positive
from ..ir.errors import AttributeMistake, ShapeError, TypeMismatch, located, need, shown
from ..ir.location import here
from ..ir.ops import activation, elementwise, random
from ..ir.ops import shape as shape_ops
from ..ir.tracebacks import user_facing
from .tensor import Number, Size, Tensor
from .tracing import current

P = ParamSpec("P")
T = TypeVar("T")
IntPair = int | Sequence[int]
OutputSize = int | None | Sequence[int | None]
Borders = int | Sequence[int] | Sequence[Sequence[int]]


def _layer(kind: str, name: str | None, make: Callable[[], Op], *operands: Tensor) -> Tensor:
    """Write one op as a layer with a name; mistakes in its attributes show the user's line."""
    trace = current()
    path = trace.layer_path(kind, name)
    with located(path):
        op = make()
    return trace.emit(op, *operands, path=path)


@user_facing
def scope(name: str) -> AbstractContextManager[None]:
    """Within the block, layers are named below ``name``: ``stage1.conv1``."""
    trace = current()
    trace.layer_path("scope", name)
    return trace.scope(name)


def block(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: every call of the function opens a scope: ``block1``, ``block2``, ..."""

    @user_facing
    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        trace = current()
        with trace.scope(trace.layer_path(function.__name__, None).rpartition(".")[2]):
            return function(*args, **kwargs)

    return inside


@user_facing
def apply(op: Op, *operands: Tensor, name: str | None = None) -> Tensor:
    """Any op as a layer, one of your own too; gives its first result."""
    return _layer(op.name, name, lambda: op, *operands)


@user_facing
def relu(x: Tensor, *, name: str | None = None) -> Tensor:
    """max(x, 0)."""
    return _layer("relu", name, activation.Relu, x)


@user_facing
def leaky_relu(x: Tensor, negative_slope: float = 0.01, *, name: str | None = None) -> Tensor:
    """x where positive, else negative_slope * x."""
    return _layer("leaky_relu", name, lambda: activation.LeakyRelu(negative_slope), x)


@user_facing
def clip(
    x: Tensor, min: float | None = None, max: float | None = None, *, name: str | None = None
) -> Tensor:
    """x held within [min, max]."""
    return _layer("clip", name, lambda: activation.Clip(min, max), x)


@user_facing
def relu6(x: Tensor, *, name: str | None = None) -> Tensor:
    """x held within [0, 6]; the gradient at 0 and at 6 is 0."""
    return _layer("relu6", name, lambda: activation.Clip(0.0, 6.0, open=True), x)


@user_facing
def sigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _layer("sigmoid", name, activation.Sigmoid, x)


@user_facing
def tanh(x: Tensor, *, name: str | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return _layer("tanh", name, activation.Tanh, x)


@user_facing
def softmax(x: Tensor, dim: int = -1, *, name: str | None = None) -> Tensor:
    """exp(x) scaled to sum to 1 along ``dim``."""
    return _layer("softmax", name, lambda: activation.Softmax(dim), x)


@user_facing
def log_softmax(x: Tensor, dim: int = -1, *, name: str | None = None) -> Tensor:
    """The logarithm of softmax, computed stably."""
    return _layer("log_softmax", name, lambda: activation.LogSoftmax(dim), x)


@user_facing
def dropout(x: Tensor, p: float = 0.5, *, name: str | None = None) -> Tensor:
    """In training zero with probability p, else x/(1 - p); in inference x itself."""
    trace = current()
    path = trace.layer_path("dropout", name)
    stream = trace.next_stream()
    with located(path):
        op = random.Dropout(p)
    if not trace.training:
        return x
    draw = random.RandomUniform(x.shape, stream, DType.F64 if x.dtype is DType.F64 else DType.F32)
    return trace.emit(op, x, trace.emit(draw, trace.random_key(), path=path), path=path)


@user_facing
def normalize(
    x: Tensor,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    dtype: object = "f32",
    *,
    name: str | None = None,
) -> Tensor:
    """(x - mean)/std for each channel of x [N, C, ...]; u8 pixels are scaled to 0..1 first.

    With it as the first layer a network takes images as they are stored, and is fed the same way
    wherever it runs. ``mean`` and ``std`` are those of torchvision's ``Normalize``, of pixels from
    0 to 1; ``Dataset.channel_statistics`` measures them.

    Args:
        x: u8, or floating-point, which is not scaled.
        mean: one number, or one for each channel.
        std: likewise.
        dtype: of the result, where x is u8.
        name: the layer's name.

    Raises:
        TypeMismatch: x of another dtype.
        ShapeError: other than C numbers.
        AttributeMistake: a std that is not positive.
    """
    trace = current()
    path = trace.layer_path("normalize", name)
    with located(path):
        _check_normalize(x, np.asarray(mean), np.asarray(std))
    scale = 255.0 if x.dtype is DType.U8 else 1.0

    def per_channel(numbers: float | Sequence[float]) -> Tensor:
        scaled = scale * np.asarray(numbers, np.float64)
        column = scaled.reshape(-1, *(1,) * (x.ndim - 2)) if scaled.ndim else scaled
        return trace.constant(column, pixels.dtype)

    with trace.at(path):
        pixels = x.cast(dtype) if x.dtype is DType.U8 else x
        return (pixels - per_channel(mean)) / per_channel(std)


def _check_normalize(x: Tensor, mean: Array, std: Array) -> None:
    if not (x.dtype is DType.U8 or x.dtype.is_float):
        raise TypeMismatch(
            f"normalize takes u8 or floating-point pixels, got {x.type}",
            fix="convert the images first: x.cast('f32')",
        )
    for name, numbers in (("mean", mean), ("std", std)):
        if numbers.ndim and (x.ndim < 2 or numbers.shape != (x.shape[1],)):
            raise ShapeError(
                f"normalize: {name} has shape {numbers.shape}, but the input is {x.type}",
                fix="give one number, or one for each channel (dimension 1)",
            )
    if not np.all(std > 0):
        raise AttributeMistake(
            f"normalize divides by std, got {std}", fix="give positive numbers; 1 changes nothing"
        )


@user_facing
def flatten(x: Tensor, start_dim: int = 1, end_dim: int = -1, *, name: str | None = None) -> Tensor:
    """Dimensions start_dim to end_dim made one: [N, C, H, W] becomes [N, C*H*W]."""
    return _layer("flatten", name, lambda: shape_ops.Flatten(start_dim, end_dim), x)


@user_facing
def concat(tensors: Sequence[Tensor], dim: int = 1, *, name: str | None = None) -> Tensor:
    """The tensors side by side along ``dim``, by default the channels."""
    need(tensors, (list, tuple), "concat takes a list of tensors", "write concat([a, b])")
    if not tensors:
        raise AttributeMistake("concat of no tensors", fix="give at least one: concat([a, b])")
    return _layer("concat", name, lambda: shape_ops.Concat(dim), *tensors)


@user_facing
def flip(x: Tensor, dims: int | Sequence[int], *, name: str | None = None) -> Tensor:
    """The elements in reverse order along these dimensions, as ``torch.flip``."""
    return _layer("flip", name, lambda: shape_ops.Flip(dims), x)  # type: ignore[arg-type]


@user_facing
def where(condition: Tensor, x: Tensor | Number, y: Tensor | Number) -> Tensor:
    """x where the condition holds, else y; one of them may be a number."""
    fix = "write condition.cast('f32') * (x - y) + y for two numbers"
    return current().emit(elementwise.Where(), condition, *_pair("where", x, y, fix))


@user_facing
def maximum(x: Tensor | Number, y: Tensor | Number) -> Tensor:
    """The greater of two tensors, element by element; one of them may be a number."""
    return current().emit(elementwise.Maximum(), *_pair("maximum", x, y, "use Python's max"))


@user_facing
def minimum(x: Tensor | Number, y: Tensor | Number) -> Tensor:
    """The lesser of two tensors, element by element; one of them may be a number."""
    return current().emit(elementwise.Minimum(), *_pair("minimum", x, y, "use Python's min"))


def _pair(layer: str, x: Tensor | Number, y: Tensor | Number, fix: str) -> tuple[Tensor, Tensor]:
    """Two tensors of two operands, at least one of which is a tensor."""
    if isinstance(x, Tensor):
        return x, x._operand(y)
    if isinstance(y, Tensor):
        return y._operand(x), y
    raise AttributeMistake(
        f"{layer}: x or y must be a tensor, got {shown(x)} and {shown(y)}", fix=fix, loc=here()
    )


@user_facing
def gather(x: Tensor, indices: Tensor, dim: int = 0) -> Tensor:
    """Rows of x along ``dim`` chosen by integer indices, as ``numpy.take``."""
    return current().emit(shape_ops.Gather(dim), x, indices)


@user_facing
def one_hot(indices: Tensor, num_classes: int, dtype: object = "f32") -> Tensor:
    """1 at the place of each index along a new last dimension, else 0."""
    depth = positive(num_classes, "num_classes")
    return current().emit(shape_ops.OneHot(depth, dtype), indices)  # type: ignore[arg-type]


@user_facing
def reshape(x: Tensor, shape: Sequence[Size]) -> Tensor:
    """The elements in another shape; one -1 stands for what is left over."""
    return x.reshape(tuple(shape))
