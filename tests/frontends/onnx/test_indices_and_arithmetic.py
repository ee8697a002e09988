"""Reductions, indices, integers and functions from ONNX, one node at a time, in the opsets in
which it changed, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import cauce
from cauce.ir import Array
from cauce.ir.errors import CauceError, ShapeError, UnsupportedOp

from .build import agrees, model, single

_RANDOM = np.random.default_rng(11)

# op_type, operands that are inputs, operands that are stored, opset, attributes
CASES: list[tuple[str, dict[str, Array], dict[str, Any], int, dict[str, Any]]] = []


def case(
    op_type: str,
    feeds: tuple[Array, ...] | Array,
    stored: dict[str, Any] | None,
    opsets: tuple[int, ...],
    **attributes: Any,
) -> None:
    given = feeds if isinstance(feeds, tuple) else (feeds,)
    for opset in opsets:
        CASES.append((op_type, dict(zip("xyz", given)), stored or {}, opset, attributes))


def floats(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def whole(dtype: Any, *shape: int) -> Array:
    return _RANDOM.integers(-5 if np.dtype(dtype).kind == "i" else 0, 6, shape).astype(dtype)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


X = floats(3, 4, 5)
UNIT = np.tanh(floats(3, 7))

# ---- reductions and scans ----------------------------------------------------------------------

for name in ("Prod", "LogSumExp", "Min"):
    case(f"Reduce{name}", X, None, (7, 13), axes=[1], keepdims=0)
    case(f"Reduce{name}", X, {"axes": ints(-1, 0)}, (18,))
    case(f"Reduce{name}", X, {"axes": ints()}, (18,), noop_with_empty_axes=1)
case("ReduceLogSumExp", 300 * X, None, (13,))
case("ReduceLogSum", np.abs(X), {"axes": ints(0)}, (18,))
for name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "SumSquare"):
    case(f"Reduce{name}", whole(np.int32, 3, 4), {"axes": ints(1)}, (18,))
case("ReduceMax", whole(np.int8, 3, 4), None, (12,), axes=[0])
case("ReduceMin", X > 0, {"axes": ints(1)}, (20,))
for name in ("ArgMin", "ArgMax"):
    case(name, X, None, (7, 11), axis=1)
    case(name, np.round(X), None, (12, 13), axis=-1, keepdims=0, select_last_index=1)
for flags in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
    case("CumSum", X, {"axis": np.int64(1)}, (11, 14), **flags)
case("CumSum", whole(np.int64, 4, 3), {"axis": np.int32(-2)}, (14,))

# ---- integers ----------------------------------------------------------------------------------

A = np.array([-7, 7, -7, 7, 6, 0, -128], np.int32)
B = np.array([2, -2, -2, 2, 3, 5, 7], np.int32)
for dtype in (np.int32, np.int64):
    case("Div", (A.astype(dtype), B.astype(dtype)), None, (7, 14))
    case("Mod", (A.astype(dtype), B.astype(dtype)), None, (10, 13))
    case("Mod", (A.astype(dtype), B.astype(dtype)), None, (13,), fmod=1)
case("Div", (np.array([250, 9], np.uint8), np.array([7, 10], np.uint8)), None, (14,))
case("Mod", (floats(5), floats(5)), None, (10, 13), fmod=1)
for dtype in (np.int32, np.int64):
    case("Pow", whole(dtype, 5), {"y": dtype(3)}, (12, 15))
case("Pow", np.arange(1, 5, dtype=np.float32), {"y": np.arange(4)}, (12, 15))
case("Pow", (np.arange(1, 5, dtype=np.int32), np.arange(4, dtype=np.float32)), None, (13,))
case("Pow", (floats(4), np.array([2, 3, -1, 2**25 + 1])), None, (13,))
case("MatMul", (whole(np.int32, 2, 3, 4), whole(np.int32, 4, 5)), None, (13,))
case("MatMul", (whole(np.int64, 4), whole(np.int64, 2, 4, 3)), None, (13,))
BITS = (whole(np.uint8, 4), whole(np.uint8, 4))
for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
    case(name, BITS, None, (18,))
case("BitwiseNot", whole(np.int16, 4), None, (18,))
for direction in ("LEFT", "RIGHT"):
    case("BitShift", BITS, None, (11,), direction=direction)

# ---- functions ---------------------------------------------------------------------------------

for name in ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan"):
    case(name, UNIT, None, (7,))
for name in ("Sinh", "Cosh", "Asinh", "Atanh"):
    case(name, UNIT, None, (9,))
case("Acosh", 1 + np.abs(X), None, (9,))
case("Floor", 3 * X, None, (7, 13))
case("Ceil", 3 * X, None, (7, 13))
case("Round", np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.4], np.float32), None, (11,))
ODD = np.array([np.nan, np.inf, -np.inf, 0, 1], np.float32)
case("IsNaN", ODD, None, (9, 13))
case("IsInf", ODD, None, (10,))
case("IsInf", ODD, None, (10, 20), detect_negative=0)
case("IsInf", ODD, None, (10,), detect_positive=0)

# ---- indices -----------------------------------------------------------------------------------

ROWS = np.array([[0, -1, 2], [1, 1, -3]])
case("GatherElements", X, {"i": np.broadcast_to(ROWS[..., None], (2, 3, 5)).copy()}, (11, 13))
case("GatherElements", (floats(2, 3), ROWS), None, (13,), axis=1)
case("GatherND", X, {"i": np.array([[0, -1], [2, 1]])}, (11, 13))
case("GatherND", (X, np.array([[[-1], [0]], [[1], [2]], [[3], [-4]]])), None, (12,), batch_dims=1)
case("Scatter", (X, floats(1, 4, 5)), None, (9,))
CASES[-1] = ("Scatter", {"x": floats(3, 3)}, {"i": ROWS[:1], "u": floats(1, 3)}, 9, {"axis": 1})
case("ScatterElements", floats(3, 3), {"i": ROWS[:, :1], "u": floats(2, 1)}, (11, 13))
TWICE = {"i": np.array([[0, -1, 0, 1]]), "u": floats(1, 4)}
for reduction, opset in (("add", 16), ("mul", 16), ("min", 18), ("max", 18)):
    case("ScatterElements", floats(2, 4), TWICE, (opset,), axis=1, reduction=reduction)
    several = {"i": np.array([[0, 1], [2, -1], [0, 1]]), "u": floats(3, 5)}
    case("ScatterND", X, several, (opset,), reduction=reduction)
case("ScatterND", X, {"i": np.array([[2], [-3]]), "u": floats(2, 4, 5)}, (11, 13))
TIES = np.array([[3, 1, 3, 2], [0, 0, -1, 0], [5, 5, 5, 5]], np.float32)
case("OneHot", np.array([[1, -1], [3, 9]]), {"d": np.int64(4), "v": ints(2, 7)}, (9, 11))
case("OneHot", ints(0, 2), {"d": ints(3), "v": np.array([-1, 1], np.float32)}, (11,), axis=0)
for upper in (0, 1):
    case("Trilu", X, None, (14,), upper=upper)
    case("Trilu", X, {"k": np.int64(-1)}, (14,), upper=upper)
case("Where", (X > 0, whole(np.int64, 3, 4, 5), whole(np.int64, 5)), None, (9, 16))
case("Xor", (X > 0, X > 1), None, (7,))


@pytest.mark.parametrize(
    ("op_type", "feeds", "stored", "opset", "attributes"),
    CASES,
    ids=[f"{i}-{c[0]}-{c[3]}" for i, c in enumerate(CASES)],
)
def test_a_node_is_what_onnx_runtime_makes_of_it(
    op_type: str, feeds: dict[str, Array], stored: dict[str, Any], opset: int, attributes: Any
) -> None:
    agrees(single(op_type, feeds, stored, opset, **attributes), feeds)


def outputs(loaded: cauce.Model, feeds: dict[str, Array]) -> list[tuple[Array, ...]]:
    """What both backends make of it."""
    found = []
    for backend in ("numpy", "llvm"):
        result = cauce.compile(loaded, backend=backend)(**feeds)
        found.append(result if isinstance(result, tuple) else (result,))
    return found


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("opset", [1, 10, 11])
def test_topk_takes_the_first_of_equal_elements(opset: int, largest: int) -> None:
    options: dict[str, Any] = {"axis": -1} | ({"largest": largest} if opset > 10 else {})
    stored = {"k": ints(3)} if opset >= 10 else {}
    options |= {} if opset >= 10 else {"k": 3}
    proto = single("TopK", {"x": TIES}, stored, opset, **options)
    proto.graph.node[0].output.append("places")
    proto.graph.output.add(name="places")
    order = np.argsort(-TIES if largest or opset < 11 else TIES, -1, kind="stable")[:, :3]
    for values, places in outputs(cauce.load_onnx(proto), {"x": TIES}):
        np.testing.assert_array_equal(places, order)
        np.testing.assert_array_equal(values, np.take_along_axis(TIES, order, -1))


@pytest.mark.parametrize(("start", "limit", "delta"), [(1.0, 5.5, 2.0), (10, 4, -3), (3, 3, 1)])
def test_a_range_is_known(start: float, limit: float, delta: float) -> None:
    dtype = np.float32 if isinstance(start, float) else np.int32
    stored = {name: dtype(v) for name, v in zip("sld", (start, limit, delta))}
    loaded = cauce.load_onnx(single("Range", {}, stored, 11))
    for (found,) in outputs(loaded, {}):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.arange(start, limit, delta, dtype))


@pytest.mark.parametrize("op_type", ["ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSumExp"])
def test_a_reduction_of_nothing(op_type: str) -> None:
    x = np.zeros((2, 0, 3), np.float32)
    wanted = {"ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceProd": 1}.get(op_type, -np.inf)
    loaded = cauce.load_onnx(single(op_type, {"x": x}, {"a": ints(1)}, 18))
    for (found,) in outputs(loaded, {"x": x}):
        np.testing.assert_array_equal(found, np.full((2, 1, 3), wanted, np.float32))


INDEXED = {
    "Gather": np.array([3]),
    "GatherElements": np.full((1, 4, 5), -4),
    "GatherND": np.array([[0, 4]]),
    "ScatterElements": np.full((1, 4, 5), 3),
    "ScatterND": np.array([[-1, -5]]),
}


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("op_type", INDEXED)
def test_an_index_that_is_out_of_range_names_the_node(op_type: str, backend: str) -> None:
    feeds = {"x": X, "i": INDEXED[op_type]}
    if op_type == "ScatterElements":
        feeds["u"] = floats(1, 4, 5)
    if op_type == "ScatterND":
        feeds["u"] = floats(1, 5)
    loaded = cauce.load_onnx(single(op_type, feeds, {}, 18))
    with pytest.raises(ShapeError, match="out of range") as caught:
        cauce.compile(loaded, backend=backend)(**feeds)
    assert f"the_{op_type}" in str(caught.value)


def test_integers_divided_by_0_do_not_stop_the_process() -> None:
    x, y = np.array([5, -(2**31), -(2**31)], np.int32), np.array([0, -1, 0], np.int32)
    for op_type, wanted in (("Div", [0, -(2**31), 0]), ("Mod", [0, 0, 0])):
        loaded = cauce.load_onnx(single(op_type, {"x": x, "y": y}, {}, 14))
        for (found,) in outputs(loaded, {"x": x, "y": y}):
            np.testing.assert_array_equal(found, wanted)


def test_the_remainder_of_floats_has_the_sign_of_the_divisor() -> None:
    """ONNX Runtime has it for integers alone."""
    x, y = np.array([-5.5, 5.5, 4], np.float32), np.array([2, -2, -2], np.float32)
    loaded = cauce.load_onnx(single("Mod", {"x": x, "y": y}, {}, 13))
    for (found,) in outputs(loaded, {"x": x, "y": y}):
        np.testing.assert_array_equal(found, np.remainder(x, y))


def test_gemm_of_integers() -> None:
    """ONNX Runtime has no such Gemm."""
    x, w, c = whole(np.int32, 3, 4), whole(np.int32, 4, 2), whole(np.int32, 2)
    loaded = cauce.load_onnx(single("Gemm", {"x": x, "w": w, "c": c}, {}, 13, alpha=2.0))
    for (found,) in outputs(loaded, {"x": x, "w": w, "c": c}):
        np.testing.assert_array_equal(found, 2 * (x @ w) + c)


@pytest.mark.parametrize(
    ("op_type", "stored", "message"),
    [
        ("GatherND", {"i": np.zeros((2, 4), np.int64)}, "do not tell places"),
        ("OneHot", {"d": ints(-3), "v": ints(0, 1)}, "there are no -3 numbers"),
        ("TopK", {"k": ints(2**40)}, "topk: 1099511627776 of the 5 elements"),
        ("CumSum", {"axis": np.int64(5)}, "axis 5 is out of range"),
    ],
)
def test_what_cannot_be_names_the_node(op_type: str, stored: Any, message: str) -> None:
    with pytest.raises(CauceError, match=message) as caught:
        cauce.load_onnx(single(op_type, {"x": X}, stored, 13))
    assert f"the_{op_type}" in str(caught.value)


@pytest.mark.parametrize("k", [-(2**63), 2**63 - 1])
def test_a_diagonal_beyond_any_size(k: int) -> None:
    loaded = cauce.load_onnx(single("Trilu", {"x": X}, {"k": np.int64(k)}, 14))
    for (found,) in outputs(loaded, {"x": X}):
        np.testing.assert_array_equal(found, X if k < 0 else 0 * X)


@pytest.mark.parametrize("delta", [1, -2])
def test_a_range_over_a_size_that_is_not_known(delta: int) -> None:
    bounds = ["zero", "size"] if delta > 0 else ["size", "one"]
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["size"]),
        helper.make_node("Range", [*bounds, "delta"], ["out"]),
    ]
    stored = {"zero": np.int64(0), "one": np.int64(1), "delta": np.int64(delta)}
    loaded = cauce.load_onnx(model(nodes, {"x": ("N", 3)}, ["out"], stored, 13))
    for size in (1, 6):
        wanted = np.arange(0, size) if delta > 0 else np.arange(size, 1, delta)
        for (found,) in outputs(loaded, {"x": np.zeros((size, 3), np.float32)}):
            np.testing.assert_array_equal(found, wanted)


def test_an_operator_that_selects_says_why_it_is_not_there() -> None:
    why = r"1 x NonZero \(opset 13, the size of its result depends on the data\): the_NonZero"
    with pytest.raises(UnsupportedOp, match=why):
        cauce.load_onnx(single("NonZero", {"x": X}, {}, 13))


def test_an_unknown_reduction_is_refused() -> None:
    stored = {"i": np.array([[0]]), "u": floats(1, 5)}
    with pytest.raises(CauceError, match="no reduction 'mean'"):
        cauce.load_onnx(single("ScatterND", {"x": floats(3, 5)}, stored, 18, reduction="mean"))
