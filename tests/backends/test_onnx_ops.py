"""Every op, exported and run by ONNX Runtime, gives what the reference gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given

from cauce.backends.onnx import export
from cauce.backends.onnx.rules import RULES
from cauce.ir import (
    Array,
    Builder,
    DType,
    Graph,
    Literal,
    Op,
    TensorType,
    Value,
    evaluate,
    registry,
    symbol,
)
from cauce.ir.errors import CauceError
from cauce.ir.evaluate import evaluate_op
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData
from cauce.ir.ops.conv_nd import ConvTranspose
from cauce.ir.ops.elementwise import (
    Abs,
    Add,
    Cast,
    Equal,
    Less,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Pow,
    Sign,
    Sub,
    Where,
)
from cauce.ir.ops.error_function import Erf, Erfc
from cauce.ir.ops.indexing import TopK, Trilu
from cauce.ir.ops.integers import (
    BitwiseNot,
    BitwiseXor,
    Fmod,
    IntegerMatMul,
    Remainder,
    RightShift,
    TruncDiv,
)
from cauce.ir.ops.linear import MatMul
from cauce.ir.ops.linear_units import Gelu
from cauce.ir.ops.pool import MaxPool2d, MaxPool2dBackward, MaxPool2dSelect
from cauce.ir.ops.random import RandomUniform
from cauce.ir.ops.reduce import ArgMax, ArgMin, Max, Min, Prod, Sum
from cauce.ir.ops.scan import CumSum
from cauce.ir.ops.shape import (
    Concat,
    Expand,
    Gather,
    GatherBackward,
    Pad,
    Reshape,
    Slice,
    SliceBackward,
    Transpose,
)
from tests.backends.onnx_models import assert_agree, run, run_f64
from tests.facets.build import concrete, in_f32, map_attributes, rebuild, symbolic
from tests.facets.sample import Sample, samplers, strategy

OPS = [op for _, op in sorted(registry().items()) if op in samplers()]
every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def test_every_op_can_be_exported() -> None:
    ops = [op for op in registry().values() if op.__module__.startswith("cauce.")]
    missing = [op.name for op in ops if op not in RULES and op.decompose is Op.decompose]
    assert not missing, f"write a rule in backends/onnx for {', '.join(missing)}"


def has_bf16(graph: Graph) -> bool:
    """Whether an output is bfloat16, which NumPy cannot take from ONNX Runtime."""
    return any(value.type.dtype is DType.BF16 for value in graph.outputs.values())


@every_op
def test_float32_is_what_onnx_runtime_computes(op: type[Op]) -> None:
    @given(strategy(op))
    def check(drawn: Sample) -> None:
        sample = in_f32(drawn)
        case = concrete(sample)
        graph, feeds = case.graph(), case.feeds(sample)
        assume(not has_bf16(graph))
        assert_agree(run(export(graph), feeds), evaluate(graph, feeds).outputs, 1e-4)

    check()


@every_op
def test_sizes_known_only_at_run_time(op: type[Op]) -> None:
    """A symbol in any place that the op accepts it in: the model computes what depends on it."""

    @given(strategy(op))
    def check(drawn: Sample) -> None:
        sample = in_f32(drawn)
        for case in symbolic(sample):
            graph, feeds = case.graph(), case.feeds(sample)
            assume(not has_bf16(graph))
            assert_agree(run(export(graph), feeds), evaluate(graph, feeds).outputs, 1e-4)

    check()


@every_op
@pytest.mark.filterwarnings("ignore:the model of sample is valid ONNX:cauce.CauceWarning")
def test_float64_keeps_its_digits(op: type[Op]) -> None:
    @given(strategy(op))
    def check(sample: Sample) -> None:
        if isinstance(sample.op, (Conv2dBackwardData, ConvTranspose)):
            # onnx.reference splits the weights of a grouped ConvTranspose by the wrong axis.
            assume(sample.op.groups == 1)
        case = concrete(sample)
        graph, feeds = case.graph(), case.feeds(sample)
        assume(not has_bf16(graph))
        # onnx.reference rounds its Erf to float32.
        tolerance = 1e-7 if isinstance(sample.op, (Erf, Erfc, Gelu)) else 1e-12
        assert_agree(run_f64(export(graph), feeds), evaluate(graph, feeds).outputs, tolerance)

    check()


# ---- dtypes ------------------------------------------------------------------------------------


def in_halves(graph: Graph, dtype: DType) -> Graph:
    """``graph`` computed in a half-precision ``dtype``; floats come in and go out in float32,
    which NumPy and ONNX Runtime share."""

    def narrow(of: DType) -> DType:
        return dtype if of is DType.F32 else of

    def narrow_type(type_: TensorType) -> TensorType:
        return type_.with_dtype(narrow(type_.dtype))

    def narrow_op(op: Op) -> Op:
        def change(value: Any, _: str) -> Any:
            if isinstance(value, Graph):
                return rebuild(value, narrow_type, narrow_op)
            if isinstance(value, Literal):
                return Literal(value.array, narrow(value.dtype))
            return narrow(value) if isinstance(value, DType) else value

        return map_attributes(op, change)

    def cast(value: Value, to: DType) -> Value:
        return value if value.type.dtype is to else b(Cast(to), value)

    body = rebuild(graph, narrow_type, narrow_op)
    outer = Graph(graph.name)
    b = Builder(outer)
    mapping: dict[Value, Value] = {}
    for value, half in zip(graph.inputs, body.inputs):
        mapping[half] = cast(outer.add_input(value.name, value.type), half.type.dtype)
    outer.inline(body, mapping)
    for name, value in body.outputs.items():
        wide = DType.F32 if value.type.dtype is dtype else value.type.dtype
        outer.outputs[name] = cast(mapping[value], wide)
    return outer


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16], ids=str)
@every_op
def test_half_precision_runs(op: type[Op], dtype: DType) -> None:
    """To the few digits that it has: ONNX Runtime and the reference round in other places."""
    if op is RandomUniform:
        pytest.skip("draws have more bits than half precision holds")

    @given(strategy(op))
    def check(drawn: Sample) -> None:
        sample = in_f32(drawn)
        case = concrete(sample)
        graph, feeds = in_halves(case.graph(), dtype), case.feeds(sample)
        assume(all(value.type.dtype is not DType.BF16 for value in graph.outputs.values()))
        tolerance = 0.02 if dtype is DType.F16 else 0.1
        assert_agree(run(export(graph), feeds), evaluate(graph, feeds).outputs, tolerance)

    check()


GRID = (3, 4)
INDICES = np.array([2, 0, 2])


def applications() -> list[tuple[Op, int]]:
    """Ops that take many dtypes, each with the number of operands [3, 4] of the dtype."""
    return [
        *((op, 2) for op in (Add(), Sub(), Mul(), Maximum(), Minimum(), Equal(), Less())),
        *((op, 1) for op in (Neg(), Abs(), Sign(), *map(Cast, DType))),
        *((op, 1) for op in (Sum((0,)), Sum(), Max((1,)), Max(), ArgMax(0), ArgMax(1, True))),
        *((op, 1) for op in (Prod((1,)), Min(), ArgMin(1, False, True), CumSum(1), TopK(2, 0))),
        *((op, 2) for op in (TruncDiv(), Remainder(), Fmod(), BitwiseXor(), RightShift(), Pow())),
        *((op, 1) for op in (Trilu(), BitwiseNot(), IntegerMatMul())),
        (Where(), 2),
        (Reshape((4, 3)), 1),
        (Transpose((1, 0)), 1),
        (Concat(1), 2),
        (Slice((0, 1), (1, 0), (3, 4), (1, 2)), 1),
        (SliceBackward((5, 9), (0, 1), (1, 2), (4, 9), (1, 2)), 1),
        (Pad(((1, 0), (0, 2)), 3.0), 1),
        (Gather(0), 1),
        (GatherBackward(4, 0), 1),
        (Expand((2, *GRID)), 1),
        (MatMul(), 1),
    ]


def some_values(rng: np.random.Generator, dtype: DType) -> Array:
    """All bits are used in integers, so that results wrap around."""
    if dtype is DType.BOOL:
        return rng.random(GRID) < 0.5
    if dtype.is_float:
        return dtype.round(rng.standard_normal(GRID))
    limits = np.iinfo(dtype.numpy)
    return rng.integers(limits.min, limits.max, GRID, dtype.numpy, endpoint=True)


@pytest.mark.parametrize("dtype", DType, ids=str)
@pytest.mark.parametrize(("op", "count"), applications(), ids=lambda op: str(op))
def test_every_dtype_that_an_op_takes(op: Op, count: int, dtype: DType) -> None:
    """bfloat16 comes in and goes out through float32, which NumPy and ONNX Runtime share."""
    rng = np.random.default_rng(0)
    graph = Graph("dtypes")
    b = Builder(graph)
    feeds: dict[str, Array] = {}
    narrow = dtype is DType.BF16

    def operand(array: Array, of: DType) -> Value:
        name = f"x{len(feeds)}"
        feeds[name] = array
        value: Value = graph.add_input(name, TensorType(of, array.shape))
        return b(Cast(DType.BF16), value) if narrow and of is DType.F32 else value

    operands = []
    if isinstance(op, Where):
        operands.append(operand(rng.random(GRID) < 0.5, DType.BOOL))
    for _ in range(count):
        values = some_values(rng, dtype)
        if isinstance(op, Sum) and dtype.is_integer and dtype.itemsize >= 4:
            # ONNX Runtime sums in float64 and does not wrap around.
            values = values % values.dtype.type(2**20)
        if isinstance(op, Prod) and dtype.is_integer:
            values = values % values.dtype.type(8)  # nor does it in products
        if isinstance(op, Pow) and dtype.is_float:
            values = np.abs(values)
        operands.append(operand(values, DType.F32 if narrow else dtype))
    if isinstance(op, (MatMul, IntegerMatMul)):
        operands.append(b(Transpose((1, 0)), operands[0]))
    if isinstance(op, (Gather, GatherBackward)):
        operands.append(operand(INDICES, DType.I64))
    if isinstance(op, Cast) and dtype.is_float and not op.to.is_float:
        # What a float out of range becomes is not defined.
        feeds["x0"] = np.abs(feeds["x0"]).astype(feeds["x0"].dtype)
    try:
        result = b(op, *operands)
    except CauceError:
        pytest.skip(f"{op.name} takes no {dtype}")
    if result.type.dtype is DType.BF16:
        result = b(Cast(DType.F32), result)
    graph.outputs = {"y": result}
    if isinstance(op, (TruncDiv, Remainder, Fmod)):
        feeds["x1"] = np.where(feeds["x1"] == 0, 1, feeds["x1"]).astype(feeds["x1"].dtype)
    tolerance = {DType.F16: 1e-2, DType.BF16: 1e-2, DType.F32: 1e-6}.get(dtype, 1e-15)
    assert_agree(run(export(graph), feeds), evaluate(graph, feeds).outputs, tolerance)


# ---- what samples do not reach -----------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(), (7,), (3, 5), (2, 3, 5), (2, 3, 3, 3)], ids=lambda shape: f"rank{len(shape)}"
)
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64], ids=str)
def test_random_draws_are_the_same_bits(shape: tuple[int, ...], dtype: DType) -> None:
    graph = Graph("draws")
    key = graph.add_input("key", TensorType(DType.U32, (2,)))
    graph.outputs = {"y": Builder(graph)(RandomUniform(shape, 2**32 - 5, dtype), key)}
    model = export(graph)
    for words in ([0, 0], [123, 456], [2**32 - 1, 2**32 - 2]):
        feeds = {"key": np.array(words, np.uint32)}
        assert_agree(run(model, feeds), evaluate(graph, feeds).outputs, 0)


def test_a_batch_draws_what_a_larger_one_draws() -> None:
    graph = Graph("draws")
    graph.add_input("x", TensorType(DType.F32, (symbol("N"), symbol("H"))))
    key = graph.add_input("key", TensorType(DType.U32, (2,)))
    shape = (symbol("N"), 3, symbol("H"), 2)
    graph.outputs = {"y": Builder(graph)(RandomUniform(shape, 1), key)}
    model = export(graph)
    words = np.array([7, 8], np.uint32)
    wanted = RandomUniform((5, 3, 3, 2), 1).reference(words)
    for batch in (2, 5):
        got = run(model, {"x": np.zeros((batch, 3), np.float32), "key": words})["y"]
        np.testing.assert_array_equal(got, wanted[:batch])


POOLS = {
    "ceil": MaxPool2d((3, 3), (2, 2), ((1, 1), (0, 1)), ceil_mode=True),
    # More padding than the kernel has cells, which ONNX Runtime refuses.
    "wide padding": MaxPool2d((2, 2), (1, 1), ((2, 2), (0, 1)), dilation=(2, 2)),
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("sizes", [(5, 6), (symbol("H"), symbol("W"))], ids=["known", "symbolic"])
def test_of_equal_maxima_the_first_takes_the_gradient(
    pool: MaxPool2d, sizes: tuple[object, ...]
) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 3, 5, 6)).astype(np.float32)
    graph = Graph("ties")
    b = Builder(graph)
    image = graph.add_input("x", TensorType.make("f32", ("N", 3, *sizes)))
    y = b(pool, image)
    dy = graph.add_input("dy", y.type)
    g = graph.add_input("g", image.type)
    graph.outputs = {
        "y": y,
        "dx": b(pool.sibling(MaxPool2dBackward), image, dy),
        "chosen": b(pool.sibling(MaxPool2dSelect), image, g),
    }
    (result,) = evaluate_op(pool, [x], {}, [DType.F32])
    feeds = {
        "x": x,
        "dy": rng.standard_normal(result.shape).astype(np.float32),
        "g": rng.standard_normal(x.shape).astype(np.float32),
    }
    assert_agree(run(export(graph), feeds), evaluate(graph, feeds).outputs, 1e-6)


@pytest.mark.parametrize("stride", [2, 3])
def test_a_transposed_convolution_of_unknown_size(stride: int) -> None:
    """One model serves all heights, also those of which the stride leaves rows over."""
    op = Conv2d(stride=(stride, 1), padding=((1, 0), (0, 2)), dilation=(1, 2), groups=2)
    graph = Graph("transposed")
    b = Builder(graph)
    x = graph.add_input("x", TensorType.make("f32", ("N", 4, "H", 7)))
    weight = graph.add_input("weight", TensorType.make("f32", (6, 2, 3, 3)))
    size = x.type.shape[2:]
    graph.outputs = {
        "dx": b(Conv2dBackwardData(*op.geometry(), size=size), b(op, x, weight), weight)
    }
    model = export(graph)
    rng = np.random.default_rng(0)
    for height in range(2, 9):
        feeds = {
            "x": rng.standard_normal((2, 4, height, 7)).astype(np.float32),
            "weight": rng.standard_normal((6, 2, 3, 3)).astype(np.float32),
        }
        assert_agree(run(model, feeds), evaluate(graph, feeds).outputs, 1e-5)
