"""Element types, their names and carriers, rounding to bfloat16, tensor types, literals."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir import DType, Literal, TensorType, symbol
from cauce.ir.errors import ShapeError, TypeMismatch

ITEMSIZE = {
    "bool": 1,
    "i8": 1,
    "i16": 2,
    "i32": 4,
    "i64": 8,
    "u8": 1,
    "u16": 2,
    "u32": 4,
    "u64": 8,
    "f16": 2,
    "bf16": 2,
    "f32": 4,
    "f64": 8,
}


def test_every_dtype_by_its_short_name() -> None:
    assert {str(dtype): dtype.itemsize for dtype in DType} == ITEMSIZE
    assert all(DType.of(name) is DType(name) for name in ITEMSIZE)


def test_onnx_numeric_types_are_all_there() -> None:
    """Those of ONNX that hold one number of 8 to 64 bits: 4-bit, 8-bit floats and complex apart."""
    names = {"FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL"}
    names |= {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
    assert names <= set(onnx.TensorProto.DataType.keys())
    assert len(names) == len(DType)


@pytest.mark.parametrize("dtype", DType, ids=str)
def test_kind_and_carrier(dtype: DType) -> None:
    name = dtype.value
    assert dtype.is_float == ("f" in name)
    assert dtype.is_integer == (name[0] in "iu")
    carrier = "float32" if dtype is DType.BF16 else _numpy_name(name)
    assert dtype.numpy == np.dtype(carrier)
    assert repr(dtype) == f"DType.{name.upper()}"


def _numpy_name(name: str) -> str:
    words = {"i": "int", "u": "uint", "f": "float"}
    return "bool" if name == "bool" else words[name[0]] + name[1:]


@pytest.mark.parametrize("dtype", [d for d in DType if d is not DType.BF16], ids=str)
def test_dtype_of_what_a_user_may_write(dtype: DType) -> None:
    name = _numpy_name(dtype.value)
    for spelling in (dtype, dtype.value, name, np.dtype(name), np.dtype(name).type):
        assert DType.of(spelling) is dtype


def test_dtype_of_other_spellings() -> None:
    assert DType.of("bfloat16") is DType.BF16
    assert DType.of(float) is DType.F64
    assert DType.of(bool) is DType.BOOL


@pytest.mark.parametrize("wrong", ["f8", "i4", "complex64", np.complex128, "S3", 3, None, "F32"])
def test_dtype_of_refuses(wrong: object) -> None:
    with pytest.raises(TypeMismatch, match="is not a dtype") as caught:
        DType.of(wrong)
    assert "bf16" in str(caught.value)


# ---- bfloat16 ----------------------------------------------------------------------------------


def float_of(bits: int) -> np.float32:
    return np.float32(struct.unpack("<f", struct.pack("<I", bits))[0])


def bits_of(x: np.float32) -> int:
    return int(struct.unpack("<I", struct.pack("<f", x))[0])


def nearest_bfloat16(bits: int) -> int:
    """The bfloat16 next to a finite float32, as float32 bits, in exact fractions.

    The neighbours are found by cutting 16 bits off; one past the greatest finite one, the upper
    neighbour stands for infinity and counts as 2**128.
    """

    def worth(pattern: int) -> Fraction:
        if pattern & 0x7FFFFFFF == 0x7F800000:
            return Fraction(2) ** 128
        return abs(Fraction(float(float_of(pattern))))

    low = bits & 0xFFFF0000
    high = low + 0x10000
    exact = worth(bits)
    below, above = exact - worth(low), worth(high) - exact
    if below == above:
        return low if (low >> 16) % 2 == 0 else high
    return low if below < above else high


SPECIAL = [
    0x00000000,  # 0
    0x80000000,  # -0
    0x00000001,  # the least denormal
    0x007FFFFF,  # the greatest denormal
    0x00008000,  # half of the least denormal bfloat16: a tie
    0x00018000,  # a tie upwards
    0x3F808000,  # 1 + 2**-8: a tie to even, down
    0x3F818000,  # a tie to even, up
    0x3F80FFFF,
    0x7F7FFFFF,  # the greatest float32: rounds to infinity
    0x7F7F7FFF,  # rounds to the greatest bfloat16
    0x7F7F8000,  # a tie: infinity is even
    0x7F800000,  # infinity
    0xFF800000,
]


def finite_bits() -> st.SearchStrategy[int]:
    return st.integers(0, 2**32 - 1).filter(lambda bits: bits & 0x7F800000 != 0x7F800000)


@given(st.lists(finite_bits(), min_size=1, max_size=20))
def test_bfloat16_is_the_nearest_with_ties_to_even(patterns: list[int]) -> None:
    patterns = patterns + [bits for bits in SPECIAL if bits & 0x7F800000 != 0x7F800000]
    array = np.array(patterns, np.uint32).view(np.float32)
    rounded = DType.BF16.round(array)
    assert rounded.dtype == np.float32
    assert [bits_of(x) for x in rounded] == [nearest_bfloat16(bits) for bits in patterns]


def test_bfloat16_agrees_with_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    array = np.concatenate([bits, np.array(SPECIAL, np.uint32)]).view(np.float32)
    with np.errstate(invalid="ignore"):
        expected = array.astype(ml_dtypes.bfloat16).astype(np.float32)
    rounded = DType.BF16.round(array)
    number = ~np.isnan(array)
    np.testing.assert_array_equal(rounded[number].view(np.uint32), expected[number].view(np.uint32))
    assert np.isnan(rounded[~number]).all()


def test_bfloat16_keeps_nan_and_is_idempotent() -> None:
    # A NaN whose set bits all lie in the half that is cut off must not become infinity.
    nans = np.array([0x7F800001, 0xFF80FFFF, 0x7FC00000, 0x7FFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(DType.BF16.round(nans)).all()
    values = DType.BF16.round(np.linspace(-3, 3, 1001))
    np.testing.assert_array_equal(DType.BF16.round(values), values)


def test_round_leaves_the_other_types_as_they_are() -> None:
    x = np.array([0.1, -2.5])
    assert DType.F64.round(x) is x
    assert DType.F32.round(x).dtype == np.float32
    assert DType.F16.round(np.float64(0.1)) == np.float16(0.1)


# ---- tensor types ------------------------------------------------------------------------------


def test_tensor_type() -> None:
    type_ = TensorType.make("float32", ("N", 64, "H//2", 56))
    assert str(type_) == "f32[N,64,H//2,56]"
    assert type_.rank == 4
    assert type_.size == symbol("N") * 64 * (symbol("H") // 2) * 56
    assert str(type_.bind({"N": 2, "H": 9})) == "f32[2,64,4,56]"
    assert type_.bind({"N": 2, "H": 9}).nbytes == 2 * 64 * 4 * 56 * 4
    assert str(type_.with_dtype(DType.I8)) == "i8[N,64,H//2,56]"
    assert type_.with_shape((3,)) == TensorType(DType.F32, (3,))
    assert str(TensorType.make("f64", ())) == "f64[]"
    assert TensorType.make("f64", ()).size == 1
    assert TensorType.make("bf16", (3,)).nbytes == 6


def test_tensor_type_of_an_array() -> None:
    assert TensorType.of(np.zeros((2, 3), np.uint16)) == TensorType(DType.U16, (2, 3))
    with pytest.raises(TypeMismatch, match="complex"):
        TensorType.of(np.zeros(2, complex))


def test_tensor_type_refuses() -> None:
    with pytest.raises(ShapeError, match="cannot be negative, got -1"):
        TensorType.make("f32", (-1, 3))
    with pytest.raises(TypeMismatch, match="'floaty' is not a dtype"):
        TensorType.make("floaty", (1,))


# ---- literals ----------------------------------------------------------------------------------


def test_literals_take_the_dtype_of_arrays_and_floats_are_f32() -> None:
    assert Literal(np.zeros(2, np.int8)).type == TensorType(DType.I8, (2,))
    assert Literal(0.5).dtype is DType.F32
    assert Literal([1, 2]).dtype is DType.I64
    assert Literal(True).dtype is DType.BOOL
    assert Literal([0.1], "f64").array[0] == 0.1
    assert Literal(0.1, DType.BF16).array == np.float32(0.10009765625)


def test_literals_are_immutable_copies() -> None:
    source = np.arange(3.0)
    literal = Literal(source)
    source[0] = 9
    assert literal.array[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        literal.array[0] = 1


def test_literals_compare_by_contents() -> None:
    a, b = Literal(np.arange(6.0).reshape(2, 3)), Literal(np.arange(6.0).reshape(2, 3))
    assert a == b and hash(a) == hash(b) and a.digest == b.digest
    assert a != Literal(np.arange(6.0).reshape(3, 2))
    assert a != Literal(np.arange(6.0).reshape(2, 3), "f32")
    assert Literal(np.float32(0.0)) != Literal(np.float32(-0.0))
    assert Literal(math.nan) == Literal(math.nan)
    assert Literal(np.arange(6.0).reshape(3, 2).T) == Literal(np.array([[0.0, 2, 4], [1, 3, 5]]))
