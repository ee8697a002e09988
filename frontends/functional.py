"""Layers without parameters: activations, pooling, dropout, shapes. Named as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from ..ir import Array, DType, Op
from ..ir.errors import AttributeMistake, ShapeError, TypeMismatch, located
from ..ir.ops import activation, random
from ..ir.tracebacks import user_facing
from .tensor import Tensor
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
    """Within the block, layers are named below ``name``: ``stage1.conv1``.

    Scopes nest. Names of layers within are counted anew.

    Raises:
        GraphError: the name is taken, or nothing is being traced.
        AttributeMistake: no name at all.

    Examples:
        >>> @cauce.network
        ... def net(x):
        ...     with nn.scope("stage1"):
        ...         return nn.linear(x, 2)
        >>> [value.name for value in net.init(x=("N", 3)).parameters]
        ['stage1.linear1.weight', 'stage1.linear1.bias']
    """
    trace = current()
    trace.layer_path("scope", name)
    return trace.scope(name)


def block(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: every call of the function opens a scope: ``block1``, ``block2``, ...

    The function takes and gives what it likes, tensors among it.

    Raises:
        GraphError: it is called while nothing is being traced.

    Examples:
        >>> @nn.block
        ... def unit(x):
        ...     return nn.relu(nn.linear(x, 2, bias=False))
        >>> net = cauce.network(lambda x: unit(unit(x)))
        >>> [value.name for value in net.init(x=("N", 3)).parameters]
        ['unit1.linear1.weight', 'unit2.linear1.weight']
    """

    @user_facing
    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        trace = current()
        with trace.scope(trace.layer_path(function.__name__, None).rpartition(".")[2]):
            return function(*args, **kwargs)

    return inside


@user_facing
def apply(op: Op, *operands: Tensor, name: str | None = None) -> Tensor:
    """Any op as a layer, one of your own too; gives its first result.

    Shapes and dtypes are those that the op takes and infers.

    Raises:
        GraphError: a wrong number of operands.
        ShapeError, TypeMismatch: operands that the op does not take.

    Examples:
        >>> from cauce.ir.ops.elementwise import Sign
        >>> net = cauce.network(lambda x: nn.apply(Sign(), x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-3, 0, 2]))
        array([-1.,  0.,  1.], dtype=float32)
    """
    return _layer(op.name, name, lambda: op, *operands)


@user_facing
def relu(x: Tensor, *, name: str | None = None) -> Tensor:
    """max(x, 0).

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.relu(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([0., 0., 2.], dtype=float32)
    """
    return _layer("relu", name, activation.Relu, x)


@user_facing
def leaky_relu(x: Tensor, negative_slope: float = 0.01, *, name: str | None = None) -> Tensor:
    """x where positive, else negative_slope * x.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.leaky_relu(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.01,  0.  ,  2.  ], dtype=float32)
    """
    return _layer("leaky_relu", name, lambda: activation.LeakyRelu(negative_slope), x)


@user_facing
def clip(
    x: Tensor, min: float | None = None, max: float | None = None, *, name: str | None = None
) -> Tensor:
    """x held within [min, max].

    x is floating-point, of any shape; the result has both. Where ``min`` or ``max`` is None there
    is no such bound.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: min above max, or NaN as a bound.

    Examples:
        >>> net = cauce.network(lambda x: nn.clip(x, min=0, max=1)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([0., 0., 1.], dtype=float32)
    """
    return _layer("clip", name, lambda: activation.Clip(min, max), x)


@user_facing
def relu6(x: Tensor, *, name: str | None = None) -> Tensor:
    """x held within [0, 6]; the gradient at 0 and at 6 is 0.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.relu6(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 3, 9]))
        array([0., 3., 6.], dtype=float32)
    """
    return _layer("relu6", name, lambda: activation.Clip(0.0, 6.0, open=True), x)


@user_facing
def sigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """1 / (1 + exp(-x)).

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.sigmoid(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-2, 0, 2]))
        array([0.11920292, 0.5       , 0.880797  ], dtype=float32)
    """
    return _layer("sigmoid", name, activation.Sigmoid, x)


@user_facing
def tanh(x: Tensor, *, name: str | None = None) -> Tensor:
    """The hyperbolic tangent.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.tanh(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-2, 0, 2]))
        array([-0.9640276,  0.       ,  0.9640276], dtype=float32)
    """
    return _layer("tanh", name, activation.Tanh, x)


@user_facing
def softmax(x: Tensor, dim: int = -1, *, name: str | None = None) -> Tensor:
    """exp(x) scaled to sum to 1 along ``dim``.

    x is floating-point, of any shape; the result has both. ``dim`` may count from the last.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: x has no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.softmax(x)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2, 3]]))
        array([[0.09003057, 0.24472846, 0.66524094]], dtype=float32)
    """
    return _layer("softmax", name, lambda: activation.Softmax(dim), x)


@user_facing
def log_softmax(x: Tensor, dim: int = -1, *, name: str | None = None) -> Tensor:
    """The logarithm of softmax, computed stably.

    x is floating-point, of any shape; the result has both. ``dim`` may count from the last.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: x has no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.log_softmax(x)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2, 3]]))
        array([[-2.4076061, -1.407606 , -0.407606 ]], dtype=float32)
    """
    return _layer("log_softmax", name, lambda: activation.LogSoftmax(dim), x)


@user_facing
def dropout(x: Tensor, p: float = 0.5, *, name: str | None = None) -> Tensor:
    """In training zero with probability p, else x/(1 - p); in inference x itself.

    x is floating-point, of any shape; the result has both. Each element draws for itself; the draws
    follow from the seed of the training state and the step alone.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: p is not within 0..1.

    Examples:
        >>> net = cauce.network(lambda x: nn.dropout(x, 0.5)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2, 3]]))
        array([[1., 2., 3.]], dtype=float32)
        >>> [node.op.name for node in net.training_graph.nodes]
        ['constant', 'add', 'random_uniform', 'dropout']
    """
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

    Examples:
        >>> net = cauce.network(lambda x: nn.normalize(x, mean=0.5, std=0.25))
        >>> model = net.init(x=("N", 1, 1, 2), dtype="u8")
        >>> cauce.compile(model, "numpy")(np.uint8([[[[0, 255]]]]))
        array([[[[-2.,  2.]]]], dtype=float32)
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
