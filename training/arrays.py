"""Data sets from NumPy's own files, ``.npz`` and ``.npy``.

Pickled objects in them are never loaded: they could run any code.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ..ir.attributes import flag
from ..ir.errors import DataError
from ..ir.files import existing
from ..ir.tracebacks import user_facing
from ..ir.types import Array
from .data import Dataset

# How the files begin: numpy.lib.format, and an archive of such files.
NPY, NPZ = b"\x93NUMPY", b"PK"


@user_facing
def load_npz(
    path: str | os.PathLike[str],
    images: str = "images",
    labels: str = "labels",
    classes: Sequence[str] | None = None,
    *,
    channels_last: bool = False,
) -> Dataset:
    """A data set from one file, such as ``np.savez(path, images=..., labels=...)`` writes.

    Args:
        path: the file.
        images: the name of the images in it: [N, C, H, W], or grey ones [N, H, W]; of any dtype.
        labels: the name of the labels in it: [N], integers.
        classes: the names of the classes; the numbers up to the greatest label where None.
        channels_last: whether the images are [N, H, W, C] instead.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: another or a damaged file, one without these arrays, or arrays that are no data
            set.

    Examples:
        >>> np.savez("data.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4))
        >>> training.load_npz("data.npz", classes=("a", "b", "c", "d"))
        Dataset(4 images of 1 x 8 x 8, uint8, 4 classes)
    """
    with _reading(path, NPZ), np.load(path, allow_pickle=False) as archive:
        missing = [name for name in (images, labels) if name not in archive.files]
        if missing:
            raise DataError(
                f"{os.fspath(path)} has no array called {missing[0]!r}, "
                f"only {', '.join(archive.files) or 'nothing'}",
                fix="say what they are called: load_npz(path, images='x_train', labels='y_train')",
            )
        found = archive[images], archive[labels]
    return _dataset(*found, classes, channels_last)


@user_facing
def load_npy(
    images_path: str | os.PathLike[str],
    labels_path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    *,
    channels_last: bool = False,
) -> Dataset:
    """A data set from two files that ``np.save`` wrote; see :func:`load_npz`.

    ``images_path`` and ``labels_path`` take the place of the one. Shapes, dtypes, ``classes`` and
    ``channels_last`` are as there.

    Raises:
        FileNotFoundError, DataError: as there.

    Examples:
        >>> np.save("images.npy", np.zeros((4, 8, 8, 3), np.uint8))
        >>> np.save("labels.npy", np.arange(4))
        >>> training.load_npy("images.npy", "labels.npy", channels_last=True)
        Dataset(4 images of 3 x 8 x 8, uint8, 4 classes)
    """
    return _dataset(read_npy(images_path), read_npy(labels_path), classes, channels_last)


def read_npy(path: str | os.PathLike[str]) -> Array:
    """The array of a file that ``np.save`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: another or a damaged file, or one of objects.
    """
    with _reading(path, NPY):
        return np.asarray(np.load(path, allow_pickle=False))


@contextmanager
def _reading(path: str | os.PathLike[str], magic: bytes) -> Iterator[None]:
    """Check how a file begins, and let what NumPy finds wrong with it be a DataError."""
    with open(existing(path), "rb") as file:
        start = file.read(len(magic))
    kind = "npz" if magic == NPZ else "npy"
    if not start:
        raise DataError(f"{os.fspath(path)} is empty", fix="fetch or write the file again")
    if start != magic:
        raise DataError(
            f"{os.fspath(path)} is no .{kind} file: it begins with {start!r}, not with {magic!r}",
            fix="write it by np.savez, or by np.savez_compressed"
            if kind == "npz"
            else "write it by np.save; np.savez makes .npz files, which hold several arrays",
        )
    try:
        yield
    except DataError:
        raise
    except (ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{os.fspath(path)} cannot be read: {error}",
            fix="fetch or write the file again; it must hold arrays of numbers, not of objects",
        ) from error


def _dataset(
    images: Array, labels: Array, classes: Sequence[str] | None, channels_last: bool
) -> Dataset:
    channels_last = flag(channels_last, "channels_last")
    if images.ndim == 3:
        images = images[:, None]
    elif channels_last and images.ndim == 4:
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if classes is None:
        integers = labels.dtype.kind in "iu" and labels.size
        classes = list(map(str, range(int(labels.max()) + 1 if integers else 0)))
    return Dataset(images, labels, tuple(classes))
