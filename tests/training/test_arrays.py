"""Data sets from .npz and .npy files, and files that are something else."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cauce.ir.errors import DataError
from cauce.training.arrays import load_npy, load_npz

IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
LABELS = np.array([2, 0])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_with_images_and_labels(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "data.npz", images=IMAGES, labels=LABELS, other=np.zeros(3))
    data = load_npz(tmp_path / "data.npz")
    assert np.array_equal(data.images, IMAGES)
    assert data.images.dtype == np.float32
    assert data.labels.tolist() == [2, 0]
    assert data.classes == ("0", "1", "2")


def test_other_names_and_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", x=IMAGES, y=LABELS.astype(np.uint8))
    data = load_npz(str(tmp_path / "mnist.npz"), "x", "y", classes=["a", "b", "c", "d"])
    assert data.classes == ("a", "b", "c", "d")
    assert data.labels.dtype == np.int64


def test_two_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", LABELS)
    data = load_npy(tmp_path / "x.npy", tmp_path / "y.npy")
    assert np.array_equal(data.images, IMAGES)
    assert data.labels.tolist() == [2, 0]


def test_grey_images_get_a_channel(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=IMAGES[:, 0], labels=LABELS)
    assert load_npz(tmp_path / "data.npz").images.shape == (2, 1, 4, 5)
    assert load_npz(tmp_path / "data.npz", channels_last=True).images.shape == (2, 1, 4, 5)


def test_channels_may_come_last(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=IMAGES.transpose(0, 2, 3, 1), labels=LABELS)
    data = load_npz(tmp_path / "data.npz", channels_last=True)
    assert np.array_equal(data.images, IMAGES)
    assert data.images.flags.c_contiguous


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES, "labels": LABELS}, "no array called 'images', only x, labels"),
        ({"images": IMAGES, "y": LABELS}, "no array called 'labels', only images, y"),
        ({}, "no array called 'images', only nothing"),
        ({"images": IMAGES, "labels": LABELS[:1]}, "2 images and 1 labels"),
        ({"images": IMAGES[0, 0], "labels": LABELS}, r"shape \(4, 5\)"),
        ({"images": IMAGES, "labels": LABELS / 2}, "labels are .* float64"),
        ({"images": IMAGES, "labels": np.array(["a", "b"])}, "labels are .* <U1"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "without a pixel"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_npz(tmp_path / "data.npz")
    assert caught.value.fix


class Call:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


def test_objects_are_not_loaded(tmp_path: Path) -> None:
    evil = np.array([Call(str(tmp_path / "proof"))], object)
    np.savez(tmp_path / "evil.npz", images=evil, labels=LABELS)
    np.save(tmp_path / "evil.npy", evil)
    np.load(tmp_path / "evil.npy", allow_pickle=True)
    (tmp_path / "proof").rmdir()  # so much for allow_pickle
    with pytest.raises(DataError, match=r"evil\.npz cannot be read: Object arrays"):
        load_npz(tmp_path / "evil.npz")
    with pytest.raises(DataError, match=r"evil\.npy cannot be read: Object arrays"):
        load_npy(tmp_path / "evil.npy", tmp_path / "evil.npy")
    assert not (tmp_path / "proof").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "data.npz", images=IMAGES, labels=LABELS)
    np.save(tmp_path / "x.npy", IMAGES)
    whole = (tmp_path / "data.npz").read_bytes()
    for damaged in (whole[:-9], whole[:120] + b"\xff\xff\xff\xff" + whole[124:], b"PK"):
        (tmp_path / "data.npz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"data\.npz cannot be read"):
            load_npz(tmp_path / "data.npz")
    whole = (tmp_path / "x.npy").read_bytes()
    for damaged in (whole[:-1], whole[:20], b"\x93NUMPY"):
        (tmp_path / "x.npy").write_bytes(damaged)
        with pytest.raises(DataError, match=r"x\.npy cannot be read"):
            load_npy(tmp_path / "x.npy", tmp_path / "x.npy")


def test_other_files_are_refused_by_how_they_begin(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=LABELS)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match=r"x\.npy is no \.npz file: it begins with b'\\x93N'"):
        load_npz(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"data\.npz is no \.npy file"):
        load_npy(tmp_path / "data.npz", tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"text is no \.npz file: it begins with b'he'"):
        load_npz(tmp_path / "text")
    with pytest.raises(DataError, match=r"empty is empty"):
        load_npz(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "absent.npz")


def test_a_size_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    """30 TB by the header, 100 bytes in the file."""
    header: dict[str, Any] = {"descr": "|u1", "fortran_order": False}
    path = tmp_path / "huge.npy"
    with path.open("wb") as file:
        header["shape"] = (10**6, 3, 10**4, 10**3)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(100))
    with pytest.raises(DataError, match=r"huge.npy cannot be read"):
        load_npy(path, path)
    archive = tmp_path / "huge.npz"
    with zipfile.ZipFile(archive, "w") as whole:
        for name in ("images", "labels"):
            whole.write(path, f"{name}.npy")
    with pytest.raises(DataError, match=r"huge.npz cannot be read"):
        load_npz(archive)
