"""Data sets by name, or by what is in a folder."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from ..ir.errors import DataError
from ..ir.files import existing
from ..ir.tracebacks import user_facing
from ..ir.types import Array
from .arrays import load_npz
from .cifar import load_cifar10, load_cifar100
from .data import Dataset, load_digits, load_idx
from .folders import load_image_folder

Sets = tuple[Dataset, Dataset | None]

# What the files of MNIST and its kin are called; the classes are the digits, or numbers.
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_IDX_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_TRAIN, _TEST = ("train", "training"), ("test", "val", "valid", "validation")
_CONTENTS = (
    "a folder holds the files of CIFAR-10, CIFAR-100 or MNIST as they are distributed, or a "
    "subfolder of images for each class, or such folders in train/ and test/; an .npz file holds "
    "images and labels, or x_train, y_train, x_test and y_test"
)


@user_facing
def load_data(source: str | os.PathLike[str], size: int | tuple[int, int] | None = None) -> Sets:
    """The data set that a name, a folder or a file stands for, for training and for testing.

    Args:
        source: ``"digits"`` (scikit-learn's), a folder, or an .npz file. A folder is known by its
            contents: CIFAR-10 and CIFAR-100, IDX files (MNIST), or images, a subfolder for each
            class, perhaps in ``train`` and ``test``.
        size: that images of a folder are brought to, as for :func:`load_image_folder`.

    Returns:
        Two data sets; the second is None where there is one alone.

    Raises:
        DataError: another name, or a folder that holds something else.
        MissingExtra: what reads it is not installed.
    """
    path = Path(source)
    if os.fspath(source) == "digits" and not path.exists():
        return load_digits()
    if path.suffix.lower() == ".npz":
        return _of_arrays(existing(path))
    if not path.is_dir():
        raise DataError(
            f"there is no data set {source}", fix=f"name digits, or a path: {_CONTENTS}"
        )
    names = {entry.name for entry in path.iterdir()}
    if {"data_batch_1", "data_batch_1.bin"} & names:
        return load_cifar10(path)
    if "train.bin" in names or ({"train", "meta"} <= names and not (path / "train").is_dir()):
        return load_cifar100(path)
    train = _idx_pair(path, _IDX, names)
    if train is not None:
        return train, _idx_pair(path, _IDX_TEST, names)
    return _of_images(path, size)


def _of_arrays(path: str) -> Sets:
    """What an .npz file holds, under the names of Keras or those of :func:`load_npz`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except zipfile.BadZipFile:
        names = set()  # which load_npz says
    if "x_train" not in names:
        return load_npz(path), None
    with np.load(path, allow_pickle=False) as arrays:
        last = _channels_last(arrays["x_train"])
    train = load_npz(path, "x_train", "y_train", channels_last=last)
    if "x_test" not in names:
        return train, None
    test = load_npz(path, "x_test", "y_test", train.classes, channels_last=last)
    return train, test


def _channels_last(images: Array) -> bool:
    return images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3)


def _idx_pair(folder: Path, files: tuple[str, str], names: set[str]) -> Dataset | None:
    """The data set of two IDX files, as they are or compressed; None where they are not there."""
    found: list[Path] = []
    for file in files:
        there = [name for name in (file, f"{file}.gz") if name in names]
        if not there:
            return None
        found.append(folder / there[0])
    images, labels = found
    return load_idx(images, labels)


def _of_images(folder: Path, size: int | tuple[int, int] | None) -> Sets:
    """Images in a subfolder for each class, perhaps in one for training and one for testing."""
    below = {entry.name.lower(): entry for entry in folder.iterdir() if entry.is_dir()}
    train = next((below[name] for name in _TRAIN if name in below), None)
    test = next((below[name] for name in _TEST if name in below), None)
    if train is None or not any(entry.is_dir() for entry in train.iterdir()):
        if not below:
            raise DataError(f"{folder} holds no data set that is known", fix=_CONTENTS)
        return load_image_folder(folder, size), None
    loaded = load_image_folder(train, size)
    if test is None:
        return loaded, None
    return loaded, load_image_folder(test, size, classes=loaded.classes)
