"""Numbers, attributes and constants in the text form: exact, and of the kind that they were."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir import (
    Builder,
    DType,
    Graph,
    Literal,
    TensorType,
    parse,
    symbol,
)
from cauce.ir.errors import ParseError
from cauce.ir.ops.activation import Clip, LeakyRelu
from cauce.ir.ops.constant import Constant, DimSize
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Cast
from cauce.ir.ops.fused import Fused
from cauce.ir.ops.reduce import Sum
from cauce.ir.ops.shape import Pad, Reshape, Slice

from .test_text import F32, one, round_trip, the_op

# ---- numbers -----------------------------------------------------------------------------------

FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.1,
    1 / 3,
    1e-5,
    1e300,
    5e-324,  # the least denormal
    2.225073858507201e-308,  # the greatest
    1.7976931348623157e308,
    1e22,
    123456789012345680.0,
    math.inf,
    -math.inf,
    math.nan,
]


@pytest.mark.parametrize("value", FLOATS)
def test_floats_are_exact(value: float) -> None:
    twin = round_trip(one(Pad(((0, 0), (1, 2)), value), F32))
    again = the_op(twin).value
    assert type(again) is float
    assert np.float64(again).tobytes() == np.float64(value).tobytes() or math.isnan(value)
    assert math.isnan(again) == math.isnan(value)


@given(st.floats(), st.floats())
def test_any_float(low: float, high: float) -> None:
    low, high = sorted((low, high))
    if math.isnan(low) or math.isnan(high):
        return
    op = the_op(round_trip(one(Clip(low, high), F32)))
    assert (op.min, op.max) == (low, high)
    assert math.copysign(1, op.min) == math.copysign(1, low)


def test_ints_and_floats_stay_what_they_are() -> None:
    assert "negative_slope=2.0" in str(one(LeakyRelu(2), F32))
    op = the_op(round_trip(one(Pad(((0, 0), (1, 2)), -3), F32)))
    assert op == Pad(((0, 0), (1, 2)), -3.0) and type(op.value) is float


@pytest.mark.parametrize(
    ("op", "shown"),
    [
        (Conv2d(), ""),
        (Conv2d(2, 1), " stride=2 padding=1"),
        (Conv2d((2, 1), (1, 2)), " stride=[2, 1] padding=[[1, 1], [2, 2]]"),
        (Conv2d(padding=((0, 1), (1, 0)), groups=1), " padding=[[0, 1], [1, 0]]"),
    ],
)
def test_windows_are_one_number_where_all_parts_agree(op: Conv2d, shown: str) -> None:
    graph = one(op, TensorType.make("f32", (1, 2, 9, 9)), TensorType.make("f32", (2, 2, 3, 3)))
    assert f"conv2d(%x0, %x1){shown} :" in str(graph)
    assert the_op(round_trip(graph)) == op


def test_none_true_lists_and_dims() -> None:
    n, h = symbol("N"), symbol("H")
    type_ = TensorType.make("f32", ("N", "2*H"))
    assert "axes=[] keepdims=true" in str(one(Sum((), True), type_))
    assert "axes=none" not in str(one(Sum(), type_))
    for op in (
        Sum((), True),
        Sum((0,)),
        Sum((-1, 0), False),
        Reshape((n * 2, h)),
        Reshape((2, n, 1, h)),
        Slice((0, 1), (0, h), (n, 2 * h), (1, 2)),
        Slice((1,), (h // 2 - 0,), ((3 * h + 1) // 2,)),
        Clip(None, 1.0),
        Clip(),
        Cast("bf16"),
    ):
        assert the_op(round_trip(one(op, type_))) == op
    size = DimSize((n - 1) * (h // 2) - 3 * h)
    graph = one(size)
    graph.add_input("x", type_)
    assert the_op(round_trip(graph)) == size


# ---- constants ---------------------------------------------------------------------------------


def constant(values: object, dtype: DType) -> Literal:
    literal = Literal(values, dtype)
    again = the_op(round_trip(one(Constant(literal)))).value
    assert isinstance(again, Literal)
    assert again == literal and again.type == literal.type
    assert again.array.tobytes() == literal.array.tobytes()
    return again


INT_BOUNDS = {d: np.iinfo(d.numpy) for d in DType if d.is_integer}


@pytest.mark.parametrize("dtype", INT_BOUNDS, ids=str)
def test_literals_of_integers(dtype: DType) -> None:
    bounds = INT_BOUNDS[dtype]
    constant(np.array([bounds.min, 0, 1, bounds.max], dtype.numpy), dtype)


@pytest.mark.parametrize("dtype", [d for d in DType if d.is_float], ids=str)
def test_literals_of_floats(dtype: DType) -> None:
    finfo = np.finfo(dtype.numpy)
    values = [0.0, -0.0, 0.1, 1 / 3, 1e-3, 65504.0, math.inf, -math.inf, math.nan]
    extremes = [finfo.max, -finfo.max, finfo.tiny, finfo.smallest_subnormal, finfo.eps]
    constant(np.array([*values, *extremes], dtype.numpy), dtype)


def test_literals_of_bool_scalars_and_empties() -> None:
    constant([[True, False], [False, True]], DType.BOOL)
    assert constant(3.5, DType.F32).type == TensorType(DType.F32, ())
    assert constant(np.zeros((2, 0, 3)), DType.F64).type == TensorType(DType.F64, (2, 0, 3))
    assert "value=dense(f32[], [3.5])" in str(one(Constant(Literal(3.5, DType.F32))))
    assert "dense(bool[2], [true, false])" in str(one(Constant(Literal([True, False]))))
    assert "dense(f16[2], [1.0, nan])" in str(one(Constant(Literal([1, math.nan], "f16"))))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_any_bits_of_f32(bits: list[int]) -> None:
    array = np.array(bits, np.uint32).view(np.float32)
    # All NaN are one NaN to the text.
    constant(np.where(np.isnan(array), np.float32(np.nan), array), DType.F32)


def test_large_constants_go_beside_the_text_by_digest() -> None:
    array = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32)
    body = Graph("body")
    b = Builder(body)
    x = body.add_input("x", TensorType.make("f32", (9, 9)))
    body.outputs = {"y": b(Add(), x, b(Constant(Literal(array))))}
    graph = Graph("large")
    first = Builder(graph)(Constant(Literal(array + 1)))
    graph.outputs = {"y": Builder(graph)(Fused(body), first)}
    digests = [Literal(array + 1).digest, Literal(array).digest]
    assert list(graph.constants()) == digests
    assert f'value=digest(f32[9,9], "{digests[0]}")' in str(graph)
    twin = round_trip(graph)
    assert twin.constants().keys() == graph.constants().keys()
    np.testing.assert_array_equal(twin.constants()[digests[1]], array)
    with pytest.raises(ParseError, match="was not given") as caught:
        parse(str(graph))
    assert "graph.constants()" in str(caught.value)
    wrong = {digests[0]: array, digests[1]: array}
    with pytest.raises(ParseError, match="is another one"):
        parse(str(graph), wrong)
