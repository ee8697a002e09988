"""Elementwise native code on NaN, infinities, both zeros, and the ends of the integers."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.ir import Array, Builder, DType, Graph, Op, TensorType
from cauce.ir.ops.activation import Clip, LeakyRelu, Relu
from cauce.ir.ops.elementwise import (
    Abs,
    Cast,
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Maximum,
    Minimum,
    Neg,
    Pow,
    Sign,
    Sqrt,
)
from cauce.ir.ops.integers import (
    BitwiseAnd,
    BitwiseNot,
    BitwiseOr,
    BitwiseXor,
    Fmod,
    LeftShift,
    Remainder,
    RightShift,
    TruncDiv,
)
from cauce.ir.ops.reduce import ArgMax, ArgMin, Max, Min, Prod, Sum
from cauce.ir.ops.rounding import Ceil, Floor, IsInf, IsNan, Round

from .both import both

CLIPS = (Clip(-1.0, 1.0), Clip(0.0, None), Clip(None, 0.0))
UNARY: tuple[Op, ...] = (
    *CLIPS,
    Relu(),
    LeakyRelu(0.25),
    Neg(),
    Abs(),
    Sign(),
    Sqrt(),
    Cast(DType.BOOL),
    *(Floor(), Ceil(), Round(), IsNan(), IsInf(), IsInf(False, True), IsInf(True, False)),
    IsInf(False, False),
)
BINARY = (Maximum(), Minimum(), Equal(), Less(), LessEqual(), Greater(), GreaterEqual())
BINARY += (Remainder(), Fmod())
OF_INTEGERS = (TruncDiv(), BitwiseAnd(), BitwiseOr(), BitwiseXor(), LeftShift(), RightShift())
FLOATS = (DType.F32, DType.F64)
INTEGERS = (DType.I8, DType.U8, DType.I16, DType.U16, DType.I32, DType.U32, DType.I64, DType.U64)


def pairs(values: Array) -> tuple[Array, Array]:
    """Each with each: some vectors of them, and what is left."""
    x, y = np.meshgrid(values, values)
    return x.ravel(), y.ravel()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_numbers_that_are_none(dtype: DType) -> None:
    x, y = pairs(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -1.5], dtype.numpy))
    graph = Graph("special")
    b = Builder(graph)
    left, right = (graph.add_input(name, TensorType(dtype, x.shape)) for name in "xy")
    graph.outputs = {f"{place} {op.name}": b(op, left) for place, op in enumerate(UNARY)}
    graph.outputs |= {op.name: b(op, left, right) for op in BINARY}
    for name, (found, wanted) in both(graph, {"x": x, "y": y}).items():
        np.testing.assert_array_equal(found, wanted, name)
        if name.endswith(("neg", "abs")):  # elsewhere either zero will do
            number = ~np.isnan(wanted)
            np.testing.assert_array_equal(np.signbit(found)[number], np.signbit(wanted)[number])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_remainders_and_roundings_are_exact(dtype: DType) -> None:
    """Of numbers of any size, the smallest too; an element that differs fails."""
    rng = np.random.default_rng(0)
    kind = np.uint32 if dtype is DType.F32 else np.uint64
    x, y = rng.integers(0, np.iinfo(kind).max, (2, 500), kind).view(dtype.numpy)
    halves = (rng.integers(-9, 9, 500) / 2).astype(dtype.numpy)
    x, y = np.concatenate([x, halves, x * 0 + halves]), np.concatenate([y, halves[::-1], y])
    graph = Graph("remainders")
    b = Builder(graph)
    left, right = (graph.add_input(name, TensorType(dtype, x.shape)) for name in "xy")
    graph.outputs = {op.name: b(op, left, right) for op in (Remainder(), Fmod())}
    graph.outputs |= {op.name: b(op, left) for op in (Floor(), Ceil(), Round())}
    for name, (found, wanted) in both(graph, {"x": x, "y": y}).items():
        np.testing.assert_array_equal(found, wanted, name)
        number = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found)[number], np.signbit(wanted)[number], name)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_extremes_of_what_is_no_number(dtype: DType) -> None:
    """NaN wins, and its first place counts, or its last."""
    x = np.array([[1, np.nan, 3, np.nan, 0], [2, 7, -1, 7, -1], [np.inf, 1, -np.inf, 0, 0]])
    graph = Graph("extremes")
    b = Builder(graph)
    value = graph.add_input("x", TensorType(dtype, x.shape))
    for op in (Max, Min):
        graph.outputs[op.name] = b(op((1,)), value)
    for arg in (ArgMax, ArgMin):
        for last in (False, True):
            graph.outputs[f"{arg.name} {last}"] = b(arg(1, select_last_index=last), value)
    for name, (found, wanted) in both(graph, {"x": x.astype(dtype.numpy)}).items():
        np.testing.assert_array_equal(found, wanted, name)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_of_any_size(dtype: DType) -> None:
    """The least and the greatest too: of an unsigned type these have the sign bit."""
    least, most = int(np.iinfo(dtype.numpy).min), int(np.iinfo(dtype.numpy).max)
    some = {0, 1, 2, 100, most // 2, most // 2 + 1, most - 1, most, least, max(least, -1)}
    x, y = pairs(np.array(sorted(some), dtype.numpy))
    graph = Graph("integers")
    b = Builder(graph)
    left, right = (graph.add_input(name, TensorType(dtype, x.shape)) for name in "xy")
    graph.outputs = {op.name: b(op, left, right) for op in (*BINARY, *OF_INTEGERS, Pow())}
    unary = (Sign(), Abs(), BitwiseNot(), Sum(), Prod(), Max(), Min(), ArgMax(0), ArgMin(0))
    graph.outputs |= {op.name: b(op, left) for op in unary}
    for to in (*INTEGERS, *FLOATS, DType.BOOL):
        graph.outputs[f"to {to}"] = b(Cast(to), left)
    for name, (found, wanted) in both(graph, {"x": x, "y": y}).items():
        np.testing.assert_array_equal(found, wanted, name)


@pytest.mark.parametrize("to", INTEGERS, ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floats_become_integers_of_any_size(dtype: DType, to: DType) -> None:
    least, most = int(np.iinfo(to.numpy).min), int(np.iinfo(to.numpy).max)
    x = np.array([least, most // 2 + 1, 0, 1.9, 0.75 * most, 100] * 6, dtype.numpy)
    graph = Graph("integers")
    graph.outputs = {"y": Builder(graph)(Cast(to), graph.add_input("x", TensorType.of(x)))}
    ((found, wanted),) = both(graph, {"x": x}).values()
    np.testing.assert_array_equal(found, wanted)


def test_a_bool_is_0_or_1() -> None:
    graph = cauce.parse(
        "graph g(%x: f32[N], %y: f32[N]) -> bool[N] {\n"
        "  %z = less(%x, %y) : bool[N]\n  return %z\n}"
    )
    x = np.arange(37, dtype=np.float32)
    found = Executable(compile_program(graph))(x, x[::-1].copy())
    np.testing.assert_array_equal(found.view(np.uint8), x < x[::-1])
