"""Decoding of ONNX's tensors, against what the onnx package writes and reads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cauce.ir import DType
from cauce.ir.dims import symbol
from cauce.ir.errors import DataError, UnsupportedOp
from cauce.ir.onnx.pads import pairs_of, same_pads
from cauce.ir.onnx.tensors import MOST_FILLED, NUMBERS, Decoder
from cauce.ir.unknown import Unknown

VALUES = [[0, 1, 2], [3, 100, 7]]


def test_the_numbers_of_dtypes_are_those_of_onnx() -> None:
    for dtype, number in NUMBERS.items():
        if dtype is not DType.BF16:
            assert helper.np_dtype_to_tensor_dtype(dtype.numpy) == number
    assert NUMBERS[DType.BF16] == TensorProto.BFLOAT16
    assert set(NUMBERS) == set(DType)


@pytest.mark.parametrize("dtype", DType)
@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_tensor_is_decoded(dtype: DType, as_bytes: bool) -> None:
    """make_tensor writes the typed field of each dtype, or raw bytes."""
    kind = NUMBERS[dtype]
    array = np.array(VALUES).astype(helper.tensor_dtype_to_np_dtype(kind))
    content = array.tobytes() if as_bytes else array.flatten()
    tensor = helper.make_tensor("t", kind, (2, 3), content, raw=as_bytes)
    decoded, found = Decoder()(tensor)
    assert found is dtype
    assert decoded.dtype == dtype.numpy
    np.testing.assert_array_equal(decoded, numpy_helper.to_array(tensor).astype(dtype.numpy))


def test_a_tensor_with_less_than_its_shape_says_is_refused() -> None:
    tensor = TensorProto(name="t", data_type=1, dims=(2, 3), float_data=[1, 2])
    with pytest.raises(DataError, match=r"'t' is f32\[2, 3\], and holds 2 elements"):
        Decoder()(tensor)
    tensor = TensorProto(name="t", data_type=1, dims=(2**40,), raw_data=b"1234")
    with pytest.raises(DataError, match="holds 4 bytes"):
        Decoder()(tensor)


def test_strings_are_refused() -> None:
    with pytest.raises(UnsupportedOp, match="element type string"):
        Decoder()(helper.make_tensor("t", TensorProto.STRING, (1,), [b"a"]))


def external(tmp_path: Path, **changed: str) -> TensorProto:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights").write_bytes(b"secret" * 9)
    (tmp_path / "inner" / "weights").write_bytes(b"1234" + np.arange(6, dtype="<f4").tobytes())
    tensor = TensorProto(name="t", data_type=1, dims=(2, 3), data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "weights", "offset": "4", "length": "24"} | changed).items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_external_data_are_read(tmp_path: Path) -> None:
    array, dtype = Decoder(str(tmp_path / "inner"))(external(tmp_path))
    assert dtype is DType.F32
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"location": "../weights"}, "outside the folder"),
        ({"location": "/etc/passwd"}, "outside the folder"),
        ({"location": ""}, "outside the folder"),
        ({"location": "../inner/weights/../../weights"}, "outside the folder"),
        ({"location": "weights\0"}, "outside the folder"),
        ({"location": "pipe"}, "no such file"),
        ({"offset": str(2**70)}, "cannot be read"),
        ({"location": "none"}, "cannot be read"),
        ({"offset": "8"}, "cannot be read"),
        ({"offset": "-4"}, "cannot be read"),
        ({"length": "20"}, "cannot be read"),
        ({"offset": "four"}, "cannot be read"),
    ],
)
def test_external_data_elsewhere_are_refused(
    tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    tensor = external(tmp_path, **changed)
    os.mkfifo(tmp_path / "inner" / "pipe")
    with pytest.raises(DataError, match=message):
        Decoder(str(tmp_path / "inner"))(tensor)


def test_external_data_that_a_link_leads_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    tensor = external(tmp_path, location="link")
    (tmp_path / "inner" / "link").symlink_to(tmp_path / "weights")
    with pytest.raises(DataError, match="outside the folder"):
        Decoder(str(tmp_path / "inner"))(tensor)


def test_external_data_by_an_absolute_path_are_refused(tmp_path: Path) -> None:
    tensor = external(tmp_path, location=str(tmp_path / "inner" / "weights"))
    with pytest.raises(DataError, match="name it by a relative path"):
        Decoder(str(tmp_path / "inner"))(tensor)


def test_external_data_of_a_model_without_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the path of the model"):
        Decoder()(external(tmp_path))


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 2]]])
def test_a_sparse_tensor_is_filled_with_zeros(indices: list[object]) -> None:
    values = helper.make_tensor("t", TensorProto.FLOAT, (2,), [7, 8])
    places = numpy_helper.from_array(np.array(indices, np.int64))
    array, dtype = Decoder().sparse(helper.make_sparse_tensor(values, places, (2, 3)))
    assert dtype is DType.F32
    np.testing.assert_array_equal(array, [[0, 7, 0], [0, 0, 8]])


@pytest.mark.parametrize(
    ("indices", "shape"), [([1, 6], (2, 3)), ([-1, 0], (2, 3)), ([0, 1], (2**40, 3))]
)
def test_a_sparse_tensor_beyond_its_shape_is_refused(
    indices: list[int], shape: tuple[int, ...]
) -> None:
    values = helper.make_tensor("t", TensorProto.FLOAT, (2,), [7, 8])
    places = numpy_helper.from_array(np.array(indices, np.int64))
    sparse = onnx.SparseTensorProto(values=values, indices=places, dims=shape)
    with pytest.raises(DataError, match="sparse tensor 't'"):
        Decoder().sparse(sparse)


def test_many_sparse_tensors_are_filled_to_a_bound_in_all() -> None:
    values = helper.make_tensor("t", TensorProto.FLOAT, (1,), [7])
    places = numpy_helper.from_array(np.array([0], np.int64))
    sparse = onnx.SparseTensorProto(values=values, indices=places, dims=(MOST_FILLED // 4,))
    decode = Decoder()
    for _ in range(4):
        decode.sparse(sparse)
    with pytest.raises(DataError, match="for at most"):
        decode.sparse(sparse)


def test_pads_are_paired_by_axis() -> None:
    assert pairs_of([1, 2, 3, 4]) == [(1, 3), (2, 4)]


@pytest.mark.parametrize(
    ("size", "extent", "stride", "upper", "pads"),
    [
        (7, 3, 2, True, (1, 1)),
        (8, 3, 2, True, (0, 1)),
        (8, 3, 2, False, (1, 0)),
        (8, 1, 2, True, (0, 0)),
        (symbol("H"), 4, 1, True, (1, 2)),
        (2 * symbol("H"), 3, 2, True, (0, 1)),
    ],
)
def test_same_padding(size, extent, stride, upper, pads) -> None:
    assert same_pads(size, extent, stride, upper) == pads


def test_same_padding_of_an_unknown_size_is_refused() -> None:
    with pytest.raises(Unknown, match="the size H is not known"):
        same_pads(symbol("H"), 3, 2, True)
