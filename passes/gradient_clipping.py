"""Gradient clipping: how gradients are held within bounds before the optimiser's update."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from ..ir import Builder, DType, Value
from ..ir.attributes import real
from ..ir.errors import AttributeMistake, shown
from ..ir.ops.activation import Clip
from ..ir.ops.constant import scalar
from ..ir.ops.elementwise import Add, Cast, Div, Minimum, Mul, Sqrt
from ..ir.ops.reduce import Sum
from ..ir.tracebacks import user_facing

# What PyTorch adds to the norm before it divides by it.
EPSILON = 1e-6


class GradientClipping(ABC):
    """Base of the ways to clip gradients, which keep their shapes and dtypes.

    Examples:
        >>> from cauce.ir import Builder, TensorType
        >>> graph = cauce.Graph("g")
        >>> g = graph.add_input("g", TensorType.make("f32", (3,)))
        >>> [str(value.type) for value in cauce.ClipNorm(1.0).apply(Builder(graph), [g])]
        ['f32[3]']
    """

    @abstractmethod
    def apply(self, b: Builder, gradients: Sequence[Value]) -> list[Value]:
        """Write the clipped gradients, with the types of the given ones."""


@user_facing
@dataclass(frozen=True)
class ClipNorm(GradientClipping):
    """Scale all gradients by min(1, max_norm/(norm + 1e-6)), with the norm over all of them.

    norm = sqrt(sum of g**2 over every element of every gradient), computed in f32 at least. As
    ``torch.nn.utils.clip_grad_norm_``; Pascanu et al. 2013, "On the difficulty of training
    recurrent neural networks", algorithm 1. A gradient that is NaN makes all of them NaN.

    Gradients keep their shapes and dtypes.

    Raises:
        AttributeMistake: a bound that is not positive.

    Examples:
        >>> sgd, clip = cauce.SGD(1.0), cauce.ClipNorm(0.5)
        >>> model = cauce.network(lambda x: nn.linear(x, 1, bias=False, name="fc")).init(x=("N", 1))
        >>> model.load_state_dict({"fc.weight": np.ones((1, 1), np.float32)})
        >>> step = cauce.train_step(model, "mse_loss", sgd, clip=clip, backend="numpy")
        >>> state = step(step.init(), (np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)))
        >>> state.read()["fc.weight"]
        array([[0.50000024]], dtype=float32)
    """

    max_norm: float

    def __post_init__(self) -> None:
        _check_bound(self, "max_norm")

    def apply(self, b: Builder, gradients: Sequence[Value]) -> list[Value]:
        wide = DType.F64 if any(g.type.dtype is DType.F64 for g in gradients) else DType.F32
        squares = []
        for gradient in gradients:
            beside = _beside(b, gradient)
            g = _cast(beside, gradient, wide)
            squares.append(beside(Sum(), beside(Mul(), g, g)))
        norm = b(Sqrt(), reduce(lambda x, y: b(Add(), x, y), squares))
        ratio = b(Div(), scalar(b, self.max_norm, wide), b(Add(), norm, scalar(b, EPSILON, wide)))
        factor = b(Minimum(), ratio, scalar(b, 1.0, wide))
        return [_beside(b, g)(Mul(), g, _cast(b, factor, g.type.dtype)) for g in gradients]


@user_facing
@dataclass(frozen=True)
class ClipValue(GradientClipping):
    """Hold every element within [-limit, limit], as ``torch.nn.utils.clip_grad_value_``.

    Gradients keep their shapes and dtypes.

    Raises:
        AttributeMistake: a bound that is not positive.

    Examples:
        >>> sgd, clip = cauce.SGD(1.0), cauce.ClipValue(0.5)
        >>> model = cauce.network(lambda x: nn.linear(x, 1, bias=False, name="fc")).init(x=("N", 1))
        >>> model.load_state_dict({"fc.weight": np.ones((1, 1), np.float32)})
        >>> step = cauce.train_step(model, "mse_loss", sgd, clip=clip, backend="numpy")
        >>> state = step(step.init(), (np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)))
        >>> state.read()["fc.weight"]
        array([[0.5]], dtype=float32)
    """

    limit: float

    def __post_init__(self) -> None:
        _check_bound(self, "limit")

    def apply(self, b: Builder, gradients: Sequence[Value]) -> list[Value]:
        clip = Clip(-self.limit, self.limit)
        return [_beside(b, gradient)(clip, gradient) for gradient in gradients]


def _beside(b: Builder, value: Value) -> Builder:
    """A builder whose nodes carry the path and the location of ``value``."""
    return Builder(b.graph, before=b.before, path=value.path, suffix=b.suffix, loc=value.loc)


def _cast(b: Builder, value: Value, dtype: DType) -> Value:
    return value if value.type.dtype is dtype else b(Cast(dtype), value)


def _check_bound(clip: GradientClipping, name: str) -> None:
    given = getattr(clip, name)
    bound = real(given)
    if bound is None or not 0 < bound < math.inf:
        raise AttributeMistake(
            f"{type(clip).__name__}: {name} must be a positive number, got {shown(given)}",
            fix="pass for example 1.0, or leave clipping out",
        )
    object.__setattr__(clip, name, bound)
