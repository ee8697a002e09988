"""CIFAR in both forms, and pickles that would run code."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cauce.ir import Array
from cauce.ir.errors import DataError
from cauce.training.cifar import CIFAR10_CLASSES, load_cifar10, load_cifar100
from cauce.training.data import Dataset
from cauce.training.pickles import read_pickled_dict

SIZE = 3
TRAIN = [f"data_batch_{i}" for i in range(1, 6)]


def pixels(number: int) -> Array:
    """The images of a file, u8[SIZE, 3072]."""
    return np.random.default_rng(number).integers(0, 256, (SIZE, 3072)).astype(np.uint8)


def labels(number: int, classes: int) -> Array:
    return np.random.default_rng(100 + number).integers(0, classes, SIZE).astype(np.uint8)


# ---- files as they are distributed -------------------------------------------------------------


def text(value: bytes) -> bytes:
    """A str of Python 2, as its pickles of protocol 2 hold it."""
    return b"T" + struct.pack("<I", len(value)) + value


def python2_pickle(data: Array, **lists: list[int]) -> bytes:
    """What Python 2 and NumPy 1 wrote: a dict of lists of small numbers and of one byte array."""
    result = b"\x80\x02}("
    for name, values in lists.items():
        items = b"".join(b"K" + bytes([value]) for value in values)
        result += text(name.encode()) + b"](" + items + b"e"
    shape = b"".join(b"M" + struct.pack("<H", size) for size in data.shape)
    result += text(b"data") + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    result += b"K\x00\x85" + text(b"b") + b"\x87R(K\x01" + shape + b"\x86"
    result += b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|")
    result += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return result + b"\x89" + text(data.tobytes()) + b"tbu."


def write_cifar10(folder: Path, form: str) -> Path:
    for number, name in enumerate([*TRAIN, "test_batch"]):
        data, classes = pixels(number), labels(number, 10)
        if form == "binary":
            (folder / f"{name}.bin").write_bytes(np.c_[classes, data].tobytes())
        else:
            (folder / name).write_bytes(python2_pickle(data, labels=classes.tolist()))
    return folder


def write_cifar100(folder: Path, form: str) -> Path:
    names = {kind: [f"{kind}_{i}" for i in range(n)] for kind, n in (("fine", 100), ("coarse", 20))}
    for number, name in enumerate(["train", "test"]):
        data, fine, coarse = pixels(number), labels(number, 100), labels(number + 2, 20)
        if form == "binary":
            (folder / f"{name}.bin").write_bytes(np.c_[coarse, fine, data].tobytes())
        else:
            lists = {"fine_labels": fine.tolist(), "coarse_labels": coarse.tolist()}
            (folder / name).write_bytes(python2_pickle(data, **lists))
    for kind, listed in names.items():
        (folder / f"{kind}_label_names.txt").write_text("\n".join(listed) + "\n")
    if form == "python":
        meta = {f"{kind}_label_names".encode(): [n.encode() for n in names[kind]] for kind in names}
        (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
        for kind in names:
            (folder / f"{kind}_label_names.txt").unlink()
    return folder


FORMS = pytest.mark.parametrize("form", ["binary", "python"])


def check(data: Dataset, numbers: list[int], wanted: Array) -> None:
    images = np.concatenate([pixels(number) for number in numbers]).reshape(-1, 3, 32, 32)
    assert data.images.dtype == np.uint8
    assert np.array_equal(data.images, images)
    assert np.array_equal(data.labels, wanted)


@FORMS
def test_cifar10(tmp_path: Path, form: str) -> None:
    train, test = load_cifar10(write_cifar10(tmp_path, form))
    check(train, [0, 1, 2, 3, 4], np.concatenate([labels(number, 10) for number in range(5)]))
    check(test, [5], labels(5, 10))
    assert train.classes == test.classes == CIFAR10_CLASSES
    assert (len(CIFAR10_CLASSES), CIFAR10_CLASSES[3], CIFAR10_CLASSES[9]) == (10, "cat", "truck")


@FORMS
@pytest.mark.parametrize("coarse", [False, True])
def test_cifar100(tmp_path: Path, form: str, coarse: bool) -> None:
    train, test = load_cifar100(write_cifar100(tmp_path, form), coarse=coarse)
    for number, data in enumerate((train, test)):
        check(data, [number], labels(number + 2, 20) if coarse else labels(number, 100))
        assert len(data.classes) == (20 if coarse else 100)
        assert data.classes[7] == ("coarse_7" if coarse else "fine_7")


def test_a_pixel_is_where_the_format_says(tmp_path: Path) -> None:
    """Byte 1024 of an image is the first of green, byte 2048 + 32 of blue's second row."""
    write_cifar10(tmp_path, "binary")
    record = np.zeros(3073, np.uint8)
    record[0], record[1 + 1024], record[1 + 2048 + 32] = 7, 50, 60
    (tmp_path / "test_batch.bin").write_bytes(record.tobytes())
    _, test = load_cifar10(tmp_path)
    (image, label) = test[0]
    assert label == 7
    assert (image[1, 0, 0], image[2, 1, 0]) == (50, 60)
    assert image.astype(int).sum() == 110


# ---- files that are something else -------------------------------------------------------------


@pytest.mark.parametrize("load", [load_cifar10, load_cifar100])
def test_a_folder_without_the_files_is_refused(
    tmp_path: Path, load: Callable[[Path], object]
) -> None:
    with pytest.raises(DataError, match=r"has no .*\.bin") as caught:
        load(tmp_path)
    assert "cifar.html" in str(caught.value)


@FORMS
def test_the_missing_file_is_named(tmp_path: Path, form: str) -> None:
    name = "data_batch_3" + (".bin" if form == "binary" else "")
    (write_cifar10(tmp_path, form) / name).unlink()
    with pytest.raises(DataError, match=f"has no {name}$"):
        try:
            load_cifar10(tmp_path)
        except DataError as error:
            raise DataError(error.what) from None


@FORMS
def test_missing_names_of_classes_are_named(tmp_path: Path, form: str) -> None:
    name = "fine_label_names.txt" if form == "binary" else "meta"
    (write_cifar100(tmp_path, form) / name).unlink()
    with pytest.raises(DataError, match=f"has no {name}"):
        load_cifar100(tmp_path)


def test_a_truncated_binary_file_is_refused(tmp_path: Path) -> None:
    path = write_cifar10(tmp_path, "binary") / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_2\.bin holds 9218 bytes.*records of 3073"):
        load_cifar10(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="holds 0 bytes"):
        load_cifar10(tmp_path)


def test_labels_of_another_data_set_are_refused(tmp_path: Path) -> None:
    record = np.full(3073, 10, np.uint8)
    (write_cifar10(tmp_path, "binary") / "test_batch.bin").write_bytes(record.tobytes())
    with pytest.raises(DataError, match="labels run from 10 to 10, but there are 10 classes"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"labels": [0]}, "no images under 'data'"),
        ({b"data": [1, 2, 3], b"labels": [0]}, "no images under 'data'"),
        ({b"data": np.zeros((1, 3071), np.uint8), b"labels": [0]}, "of 3072 bytes each"),
        ({b"data": np.zeros((1, 3072), np.uint8)}, "no list of labels under 'labels', only data"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["a"]}, "no list of labels"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [0, 1]}, "1 images and 2 labels"),
    ],
)
def test_a_pickle_of_something_else_is_refused(
    tmp_path: Path, content: dict[bytes, object], message: str
) -> None:
    (write_cifar10(tmp_path, "python") / "test_batch").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(DataError, match=message):
        load_cifar10(tmp_path)


# ---- pickles -----------------------------------------------------------------------------------


def read(tmp_path: Path, content: bytes) -> dict[str, Any]:
    path = tmp_path / "file"
    path.write_bytes(content)
    return read_pickled_dict(path)


def test_the_pickle_of_python_2_is_one() -> None:
    """That the files above are what NumPy itself would read."""
    data = pixels(0)
    content = pickle.load(io.BytesIO(python2_pickle(data, labels=[1, 2, 3])), encoding="bytes")
    assert content[b"labels"] == [1, 2, 3]
    assert np.array_equal(content[b"data"], data)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_python_3_are_read_too(tmp_path: Path, protocol: int, order: Any) -> None:
    data = np.asarray(pixels(0), order=order)
    given = {"data": data, "labels": [1, 2], "name": "x", "raw": b"\xff\0", "none": (None, 1.5)}
    content = read(tmp_path, pickle.dumps(given, protocol))
    assert np.array_equal(content.pop("data"), data)
    del given["data"]
    assert content == given


class Call:
    """Is pickled as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", ["whole", "key", "value", "label"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, place: str, protocol: int) -> None:
    proof = tmp_path / "proof"
    evil = Call(os.mkdir, str(proof))
    content: dict[str, object] = {
        "whole": evil,
        "key": {evil: 1},
        "value": {"data": evil},
        "label": {"labels": [0, evil]},
    }
    raw = pickle.dumps(content[place], protocol)
    pickle.loads(raw)
    proof.rmdir()  # so much for pickle.loads
    with pytest.raises(DataError, match=rf"asks for {os.mkdir.__module__}.mkdir") as caught:
        read(tmp_path, raw)
    assert not proof.exists()
    assert "do not open it with pickle.load" in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [eval, exec, getattr, __import__, np.load, np.fromfile, np.frombuffer, bytearray, Path],
)
def test_no_other_name_is_reached(tmp_path: Path, function: Callable[..., object]) -> None:
    with pytest.raises(DataError, match="which plain data does not need"):
        read(tmp_path, pickle.dumps({"data": Call(function, "1")}, 2))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "exhausted before seeing STOP"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "LONG_BINPUT of 2147483647 in 9 bytes"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\0\0\0}.", "FRAME of 1099511627775 in 13 bytes"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\0\0\0a.", "expected 1099511627775 bytes"),
        (b"hello", "no pickle"),
        (pickle.dumps([1]), "it holds a list, not a dict"),
        (pickle.dumps({"data": np.zeros(3, np.float32)}, 2), "arrays are of 'f4', not of bytes"),
        (pickle.dumps({"data": np.array([[1], None], object)}, 2), "arrays are of 'O8'"),
        (pickle.dumps({"data": np.zeros(1000, np.uint8)}, 2)[:-500], "no pickle"),
        (python2_pickle(pixels(0), labels=[1])[:-100] + b"tbu.", "no pickle"),
        (python2_pickle(pixels(0)).replace(b"M\x03\x00", b"M\x04\x00"), "cannot reshape"),
        (b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.", "asks for builtins.eval"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0aload.sysem\x93.", r"asks for numpy\.load\.sysem"),
        (b"\x80\x02}U\x01aP1\n.", "no pickle"),  # a persistent id
        (b"\x80\x02}(U\x01acnumpy\ndtype\n)Ru.", "no pickle"),
        (b"\x80\x02}(U\x01acnumpy\nndarray\n)Ru.", "no pickle"),  # an array that is never filled
        (b"\x80\x02}(U\x01acnumpy\nndarray\n)R(K\x01K\x01NI00\nU\x01xtbu.", "without a dtype"),
        (b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "rot13"),
    ],
)
def test_what_is_no_pickle_of_plain_data_is_refused(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, raw)
    assert str(tmp_path / "file") in str(caught.value)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_pickled_dict(tmp_path / "file")


def test_damage_anywhere_is_an_error_or_harmless(tmp_path: Path) -> None:
    """A byte changed at every place of the skeleton: nothing but DataError comes out."""
    good = python2_pickle(np.zeros((1, 4), np.uint8), labels=[1])
    pickletools.dis(good, io.StringIO())
    refused = 0
    for place in range(len(good)):
        for change in (0x01, 0x20, 0xFF):
            bad = bytearray(good)
            bad[place] ^= change
            try:
                content = read(tmp_path, bytes(bad))
            except DataError:
                refused += 1
            else:
                assert isinstance(content, dict)
    assert refused > len(good)
