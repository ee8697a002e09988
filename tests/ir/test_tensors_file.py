"""Files of arrays: what is read is what the format says, and what is no such file is refused."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from cauce.ir.errors import DataError
from cauce.ir.tensors_file import load_tensors, save_tensors

KINDS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


def written(path: Path, header: object, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.lists(st.integers(0, 4), max_size=3)), max_size=5)
)
def test_files_are_read_as_the_library_reads_them(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, list[int]]]
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "some.safetensors"
    rng = np.random.default_rng(0)
    arrays = {
        f"a{i}": rng.integers(0, 2, shape).astype(kind) for i, (kind, shape) in enumerate(drawn)
    }
    save_file(arrays, path, {"note": "é"})
    found, metadata = load_tensors(path)
    assert metadata == {"note": "é"}
    assert found.keys() == arrays.keys()
    for name, array in load_file(path).items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].flags.writeable and found[name].flags.aligned
        np.testing.assert_array_equal(found[name], array)


def test_arrays_stay_when_the_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": np.arange(100_000.0)}, {})
    found = load_tensors(path)[0]["a"]
    with path.open("r+b") as file:  # in place, not beside it
        file.truncate(10)
    np.testing.assert_array_equal(found, np.arange(100_000.0))


def test_nothing_is_in_memory_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {name: np.zeros(250_000) for name in "abcd"}, {})
    tracemalloc.start()
    try:
        load_tensors(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 8_000_000 <= peak < 8_500_000


def test_any_truncation_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": np.ones(5, np.float32), "b": np.ones((), np.int64)}, {"note": "x"})
    whole = path.read_bytes()
    for content in [*(whole[:length] for length in range(len(whole))), whole + b"\0"]:
        path.write_bytes(content)
        with pytest.raises(DataError, match="is not a safetensors file"):
            load_tensors(path)


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    """Each bit of header and data; a bit in the checksum's own name takes the checksum away."""
    path = tmp_path / "a.safetensors"
    arrays = {"a": np.arange(5, dtype=np.float32), "b": np.ones((), np.int64)}
    save_tensors(path, arrays, {"graph": "conv2d"})
    whole = path.read_bytes()
    name = whole.index(b'"checksum"')
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            try:
                found, metadata = load_tensors(path)
            except DataError:
                continue
            assert name < place < name + 9
            assert metadata["graph"] == "conv2d" and found.keys() == arrays.keys()
            assert all(np.array_equal(found[key], array) for key, array in arrays.items())


def test_a_flipped_bit_in_large_arrays_is_found(tmp_path: Path) -> None:
    """In the first block, in the last whole one, and in the bytes behind it."""
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": np.zeros(1500, np.float64)}, {})
    assert load_tensors(path)[1] == {}
    whole = bytearray(path.read_bytes())
    for place in (-12000, -12000 + 8191, -12000 + 8192, -1):
        whole[place] ^= 0x10
        path.write_bytes(whole)
        with pytest.raises(DataError, match=r"a\.safetensors is damaged: bits of its 1 arrays"):
            load_tensors(path)
        whole[place] ^= 0x10


def test_values_that_change_places_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    array = np.arange(1024.0)
    save_tensors(path, {"a": array}, {})
    whole = path.read_bytes()
    array[[0, 600]] = array[[600, 0]]
    path.write_bytes(whole[:-8192] + array.tobytes())
    with pytest.raises(DataError, match="is damaged"):
        load_tensors(path)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        {"a": None},
        {"a": {"dtype": "F32", "shape": [2]}},
        {"a": {**F32, "more": 1}},
        {"a": {**F32, "shape": 2}},
        {"a": {**F32, "shape": [2.0]}},
        {"a": {**F32, "shape": [-2]}},
        {"a": {**F32, "shape": [-1, -2]}},
        {"a": {**F32, "shape": [3]}},
        {"a": {**F32, "data_offsets": [8]}},
        {"a": {**F32, "data_offsets": [0.0, 8.0]}},
        {"a": {**F32, "data_offsets": [8, 16]}},
        {"a": {**F32, "data_offsets": [-8, 0]}},
        {"a": F32, "b": F32},
        {"a": F32, "b": {**F32, "shape": [0, 10**30], "data_offsets": [8, 8]}},
        {"a": F32, "b": {**F32, "data_offsets": [10, 18]}},
        {"a": F32, "__metadata__": {"x": 1}},
        {"a": F32, "__metadata__": []},
    ],
)
def test_headers_that_cannot_be(tmp_path: Path, header: object) -> None:
    with pytest.raises(DataError, match="is not a safetensors file"):
        load_tensors(written(tmp_path / "a.safetensors", header, bytes(8)))


def test_an_array_that_does_not_lie_on_a_multiple_of_its_size(tmp_path: Path) -> None:
    header = {"a": {**F32, "data_offsets": [1, 9]}, "b": {**F32, "dtype": "U8", "shape": [1]}}
    header["b"]["data_offsets"] = [0, 1]
    data = b"\7" + np.array([1.5, 2.5], "<f4").tobytes()
    found = load_tensors(written(tmp_path / "a.safetensors", header, data))[0]
    assert found["a"].flags.aligned and found["a"].tolist() == [1.5, 2.5]
    assert found["b"].tolist() == [7]
