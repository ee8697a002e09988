"""CIFAR-10 and CIFAR-100, in the binary and in the Python form in which they are distributed.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and
https://www.cs.toronto.edu/~kriz/cifar.html, which describes both forms. An image is 3072 bytes:
1024 of red, of green and of blue, each row by row. A binary file is a sequence of records, the
label byte (CIFAR-100: the coarse, then the fine label) and the image. A Python file is a pickled
dict with ``data`` u8[N, 3072] and lists of labels.

Images stay bytes, u8 [N, 3, 32, 32]: let the network scale and normalise them (``nn.normalize``),
or use ``Normalize`` on the way into the batches.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..ir.attributes import flag
from ..ir.errors import DataError
from ..ir.tracebacks import user_facing
from ..ir.types import Array
from .data import Dataset
from .pickles import read_pickled_dict

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SHAPE = (3, 32, 32)
BYTES = 3 * 32 * 32
HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"


@user_facing
def load_cifar10(folder: str | os.PathLike[str]) -> tuple[Dataset, Dataset]:
    """CIFAR-10 as (train, test): 50,000 and 10,000 images of 10 classes.

    Images are u8 [N, 3, 32, 32], labels int64 [N].

    Args:
        folder: ``cifar-10-batches-bin`` or ``cifar-10-batches-py``, unpacked.

    Raises:
        DataError: files that are missing, truncated or something else.

    Examples:
        >>> from pathlib import Path
        >>> Path("cifar").mkdir()
        >>> names = Path("cifar", "batches.meta.txt").write_text(chr(10).join("abcdefghij"))
        >>> for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        ...     size = Path("cifar", f"{name}.bin").write_bytes(bytes(2 * 3073))
        >>> train, test = training.load_cifar10("cifar")
        >>> train
        Dataset(10 images of 3 x 32 x 32, uint8, 10 classes)
        >>> test
        Dataset(2 images of 3 x 32 x 32, uint8, 10 classes)
    """
    train = [f"data_batch_{i}" for i in range(1, 6)]
    binary = _is_binary(Path(folder), [*train, "test_batch"])

    def read(names: Sequence[str]) -> Dataset:
        if binary:
            parts = [_read_binary(Path(folder, f"{name}.bin"), 1, 0) for name in names]
        else:
            parts = [_read_python(Path(folder, name), "labels") for name in names]
        return _joined(parts, CIFAR10_CLASSES)

    return read(train), read(["test_batch"])


@user_facing
def load_cifar100(
    folder: str | os.PathLike[str], *, coarse: bool = False
) -> tuple[Dataset, Dataset]:
    """CIFAR-100 as (train, test): 50,000 and 10,000 images of 100 classes.

    Images are u8 [N, 3, 32, 32], labels int64 [N].

    Args:
        folder: ``cifar-100-binary`` or ``cifar-100-python``, unpacked.
        coarse: take the 20 superclasses.

    Raises:
        DataError: files that are missing, truncated or something else.

    Examples:
        >>> from pathlib import Path
        >>> Path("cifar").mkdir()
        >>> for kind, count in (("fine", 100), ("coarse", 20)):
        ...     names = chr(10).join(map(str, range(count)))
        ...     size = Path("cifar", f"{kind}_label_names.txt").write_text(names)
        >>> for name, count in (("train", 4), ("test", 2)):
        ...     size = Path("cifar", f"{name}.bin").write_bytes(bytes(count * 3074))
        >>> train, test = training.load_cifar100("cifar", coarse=True)
        >>> train
        Dataset(4 images of 3 x 32 x 32, uint8, 20 classes)
    """
    coarse = flag(coarse, "coarse")
    kind = "coarse" if coarse else "fine"
    if _is_binary(Path(folder), ["train", "test"]):
        names = _existing(Path(folder, f"{kind}_label_names.txt")).read_text("utf-8").split()
        parts = [
            _read_binary(Path(folder, f"{name}.bin"), 2, 0 if coarse else 1)
            for name in ("train", "test")
        ]
    else:
        meta = _existing(Path(folder, "meta"))
        names = [_text(name) for name in read_pickled_dict(meta).get(f"{kind}_label_names", ())]
        parts = [_read_python(Path(folder, name), f"{kind}_labels") for name in ("train", "test")]
    train, test = (_joined([part], names) for part in parts)
    return train, test


def _is_binary(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder holds the files in the binary form, and not in the Python form."""
    missing = {
        suffix: [name + suffix for name in names if not (folder / (name + suffix)).is_file()]
        for suffix in (".bin", "")
    }
    suffix = min(missing, key=lambda suffix: len(missing[suffix]))
    if missing[suffix]:
        raise DataError(
            f"{folder} has no {', '.join(missing[suffix])}",
            fix=f"give the folder with the unpacked files of {HOME}",
        )
    return suffix == ".bin"


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(
            f"{path.parent} has no {path.name}, which holds the names of the classes",
            fix=f"give the folder with all unpacked files of {HOME}",
        )
    return path


def _read_binary(path: Path, label_bytes: int, place: int) -> tuple[Array, Array]:
    """Images and labels of records with some label bytes, of which one counts."""
    content = np.fromfile(path, np.uint8)
    record = label_bytes + BYTES
    if content.size == 0 or content.size % record:
        raise DataError(
            f"{path} holds {content.size} bytes, which are no whole records of {record}",
            fix="fetch and unpack the file again",
        )
    rows = content.reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, *SHAPE), rows[:, place]


def _read_python(path: Path, key: str) -> tuple[Array, Array]:
    content = read_pickled_dict(path)
    images, labels = content.get("data"), content.get(key)
    if not isinstance(images, np.ndarray) or images.shape[1:] != (BYTES,):
        raise DataError(
            f"{path} has no images under 'data' of {BYTES} bytes each",
            fix=f"give a file of the Python form of {HOME}",
        )
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(
            f"{path} has no list of labels under {key!r}, only {', '.join(content)}",
            fix="CIFAR-10 and CIFAR-100 have readers of their own",
        )
    return images.reshape(-1, *SHAPE), np.array(labels, np.int64)


def _joined(parts: Sequence[tuple[Array, Array]], classes: Sequence[str]) -> Dataset:
    images, labels = zip(*parts)
    return Dataset(np.concatenate(images), np.concatenate(labels), tuple(classes))


def _text(name: object) -> str:
    return name.decode("latin1") if isinstance(name, bytes) else str(name)
