"""What C, NumPy and ONNX leave open has one value here: in the reference, when constants fold, on
both backends with any vectors, and in ONNX Runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.target import Target
from cauce.backends.numpy import NumpyProgram
from cauce.backends.onnx import export
from cauce.ir import Array, Builder, DType, Graph, Literal, Op, TensorType, evaluate
from cauce.ir.errors import AttributeMistake
from cauce.ir.ops.activation import Clip, LeakyRelu, Relu
from cauce.ir.ops.constant import Constant
from cauce.ir.ops.elementwise import Cast, Maximum, Minimum, Pow, Sign
from cauce.ir.ops.reduce import Variance
from cauce.passes.constant_folding import FoldConstants
from cauce.passes.pipelines import PRIMITIVES

from .onnx_models import run as run_onnx

INTEGERS = [dtype for dtype in DType if dtype.is_integer]
Way = Callable[[Op, tuple[Array, ...]], Array]


def graph_of(op: Op, operands: tuple[Array, ...]) -> Graph:
    graph = Graph("g")
    values = [graph.add_input(f"x{i}", TensorType.of(x)) for i, x in enumerate(operands)]
    graph.outputs = {"y": Builder(graph)(op, *values)}
    return graph


def feeds_of(operands: tuple[Array, ...]) -> dict[str, Array]:
    return {f"x{i}": x for i, x in enumerate(operands)}


def by_reference(op: Op, operands: tuple[Array, ...]) -> Array:
    return evaluate(graph_of(op, operands), feeds_of(operands)).outputs["y"]


def by_folding(op: Op, operands: tuple[Array, ...]) -> Array:
    graph = Graph("g")
    b = Builder(graph)
    constants = [b(Constant(Literal(x, DType.of(x.dtype)))) for x in operands]
    graph.outputs = {"y": b(op, *constants)}
    assert FoldConstants().run(graph)
    (result,) = graph.outputs.values()
    assert result.node is not None and isinstance(result.node.op, Constant)
    return result.node.op.value.array


def by_rules(op: Op, operands: tuple[Array, ...]) -> Array:
    """With every constant operand known to the rules."""
    graph = Graph("g")
    b = Builder(graph)
    first = graph.add_input("x0", TensorType.of(operands[0]))
    rest = [b(Constant(Literal(x, DType.of(x.dtype)))) for x in operands[1:]]
    graph.outputs = {"y": b(op, first, *rest)}
    for pass_ in PRIMITIVES:
        pass_.run(graph)
    return Executable(compile_program(graph)).run({"x0": operands[0]})["y"]


def by_numpy(op: Op, operands: tuple[Array, ...]) -> Array:
    return Executable(NumpyProgram(graph_of(op, operands))).run(feeds_of(operands))["y"]


def by_onnx(op: Op, operands: tuple[Array, ...]) -> Array:
    return run_onnx(export(graph_of(op, operands)), feeds_of(operands))["y"]


def natively(limit: str) -> Way:
    def run(op: Op, operands: tuple[Array, ...]) -> Array:
        try:
            target = Target.host(limit)
        except AttributeMistake:
            pytest.skip(f"this processor has no {limit}")
        program = compile_program(graph_of(op, operands), target)
        return Executable(program).run(feeds_of(operands))["y"]

    return run


WAYS: dict[str, Way] = {
    "reference": by_reference,
    "folding": by_folding,
    "rules": by_rules,
    "numpy": by_numpy,
    "onnx": by_onnx,
    **{limit: natively(limit) for limit in ("avx512", "avx2", "sse2", "neon", "scalar")},
}
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
@pytest.mark.parametrize("to", INTEGERS, ids=str)
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_floats_out_of_range_become_the_nearest_integer(source: str, to: DType, way: str) -> None:
    """Against Python's integers, in whole vectors and what is left of them."""
    info = np.iinfo(to.numpy)
    least, most = int(info.min), int(info.max)
    near = np.array([least, most], source)
    x = np.concatenate(
        [
            *(np.nextafter(near, np.array(end, source)) for end in (-np.inf, np.inf)),
            near,
            [np.nan, np.inf, -np.inf, -0.5, -1.0, -1.5, 0.0, 255.9, 256, 300, 65536, -40000],
            [3e9, -3e9, 2.0**32, 2.0**63, -(2.0**63), 2.0**64, 1e30, -1e30, 1e-40],
        ]
    ).astype(source)
    wanted = [
        0 if math.isnan(number) else min(max(int(min(max(number, -1e20), 1e20)), least), most)
        for number in x.tolist()
    ]
    found = WAYS[way](Cast(to), (x,))
    assert found.dtype == to.numpy
    assert found.tolist() == wanted


@every_way
def test_every_number_but_0_is_true(way: str) -> None:
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 0.5], np.float32)
    found = WAYS[way](Cast(DType.BOOL), (x,))
    assert found.tolist() == [False, False, True, True, True, True, True]


@pytest.mark.parametrize("way", ["reference", "folding", "numpy", "onnx"])
@pytest.mark.parametrize(
    ("to", "wanted"),
    [(DType.U8, [255, 0, 0, 255, 0, 3]), (DType.U16, [65535, 0, 0, 65504, 0, 3])],
    ids=str,
)
def test_half_precision_out_of_range(to: DType, wanted: list[int], way: str) -> None:
    """f16 has no 2**16 to compare with."""
    x = np.array([np.inf, -np.inf, np.nan, 65504, -1.5, 3.9], np.float16)
    assert WAYS[way](Cast(to), (x,)).tolist() == wanted


BASES = [-math.inf, -2.5, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 4.0, math.inf, math.nan]


@every_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("y", [0.5, -0.5, 0.0, 1.0, 2.0, 3.0, -1.0, -3.0, math.inf, math.nan])
def test_powers_are_those_of_c(y: float, dtype: str, way: str) -> None:
    """An exponent that is one number for all is where libraries take shortcuts."""

    def power(x: float) -> float:
        try:
            return math.pow(x, y)  # C's, but for errors in place of NaN and of infinity
        except ValueError:
            odd = y < 0 and y % 2 == 1
            return math.nan if x != 0 else math.copysign(math.inf, x) if odd else math.inf

    wanted = [power(x) for x in BASES]
    for exponent in (np.array(y, dtype), np.full(len(BASES), y, dtype)):
        found = WAYS[way](Pow(), (np.array(BASES, dtype), exponent))
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        known = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(wanted)[known])


@every_way
@pytest.mark.parametrize(
    ("op", "wanted"),
    [
        (Relu(), [math.nan, math.inf, 0, 0, 2]),
        (LeakyRelu(0.5), [math.nan, math.inf, -math.inf, -0.5, 2]),
        (Clip(-0.5, 1.0), [math.nan, 1, -0.5, -0.5, 1]),
        (Clip(None, 1.0), [math.nan, 1, -math.inf, -1, 1]),
        (Clip(0.0, None), [math.nan, math.inf, 0, 0, 2]),
        (Sign(), [math.nan, 1, -1, -1, 1]),
        (Variance((0,), correction=5), [math.nan]),
    ],
    ids=str,
)
def test_what_nan_and_infinity_become(op: Op, wanted: list[float], way: str) -> None:
    x = np.array([math.nan, math.inf, -math.inf, -1, 2], np.float32)
    np.testing.assert_array_equal(WAYS[way](op, (x,)).reshape(-1), wanted)


@every_way
@pytest.mark.parametrize(("op", "wanted"), [(Maximum(), 3.0), (Minimum(), -1.0)], ids=str)
def test_nan_is_neither_greater_nor_less(op: Op, wanted: float, way: str) -> None:
    x = np.array([math.nan, 3, math.nan, 3, -1], np.float32)
    y = np.array([1, math.nan, math.nan, -1, 3], np.float32)
    found = WAYS[way](op, (x, y))
    np.testing.assert_array_equal(found, [math.nan, math.nan, math.nan, wanted, wanted])
