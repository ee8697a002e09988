"""Trigonometric and hyperbolic functions in native code, held against extended precision."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, DType, Graph, TensorType, registry, symbol
from cauce.ir.ops import trigonometry

from .test_transcendental import TARGETS, TYPES, each_dtype, each_target, known_better, units

# In units in the last place of f64, with some room above the greatest ever found.
WORST = {"sin": 0.8, "cos": 0.8, "tan": 2.5, "asin": 3.0, "acos": 3.0, "atan": 2.0}
WORST |= {"sinh": 3.0, "cosh": 3.5, "asinh": 3.0, "acosh": 3.0, "atanh": 3.0}
# The f64 that lies nearest to a multiple of pi/2: 2**-61 beside it.
NEAREST = 6381956970095103 * 2.0**797

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@functools.cache
def compiled(dtype: str, target: str) -> Executable:
    """All of the functions as native code."""
    graph = Graph("functions")
    x = graph.add_input("x", TensorType(DType.of(dtype), (symbol("N"),)))
    graph.outputs = {name: Builder(graph)(registry()[name](), x) for name in WORST}
    return Executable(compile_program(graph, target=Target.host(target), threads=1))


def native(x: Array, target: str = TARGETS[0]) -> dict[str, Array]:
    dtype = "f32" if x.dtype == np.float32 else "f64"
    return dict(zip(WORST, compiled(dtype, target)(x)))


def exact(name: str, x: Array) -> Array:
    function = registry()[name].function  # type: ignore[attr-defined]
    found: Array = function(x.astype(np.longdouble))
    return found


def numbers(dtype: str) -> Array:
    """Of any size, about 1, near multiples of pi/2."""
    rng, count = np.random.default_rng(0), 5000
    kind = np.uint32 if dtype == "f32" else np.uint64
    any_ = rng.integers(0, np.iinfo(kind).max, 4 * count, kind).view(TYPES[dtype])
    great = 38 if dtype == "f32" else 308
    near = np.concatenate(
        [
            rng.normal(0, 3, count),
            rng.uniform(-1, 1, count),
            1 - 10.0 ** rng.uniform(-16, 0, count),
            1 + 10.0 ** rng.uniform(-16, 3, count),
            np.arange(-count, count) * (np.pi / 2),
            10.0 ** rng.uniform(-great, great, count),
            [2.0**22 - 1, 2.0**22, 2.0**22 + 1],
        ]
    )
    return np.concatenate([near.astype(TYPES[dtype]), any_])


@known_better
@each_target
@each_dtype
def test_errors_are_small_everywhere(dtype: str, target: str) -> None:
    x = numbers(dtype)
    if dtype == "f64":
        x = np.append(x, [NEAREST, -NEAREST])
    for name, found in native(x, target).items():
        error = units(found, exact(name, x))
        worst = int(error.argmax())
        bound = WORST[name] if dtype == "f64" else 0.51
        assert error[worst] <= bound, (name, error[worst], x[worst])


@each_target
@each_dtype
def test_special_values(dtype: str, target: str) -> None:
    """What is exact, signs of zeros included."""
    x = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0], TYPES[dtype])
    for name, found in native(x, target).items():
        wanted = exact(name, x).astype(TYPES[dtype])
        special = ~np.isfinite(wanted) | (wanted == 0) | (wanted == 1)
        np.testing.assert_array_equal(found[special], wanted[special], name)
        zero = wanted == 0
        np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(wanted[zero]), name)


@each_dtype
def test_bits_depend_neither_on_length_nor_on_place(dtype: str) -> None:
    """Great angles, which are reduced one by one, stand among others."""
    x = numbers(dtype)[::997].copy()[:40]
    whole = native(x)
    for start in (0, 1, 17):
        for name, part in native(x[start:].copy()).items():
            np.testing.assert_array_equal(part, whole[name][start:], name)


def test_all_of_them_are_held() -> None:
    family = {op.name for op in registry().values() if op.__module__ == trigonometry.__name__}
    assert family == set(WORST)
