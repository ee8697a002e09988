"""Casts among all numeric dtypes, against ONNX Runtime and by cauce's own rule out of range."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import cauce
from cauce.ir import Array, DType
from cauce.ir.errors import UnsupportedOp
from cauce.ir.onnx.tensors import NUMBERS

from .build import agrees, model, single

# NumPy has no bfloat16: it comes and goes by way of float32, which holds all its numbers.
DTYPES = [dtype for dtype in DType if dtype is not DType.BF16]
BACKENDS = ("numpy", "llvm")


def numbers(dtype: DType) -> Array:
    """What every dtype holds, fractions cut off; integers also wrap around, and rounding shows."""
    if dtype is DType.BOOL:
        return np.array([True, False])
    if dtype.is_float:
        return np.array([0, 1, 2.5, 100.75, 0.1, 126.99], dtype.numpy)
    info = np.iinfo(dtype.numpy)
    return np.array([0, 1, 2, 100, 127, info.max, info.min, info.max - 77], dtype.numpy)


@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_a_cast_is_that_of_onnx_runtime(source: DType) -> None:
    kept = [to for to in DTYPES if not (source is DType.F16 and to is DType.F16)]
    nodes = [helper.make_node("Cast", ["x"], [str(to)], to=NUMBERS[to]) for to in kept]
    nodes.append(helper.make_node("Cast", ["x"], ["half"], to=TensorProto.BFLOAT16))
    nodes.append(helper.make_node("Cast", ["half"], ["bf16"], to=TensorProto.FLOAT))
    names = [*map(str, kept), "bf16"]
    agrees(model(nodes, {"x": numbers(source)}, names, opset=13), {"x": numbers(source)})


@pytest.mark.parametrize("to", DTYPES, ids=str)
def test_a_cast_of_bfloat16_is_that_of_onnx_runtime(to: DType) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.BFLOAT16),
        helper.make_node("CastLike", ["half", "like"], ["y"]),
    ]
    like = {"like": np.zeros(1, to.numpy)}
    # Which are rounded already: ONNX Runtime leaves out the first cast before some others.
    x = DType.BF16.round(numbers(DType.F32))
    agrees(model(nodes, {"x": x}, ["y"], like, opset=19), {"x": x})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("source", ["f16", "f32", "f64"])
def test_what_is_out_of_range_is_held_at_the_nearest(source: str, backend: str) -> None:
    kept = [dtype for dtype in DTYPES if dtype.is_integer]
    nodes = [helper.make_node("Cast", ["x"], [str(to)], to=NUMBERS[to], saturate=0) for to in kept]
    x = np.array([np.inf, -np.inf, np.nan, -0.9, 6e4, -6e4], DType.of(source).numpy)
    loaded = cauce.load_onnx(model(nodes, {"x": x}, [str(to) for to in kept], opset=19))
    for to, found in zip(kept, cauce.compile(loaded, backend)(x), strict=True):
        info = np.iinfo(to.numpy)
        large, small = min(info.max, int(x[4])), max(info.min, int(x[5]))
        assert found.dtype == to.numpy
        assert found.tolist() == [info.max, info.min, 0, 0, large, small]


@pytest.mark.parametrize("name, to", [("FLOAT16", "f16"), ("DOUBLE", "f64"), ("UINT8", "u8")])
def test_the_first_opsets_name_the_dtype(name: str, to: str) -> None:
    x = numbers(DType.F32)
    loaded = cauce.load_onnx(single("Cast", {"x": x}, {}, 5, to=name))
    for backend in BACKENDS:
        found = cauce.compile(loaded, backend)(x)
        wanted = x.astype(DType.of(to).numpy)
        assert np.array_equal(found, wanted) and found.dtype == wanted.dtype


def test_dtypes_that_cauce_does_not_have_are_refused_by_name() -> None:
    for name in ("FLOAT8E4M3FN", "FLOAT8E5M2FNUZ", "INT4", "UINT4", "FLOAT4E2M1"):
        number = getattr(TensorProto, name)
        proto = single("Cast", {"x": numbers(DType.F32)}, {}, 23, to=number)
        with pytest.raises(UnsupportedOp, match=f"element type {name.lower()}") as caught:
            cauce.load_onnx(proto)
        assert "cauce computes in f32" in caught.value.fix


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("number", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_weights_in_halves(number: int, raw: bool) -> None:
    """In raw_data, and as bits in int32_data."""
    values = np.array([1.5, -0.1, 65504, 6e-8, np.inf, 3e38], np.float32)
    kind = helper.tensor_dtype_to_np_dtype(number)
    with np.errstate(over="ignore"):
        wanted = values.astype(kind)
    weight = numpy_helper.from_array(wanted, "w")
    if not raw:
        weight = helper.make_tensor("w", number, wanted.shape, wanted.tolist())
        assert list(weight.int32_data)
    assert bool(weight.raw_data) == raw
    node = helper.make_node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)
    add = helper.make_node("Add", ["x", "y"], ["z"])
    proto = model([node, add], {"x": np.zeros(6, np.float32)}, ["z"], opset=13)
    proto.graph.initializer.append(weight)
    loaded = cauce.load_onnx(proto)
    for backend in BACKENDS:
        found = cauce.compile(loaded, backend)(np.zeros(6, np.float32))
        assert np.array_equal(found, wanted.astype(np.float32))
