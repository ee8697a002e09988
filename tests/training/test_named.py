"""Data sets by name, and by what is in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cauce.ir.errors import DataError
from cauce.training.cifar import CIFAR10_CLASSES
from cauce.training.named import load_data


def test_digits() -> None:
    pytest.importorskip("sklearn")
    train, test = load_data("digits")
    assert test is not None and (len(train), len(test)) == (1438, 359)


def records(path: Path, count: int, label_bytes: int) -> None:
    """A file of CIFAR in its binary form."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (count, label_bytes + 3072), dtype=np.uint8)
    rows[:, :label_bytes] = (np.arange(count) % 10)[:, None]
    rows.tofile(path)


def test_cifar(tmp_path: Path) -> None:
    ten, hundred = tmp_path / "ten", tmp_path / "hundred"
    ten.mkdir(), hundred.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records(ten / f"{name}.bin", 10, 1)
    train, test = load_data(ten)
    assert test is not None and (len(train), len(test)) == (50, 10)
    assert train.classes == CIFAR10_CLASSES
    for name in ("train", "test"):
        records(hundred / f"{name}.bin", 10, 2)
    (hundred / "fine_label_names.txt").write_text("\n".join(f"class{i}" for i in range(100)))
    train, test = load_data(hundred)
    assert test is not None and len(train.classes) == 100


def idx(path: Path, array: np.ndarray) -> None:
    """A file in the IDX format."""
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(head + array.tobytes())


@pytest.mark.parametrize("with_test", [False, True])
def test_idx_files(with_test: bool, tmp_path: Path) -> None:
    for start, count in (("train", 6), *((("t10k", 4),) if with_test else ())):
        idx(tmp_path / f"{start}-images-idx3-ubyte", np.zeros((count, 5, 4), np.uint8))
        idx(tmp_path / f"{start}-labels-idx1-ubyte", (np.arange(count) % 3).astype(np.uint8))
    train, test = load_data(tmp_path)
    assert train.images.shape == (6, 1, 5, 4)
    assert (len(test) if test is not None else None) == (4 if with_test else None)


def picture(path: Path, size: tuple[int, int] = (5, 4)) -> None:
    """An image of one colour."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)


def test_folders_of_images(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    for label in ("cat", "dog"):
        picture(tmp_path / "flat" / label / "1.png")
        for part in ("train", "val"):
            picture(tmp_path / "split" / part / label / "1.png", (7, 8))
    train, test = load_data(tmp_path / "flat")
    assert test is None and train.classes == ("cat", "dog") and train.images.shape == (2, 3, 4, 5)
    train, test = load_data(tmp_path / "split", size=6)
    assert test is not None and test.classes == train.classes
    assert train.images.shape == test.images.shape == (2, 3, 6, 6)


def test_npz_files(tmp_path: Path) -> None:
    images, labels = np.zeros((6, 1, 5, 4), np.float32), np.arange(6) % 3
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    train, test = load_data(tmp_path / "own.npz")
    assert test is None and train.images.shape == (6, 1, 5, 4)
    last = np.zeros((6, 8, 9, 3), np.uint8)
    np.savez(tmp_path / "keras.npz", x_train=last, y_train=labels, x_test=last[:2], y_test=[0, 1])
    train, test = load_data(tmp_path / "keras.npz")
    assert test is not None and test.images.shape == (2, 3, 8, 9) and len(test.classes) == 3
    np.savez(tmp_path / "grey.npz", x_train=np.zeros((6, 8, 9), np.uint8), y_train=labels)
    train, test = load_data(tmp_path / "grey.npz")
    assert test is None and train.images.shape == (6, 1, 8, 9)


def test_what_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.npz").write_text("none")
    for source, message in (
        ("digts", "there is no data set digts"),
        (tmp_path / "empty", "holds no data set that is known"),
        (tmp_path / "none.npz", "is no .npz file"),
    ):
        with pytest.raises(DataError, match=message):
            load_data(source)
