"""exp, log, tanh, the sigmoid, powers and the error function in native code, held against extended
precision (the error function against Python's, in f64)."""

from __future__ import annotations

import functools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cauce
from cauce.backends.executable import Executable
from cauce.backends.llvm.codegen.code import STORED
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, DType, Graph, Op, TensorType, Value, symbol
from cauce.ir.errors import AttributeMistake
from cauce.ir.op import registry
from cauce.ir.ops import (
    activation,
    elementwise,
    error_function,
    integers,
    linear_units,
    rounding,
    trigonometry,
)

# In units in the last place, with some room above the greatest ever found.
WORST = {
    "exp": 1.2,
    "log": 1.0,
    "tanh": 3.0,
    "sigmoid": 3.0,
    "pow": 1.0,
    "erf": 2.0,
    "erfc": 8.0,
}
TYPES = {"f32": np.float32, "f64": np.float64}

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
each_dtype = pytest.mark.parametrize("dtype", TYPES)
each_op = pytest.mark.parametrize("op", WORST)
# Without extended precision there is nothing to hold f64 against.
known_better = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="longdouble is no more than float64 here"
)


def _has(limit: str) -> bool:
    try:
        return bool(Target.host(limit))
    except AttributeMistake:
        return False


TARGETS = [name for name in ("avx512", "avx2", "sse2", "neon", "scalar") if _has(name)]
each_target = pytest.mark.parametrize("target", TARGETS)


@functools.cache
def compiled(op: str, dtype: str, target: str) -> Executable:
    """One op as native code of one thread."""
    names = ["%x", "%y"] if op == "pow" else ["%x"]
    inputs = ", ".join(f"{name}: {dtype}[N]" for name in names)
    body = f"%z = {op}({', '.join(names)}) : {dtype}[N]"
    graph = cauce.parse(f"graph g({inputs}) -> {dtype}[N] {{\n  {body}\n  return %z\n}}")
    return Executable(compile_program(graph, target=Target.host(target), threads=1))


def native(op: str, *arrays: Array, target: str = TARGETS[0]) -> Array:
    dtype = "f32" if arrays[0].dtype == np.float32 else "f64"
    result = compiled(op, dtype, target)(*arrays)
    assert isinstance(result, np.ndarray)
    return result


def wanted(op: str, x: Array, y: Array | None = None) -> Array:
    """The result in extended precision."""
    x = x.astype(np.longdouble)
    if op == "pow":
        assert y is not None
        return np.power(x, y.astype(np.longdouble))
    if op == "sigmoid":
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, small) / (1 + small)
    if op in ("erf", "erfc"):
        exact = np.frompyfunc(getattr(math, op), 1, 1)(x.astype(np.float64))
        return np.asarray(exact).astype(np.longdouble)
    return {"exp": np.exp, "log": np.log, "tanh": np.tanh}[op](x)


def units(result: Array, exact: Array) -> Array:
    """The error in units in the last place that the exact result has in the result's format.

    Infinity counts as the number after the greatest; equal infinities and NaNs are no error.
    """
    info = np.finfo(result.dtype)
    beyond = np.longdouble(2) ** int(info.maxexp)
    result, exact = result.astype(np.longdouble), exact.copy()
    for array in (result, exact):
        array[...] = np.where(np.abs(array) > beyond, np.sign(array) * beyond, array)
    exponents = np.frexp(exact)[1].astype(np.int64)
    exponents = np.clip(exponents, info.minexp + 1, info.maxexp) - 1 - info.nmant
    error = np.abs(result - exact) / np.ldexp(np.longdouble(1), exponents)
    error = np.where(result == exact, 0, error)
    same = np.isnan(result) & np.isnan(exact)
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


def assert_near(op: str, *arrays: Array, target: str = TARGETS[0]) -> None:
    error = units(native(op, *arrays, target=target), wanted(op, *arrays))
    worst = int(error.argmax())
    assert error[worst] <= WORST[op], (error[worst], *(array[worst] for array in arrays))


def random_bits(rng: np.random.Generator, dtype: str, count: int) -> Array:
    """Numbers of any size and kind."""
    kind = np.uint32 if dtype == "f32" else np.uint64
    return rng.integers(0, np.iinfo(kind).max, count, kind, endpoint=True).view(TYPES[dtype])


def exponents(dtype: str) -> tuple[float, float]:
    """From somewhat below where e**x vanishes to somewhat above where it overflows."""
    return (-105, 90) if dtype == "f32" else (-747, 712)


@known_better
@each_target
@each_dtype
@each_op
def test_errors_are_small_everywhere(op: str, dtype: str, target: str) -> None:
    rng = np.random.default_rng(0)
    bounds, count = exponents(dtype), 20_000
    x = np.concatenate(
        [
            rng.uniform(*bounds, count),
            rng.uniform(-20, 20, count),
            rng.uniform(-1, 1, count),
            rng.uniform(0.5, 2, count),
            1 + rng.normal(0, 1e-3, count),
            np.exp(rng.uniform(*bounds, count)),
            -np.exp(rng.uniform(*bounds, count)),
        ]
    ).astype(TYPES[dtype])
    x = np.concatenate([x, random_bits(rng, dtype, count)])
    if op != "pow":
        assert_near(op, x, target=target)
        return
    # Exponents that make the most of the range of results, whole ones, common ones, any.
    filling = (rng.uniform(*bounds, x.size) / np.log(np.abs(x))).astype(x.dtype)
    whole = np.rint(rng.uniform(-30, 30, x.size)).astype(x.dtype)
    common = rng.choice([2, 3, 0.5, -0.5, -1, -2, 1, 10], x.size).astype(x.dtype)
    for y in (filling, whole, common, random_bits(rng, dtype, x.size)):
        assert_near(op, x, y, target=target)


@known_better
@each_dtype
@each_op
def test_errors_are_small_for_any_number(op: str, dtype: str) -> None:
    numbers = st.floats(width=32) if dtype == "f32" else st.floats()
    near = st.floats(-32, 32, width=32)

    @given(st.lists(st.tuples(numbers | near, numbers | near), min_size=1, max_size=40))
    def check(pairs: list[tuple[float, float]]) -> None:
        x, y = np.array(pairs, TYPES[dtype]).T.copy()
        assert_near(op, *((x, y) if op == "pow" else (x,)))

    check()


@each_target
@each_dtype
def test_special_values(dtype: str, target: str) -> None:
    kind = TYPES[dtype]
    info, inf, nan = np.finfo(kind), np.inf, np.nan
    tiny = info.smallest_subnormal
    cases = {
        "exp": ([0, -0.0, inf, -inf, nan, info.max, -info.max], [1, 1, inf, 0, nan, inf, 0]),
        "log": ([0, -0.0, 1, inf, -inf, nan, -tiny], [-inf, -inf, 0, inf, nan, nan, nan]),
        "tanh": ([0, -0.0, inf, -inf, nan, tiny, -50], [0, -0.0, 1, -1, nan, tiny, -1]),
        "sigmoid": ([0, -0.0, inf, -inf, nan, info.max, -info.max], [0.5, 0.5, 1, 0, nan, 1, 0]),
        "erf": ([0, -0.0, inf, -inf, nan, info.max, -50], [0, -0.0, 1, -1, nan, 1, -1]),
        "erfc": ([0, -0.0, inf, -inf, nan, info.max, -info.max], [1, 1, 0, 2, nan, 0, 2]),
    }
    for op, (arguments, results) in cases.items():
        found = native(op, np.array(arguments, kind), target=target)
        np.testing.assert_array_equal(found, np.array(results, kind), op)
        np.testing.assert_array_equal(np.signbit(found)[:2], np.signbit(results)[:2], op)
    for size in (info.tiny, 3 * tiny, kind(1e-9)):
        assert native("tanh", np.array([size]), target=target)[0] == size


@each_target
@each_dtype
def test_special_powers(dtype: str, target: str) -> None:
    """Signs included; the powers of negative numbers with every kind of exponent."""
    kind = TYPES[dtype]
    info = np.finfo(kind)
    half = 2.0**info.nmant  # from here on all numbers are integers, from twice that even ones
    sizes = [0, 0.5, 1, 2, 2.5, 3, half - 0.5, half + 1, 2 * half, info.max, np.inf, np.nan]
    numbers = np.array([*sizes, *(-size for size in sizes), info.smallest_subnormal], kind)
    x, y = (array.ravel() for array in np.meshgrid(numbers, numbers, indexing="ij"))
    found, expected = native("pow", x, y, target=target), np.power(x, y)
    np.testing.assert_allclose(found, expected, rtol=4 * info.eps)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(expected)[known])


@each_target
@each_dtype
def test_powers_that_are_numbers_are_exact(dtype: str, target: str) -> None:
    kind = TYPES[dtype]
    base = np.arange(1, 162, dtype=kind)
    for exponent in (1, 2, 3):
        found = native("pow", base, np.full_like(base, exponent), target=target)
        np.testing.assert_array_equal(found, base**exponent)
    squares = base * base
    found = native("pow", squares, np.full_like(base, 0.5), target=target)
    np.testing.assert_array_equal(found, base)


@each_dtype
def test_exp_falls_to_0_without_a_step_up(dtype: str) -> None:
    least, most = exponents(dtype)
    x = np.linspace(least, most, 200_000, dtype=TYPES[dtype])
    y = native("exp", x)
    assert y[0] == 0 and y[-1] == np.inf and np.all(np.diff(y[np.isfinite(y)]) >= 0)


@each_target
@each_dtype
@each_op
def test_bits_depend_neither_on_length_nor_on_place(op: str, dtype: str, target: str) -> None:
    rng = np.random.default_rng(1)
    normal = rng.normal(0, 3, (2, 40)).astype(TYPES[dtype])
    normal[:, ::9] = random_bits(rng, dtype, normal[:, ::9].size).reshape(2, -1)
    if op == "pow":
        normal[0] = np.abs(normal[0])
    arrays = normal[: 2 if op == "pow" else 1]
    whole = native(op, *arrays, target=target)
    for length in range(1, 41):
        for start in (0, 40 - length):
            part = native(op, *(a[start : start + length].copy() for a in arrays), target=target)
            # NaN may have any bits.
            same = part.view(np.uint8) == whole[start : start + length].view(np.uint8)
            assert np.all(same.reshape(length, -1).all(1) | np.isnan(part))


def every_elementwise(dtype: DType) -> Graph:
    """All elementwise ops on numbers of a dtype, conversions to and from every other included."""
    graph = Graph("all")
    shape = (symbol("N"),)
    x, y = (graph.add_input(name, TensorType(dtype, shape)) for name in "xy")
    b = Builder(graph)
    mask = b(elementwise.Less(), x, y)
    special: dict[type[Op], list[Value]] = {
        elementwise.LogicalAnd: [b(elementwise.LogicalAnd(), mask, mask)],
        elementwise.LogicalXor: [b(elementwise.LogicalXor(), mask, mask)],
        elementwise.LogicalOr: [b(elementwise.LogicalOr(), mask, mask)],
        elementwise.LogicalNot: [b(elementwise.LogicalNot(), mask)],
        elementwise.Where: [b(elementwise.Where(), mask, x, y)],
        activation.Clip: [b(activation.Clip(min=-1.0, max=1.0), x)],
        elementwise.Cast: [
            b(elementwise.Cast(to=dtype), b(elementwise.Cast(to=other), x))
            for other in STORED
            if other is not dtype
        ],
    }
    families = (elementwise, activation, error_function, linear_units, rounding, trigonometry)
    modules = tuple(family.__name__ for family in families)
    special |= {op: [b(op(), x, y)] for op in (integers.Remainder, integers.Fmod)}
    for op in registry().values():
        if op.elementwise and op.__module__ in modules and op not in special:
            special[op] = [b(op(), *(x, y)[: len(op.operands)])]
    graph.outputs = {value.name: value for values in special.values() for value in values}
    return graph


@each_target
@each_dtype
def test_native_code_calls_no_library_for_arithmetic(dtype: str, target: str) -> None:
    known = next(known for known in STORED if str(known) == dtype)
    program = compile_program(every_elementwise(known), target=Target.host(target))
    text = program.code("assembly")
    labels = set(re.findall(r"^([\w.$]+):", text, re.MULTILINE))
    called = set(re.findall(r"^\s+(?:callq?|jmpq?|bl?)\s+([A-Za-z_][\w.$]*)", text, re.MULTILINE))
    system = {"sched_yield", "usleep", "syscall", "clock_gettime"}
    assert "sched_yield" in called  # calls are found
    assert called - labels <= system | {"memset", "memcpy"}


@known_better
def test_powers_of_what_is_nearly_1() -> None:
    x = 1 + np.array([-2, -1, 1, 2, 3]) * 2.0**-53 * np.array([1, 1, 2, 2, 2])
    for exponent in range(38, 64):
        for sign in (1, -1):
            assert_near("pow", x, np.full_like(x, sign * 2.0**exponent))
