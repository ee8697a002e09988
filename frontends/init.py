"""How parameters get their first values."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING

import numpy as np

from ..ir import Array, DType, TensorType
from ..ir.dims import is_int
from ..ir.errors import AttributeMistake, ShapeError, shown
from ..ir.types import cast

if TYPE_CHECKING:
    from .tracing import Initializer


def constant(value: float) -> Initializer:
    """Every element ``value``.

    It makes float64 of any shape, which becomes the dtype of the parameter.

    Examples:
        >>> nn.init.constant(0.25)((2,), np.random.default_rng(0))
        array([0.25, 0.25])
    """
    return lambda shape, rng: np.full(shape, value)


zeros = constant(0.0)
ones = constant(1.0)


def uniform(bound: float) -> Initializer:
    """Uniform in [-bound, bound).

    It makes float64 of any shape, which becomes the dtype of the parameter. ``bound`` is at least
    0.

    Examples:
        >>> nn.init.uniform(0.5)((2,), np.random.default_rng(0)).round(3)
        array([ 0.137, -0.23 ])
    """
    return lambda shape, rng: rng.uniform(-bound, bound, shape)


def normal(std: float) -> Initializer:
    """Normal with mean 0.

    It makes float64 of any shape, with the standard deviation ``std``; it becomes the dtype of the
    parameter.

    Examples:
        >>> nn.init.normal(0.01)((2,), np.random.default_rng(0)).round(4)
        array([ 0.0013, -0.0013])
    """
    return lambda shape, rng: rng.normal(0.0, std, shape)


def fan_in(shape: tuple[int, ...]) -> int:
    """How many inputs each output of a weight [out, in, ...] sums over.

    ``shape`` is that of the weight, the result an int.

    Examples:
        >>> nn.init.fan_in((16, 3, 5, 5))
        75
    """
    return math.prod(shape[1:])


def fan_out(shape: tuple[int, ...]) -> int:
    """How many outputs each input of a weight [out, in, ...] goes to.

    ``shape`` is that of the weight, the result an int.

    Examples:
        >>> nn.init.fan_out((16, 3, 5, 5))
        400
    """
    return shape[0] * math.prod(shape[2:])


def default_weight(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """PyTorch's default for convolution and linear: uniform within 1/sqrt(fan_in).

    ``shape`` is that of a weight [out, in, ...], ``rng`` the generator of the parameter's own
    numbers. The result is float64, and becomes the dtype of the parameter.

    Examples:
        >>> nn.init.default_weight((16, 4), np.random.default_rng(0)).std().round(3)
        np.float64(0.295)
    """
    return uniform(1 / math.sqrt(fan_in(shape)))(shape, rng)


def kaiming_normal(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Normal with variance 2/fan_in, for layers followed by relu (He et al. 2015, eq. 10).

    ``shape`` is that of a weight [out, in, ...], ``rng`` the generator of the parameter's own
    numbers. The result is float64, and becomes the dtype of the parameter.

    Examples:
        >>> nn.init.kaiming_normal((16, 4), np.random.default_rng(0)).std().round(3)
        np.float64(0.645)
    """
    return rng.normal(0.0, math.sqrt(2 / fan_in(shape)), shape)


def kaiming_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Uniform with variance 2/fan_in, the uniform form of :func:`kaiming_normal`.

    ``shape`` is that of a weight [out, in, ...], ``rng`` the generator of the parameter's own
    numbers. The result is float64, and becomes the dtype of the parameter.

    Examples:
        >>> nn.init.kaiming_uniform((16, 4), np.random.default_rng(0)).std().round(3)
        np.float64(0.722)
    """
    return uniform(math.sqrt(6 / fan_in(shape)))(shape, rng)


def kaiming_normal_fan_out(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Normal with variance 2/fan_out (He et al. 2015, eq. 14), torchvision's for its resnets.

    ``shape`` is that of a weight [out, in, ...], ``rng`` the generator of the parameter's own
    numbers. The result is float64, and becomes the dtype of the parameter.

    Examples:
        >>> nn.init.kaiming_normal_fan_out((16, 4), np.random.default_rng(0)).std().round(3)
        np.float64(0.322)
    """
    return rng.normal(0.0, math.sqrt(2 / fan_out(shape)), shape)


def xavier_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Uniform within sqrt(6/(fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16).

    ``shape`` is that of a weight [out, in, ...], ``rng`` the generator of the parameter's own
    numbers. The result is float64, and becomes the dtype of the parameter.

    Examples:
        >>> nn.init.xavier_uniform((16, 4), np.random.default_rng(0)).std().round(3)
        np.float64(0.323)
    """
    return uniform(math.sqrt(6 / (fan_in(shape) + fan_out(shape))))(shape, rng)


def initial_values(
    initializers: dict[str, tuple[TensorType, Initializer]], seed: int
) -> dict[str, Array]:
    """The first value of every parameter: its random numbers depend on seed and name only.

    ``initializers`` gives for each name its type and what makes its values, ``seed`` is at least 0.

    Raises:
        AttributeMistake: a seed that is none, or first values that the dtype does not hold.
        ShapeError: an initializer whose result has another shape.

    Examples:
        >>> from cauce.ir import TensorType
        >>> nn.init.initial_values({"scale": (TensorType.make("f32", (2,)), nn.init.ones)}, seed=0)
        {'scale': array([1., 1.], dtype=float32)}
    """
    if not is_int(seed) or seed < 0:
        raise AttributeMistake(
            f"a seed is an int of at least 0, got {shown(seed)}", fix="write for example seed=0"
        )
    seed = operator.index(seed)
    values = {}
    for name, (type_, initializer) in initializers.items():
        rng = np.random.default_rng([seed, *name.encode()])
        shape = tuple(dim for dim in type_.shape if isinstance(dim, int))
        array = np.asarray(initializer(shape, rng))
        if array.shape != shape:
            raise ShapeError(
                f"the first values of {name} should have shape {shape}, they have {array.shape}",
                fix="let the initializer make an array of the shape that it is given",
            )
        values[name] = converted(name, array, type_.dtype)
    return values


def converted(name: str, array: Array, dtype: DType) -> Array:
    """A new array with the values of a parameter in its dtype.

    ``array`` is of any shape and dtype, ``name`` what the error calls it.

    Raises:
        AttributeMistake: a value that it does not hold, which would become infinite or another.

    Examples:
        >>> from cauce.ir import DType
        >>> nn.init.converted("scale", np.array([1.5]), DType.F32)
        array([1.5], dtype=float32)
    """
    result, lost = cast(array, dtype)
    if lost.any():
        raise AttributeMistake(
            f"{name} is {dtype}, which does not hold {lost.sum()} of the {lost.size} values given: "
            f"{array[lost][0]} would become {result[lost][0]}",
            fix="give values within the range of the dtype, or np.clip(array, least, greatest)",
        )
    return result
