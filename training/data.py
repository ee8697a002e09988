"""Data sets of labelled images, and seeded batches of them.

Readers make a :class:`Dataset`; each file format has a module of its own (``idx.py``).

Nothing here depends on state that a program carries along: a split follows from its seed, the
order of a batch from the seed and the epoch. A run that is resumed at batch ``k`` of epoch ``e``
sees what the first run would have seen.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from ..ir.attributes import flag, integer, number, pair, plain
from ..ir.communicator import evenly, starts
from ..ir.errors import AttributeMistake, DataError, MissingExtra, OutOfRange, install, need, shown
from ..ir.preprocessing import Preprocessing
from ..ir.remedies import as_array
from ..ir.tracebacks import user_facing
from ..ir.types import Array
from .augment import Transform, apply
from .idx import read_idx

# Each use of a seed draws from a stream of its own; augment.py has another.
_SPLIT, _BATCHES = 0, 1


@user_facing
@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their labels, read-only.

    Attributes:
        images: [N, C, H, W], of any dtype.
        labels: [N], the index of each image's class; kept as int64. A column [N, 1] of them, as
            Keras's data sets have, and bools are taken too.
        classes: the names of the classes.
        preprocessing: how an image file becomes such an image, which a model that is trained on
            them learns. Where None is given, bytes are taken for pixels, and what floats are made
            of is not known (``scale`` is None).

    Raises:
        DataError: no images, other ranks, lengths that differ, or labels without a class.
        TypeMismatch: classes that are no list of names.

    Examples:
        >>> images = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
        >>> data = cauce.Dataset(images, [0, 1] * 4, ("even", "odd"))
        >>> data
        Dataset(8 images of 1 x 1 x 1, float32, 2 classes)
        >>> len(data), data[0][1], data[2:4]
        (8, 0, Dataset(2 images of 1 x 1 x 1, float32, 2 classes))
        >>> data.channel_statistics()
        ((3.5,), (2.29128784747792,))
        >>> train, test = data.split(0.25, seed=0)
        >>> train, test.labels
        (Dataset(6 images of 1 x 1 x 1, float32, 2 classes), array([1, 0]))
    """

    images: Array
    labels: Array
    classes: tuple[str, ...]
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        try:
            images, labels = as_array(self.images, "images"), as_array(self.labels, "labels")
        except ValueError:
            raise DataError(
                "the images, or the labels, are no array: they differ in size",
                fix="bring all images to one size and stack them with np.stack",
            ) from None
        if images.ndim != 4:
            raise DataError(
                f"images are [N, C, H, W], got an array of shape {images.shape}",
                fix=_four_dimensions(images.shape, labels.size),
            )
        if labels.ndim == 2 and labels.shape[1] == 1 and labels.dtype.kind in "biu":
            labels = labels[:, 0]
        if labels.ndim != 1 or labels.dtype.kind not in "biu":
            raise DataError(
                f"labels are [N] integers, got {labels.dtype} of shape {labels.shape}",
                fix=_indices(labels),
            )
        if len(images) != len(labels):
            raise DataError(
                f"there are {len(images)} images and {len(labels)} labels",
                fix="give one label for each image",
            )
        if images.size == 0:
            raise DataError(
                f"a data set without a pixel: the images have shape {images.shape}",
                fix="select or load at least one image",
            )
        fix = "write for example ('cat', 'dog')"
        need(self.classes, (list, tuple, np.ndarray), "classes are a list of names", fix)
        named = self.classes
        classes = tuple(named.tolist() if isinstance(named, np.ndarray) else named)
        if labels.min() < 0 or labels.max() >= len(classes):
            raise DataError(
                f"labels run from {labels.min()} to {labels.max()}, "
                f"but there are {len(classes)} classes",
                fix="name every class, and count labels from 0",
            )
        object.__setattr__(self, "images", _read_only(images))
        object.__setattr__(self, "labels", _read_only(labels.astype(np.int64, copy=False)))
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "preprocessing", self._described(classes))

    def _described(self, classes: tuple[str, ...]) -> Preprocessing:
        """How an image file becomes one of the images."""
        told = self.preprocessing
        if told is None:
            channels = {1: "L", 3: "RGB"}.get(self.images.shape[1])
            scale = 1.0 if self.images.dtype == np.uint8 else None
            told = Preprocessing(self.images.shape[2:], channels=channels, scale=scale)
        fix = "write for example cauce.Preprocessing(size=224, scale=1.0)"
        need(told, Preprocessing, "preprocessing= takes a Preprocessing", fix)
        return told.named(tuple(map(str, classes)))

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, key: int | np.integer) -> tuple[Array, int]: ...

    @overload
    def __getitem__(self, key: slice | Array | Sequence[int]) -> Dataset: ...

    def __getitem__(
        self, key: int | np.integer | slice | Array | Sequence[int]
    ) -> tuple[Array, int] | Dataset:
        """One image [C, H, W] and its label by an index; a data set by a slice, indices or mask."""
        key = plain(key)
        try:
            images, labels = self.images[key], self.labels[key]
        except IndexError:  # which also ends a loop over the images
            raise OutOfRange(
                f"a data set of {len(self)} images has no [{shown(key)}]",
                fix=f"use indices from 0 to {len(self) - 1}, slices, or a mask of as many flags",
            ) from None
        if isinstance(key, int):
            return images, int(labels)
        return Dataset(images, labels, self.classes, self.preprocessing)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.images.shape[1:]))
        return (
            f"Dataset({len(self)} images of {size}, {self.images.dtype}, "
            f"{len(self.classes)} classes)"
        )

    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, for ``nn.normalize`` and ``Normalize``.

        Bytes count from 0 to 1. A channel that is constant has a deviation of 0, which cannot be
        divided by.
        """
        scale = 255.0 if self.images.dtype == np.uint8 else 1.0
        channels = [self.images[:, c] for c in range(self.images.shape[1])]
        means = [float(channel.mean(dtype=np.float64)) / scale for channel in channels]
        deviations = [float(channel.std(dtype=np.float64)) / scale for channel in channels]
        return tuple(means), tuple(deviations)

    def split(self, fraction: float, seed: int, stratified: bool = True) -> tuple[Dataset, Dataset]:
        """Two data sets: what is left, and a random part of round(fraction * N) images.

        Both keep the order of the images. Stratified, the part holds ``fraction`` of each class,
        rounded down or up. The split depends on the seed alone: ``train, test = data.split(0.2,
        seed=0)`` is the same on every machine.

        Raises:
            AttributeMistake: a fraction outside 0..1, or one that leaves either side empty.
        """
        fraction = number(fraction, "fraction")
        size = round(fraction * len(self)) if 0 < fraction < 1 else 0
        if not 0 < size < len(self):
            raise AttributeMistake(
                f"a fraction of {fraction} splits {len(self)} images into "
                f"{len(self) - size} and {size}",
                fix="choose a fraction between 0 and 1 that leaves images on both sides",
            )
        order = _permutation(len(self), seed, _SPLIT)
        chosen = order[:size]
        if stratified:
            quota = fraction * np.bincount(self.labels)
            counts = np.floor(quota).astype(int)
            by_remainder = np.argsort(counts - quota, kind="stable")
            counts[by_remainder[: size - counts.sum()]] += 1
            of_class = self.labels[order]
            chosen = np.concatenate([order[of_class == k][:n] for k, n in enumerate(counts)])
        mask = np.zeros(len(self), bool)
        mask[chosen] = True
        return self[~mask], self[mask]


def _four_dimensions(shape: tuple[int, ...], labels: int) -> str:
    """How images of another rank become [N, C, H, W]; as many labels as images tell them apart."""
    if len(shape) == 3 and shape[0] != labels and shape[2] in (1, 3, 4):
        return "this is one image of H x W x C: images.transpose(2, 0, 1)[None] makes a batch of it"
    if len(shape) == 3 and shape[0] != labels and shape[0] in (1, 3, 4):
        return "this is one image of C x H x W: images[None] makes a batch of it"
    if len(shape) == 3:
        return "add a channel axis to grey images with images[:, None]"
    if len(shape) == 2 and shape[0] != labels:
        return "this is one grey image: images[None, None] adds its batch and its channel"
    for channels in (1, 3):
        side = math.isqrt(math.prod(shape[1:]) // channels)
        if len(shape) == 2 and side and channels * side**2 == shape[1]:
            return f"make images of the rows: images.reshape(-1, {channels}, {side}, {side})"
    return "bring them to four dimensions: images.reshape(N, C, H, W), with the numbers of yours"


def _indices(labels: Array) -> str:
    """How other labels become the indices of classes."""
    given = "labels"
    if labels.ndim == 2 and labels.shape[1] == 1:  # its argmax would be 0 throughout
        labels, given = labels[:, 0], "labels[:, 0]"
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        return "turn one-hot labels into indices with labels.argmax(axis=1)"
    if labels.ndim != 1:
        return (
            "a Dataset has one class for each image; for other targets write the loop yourself "
            "with cauce.train_step"
        )
    if labels.dtype.kind in "biuf":
        return f"convert them: {given}.astype(np.int64)"
    return f"number the names: classes, labels = np.unique({given}, return_inverse=True)"


@user_facing
def batch_count(dataset: Dataset, batch_size: int, *, drop_last: bool = False) -> int:
    """How many batches an epoch has.

    Raises:
        AttributeMistake: a batch size below 1, or one of which not a single batch can be filled.
    """
    batch_size, drop_last = integer(batch_size, "batch_size"), flag(drop_last, "drop_last")
    if batch_size < 1:
        raise AttributeMistake(f"a batch of {batch_size} images", fix="choose a batch size >= 1")
    if drop_last and len(dataset) < batch_size:
        raise AttributeMistake(
            f"{len(dataset)} images do not fill one batch of {batch_size}, "
            "and drop_last drops the batch that is not full",
            fix="choose a smaller batch size, or drop_last=False",
        )
    return len(dataset) // batch_size if drop_last else -(-len(dataset) // batch_size)


@user_facing
def batches(
    dataset: Dataset,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    drop_last: bool = False,
    start: int = 0,
    augment: Sequence[Transform] = (),
    part: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Array, Array]]:
    """The batches of one epoch, as (images [B, C, H, W], labels [B]).

    Images keep their dtype, labels are int64.

    Args:
        dataset: where the images come from.
        batch_size: B; the last batch may be smaller.
        seed: with ``epoch``, decides the order; nothing else does.
        epoch: the number of the epoch, from 0.
        shuffle: False keeps the order of the data set.
        drop_last: leave out a last batch that is smaller.
        start: the batch to begin with, for a run that is resumed within an epoch.
        augment: what is done to the images, in order; its draws follow from ``seed`` and ``epoch``.
        part: (rank, ranks): of each batch those images alone that are this rank's, a run of
            neighbours; one image all the same where it has none.

    Raises:
        AttributeMistake: see :func:`batch_count`; a start beyond the end; a negative seed or epoch;
            a rank that there is not.

    Examples:
        >>> images = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
        >>> data = cauce.Dataset(images, [0, 1] * 4, ("even", "odd"))
        >>> for images, labels in training.batches(data, 3, seed=0, epoch=0, shuffle=False):
        ...     print(images.ravel(), labels)
        [0. 1. 2.] [0 1 0]
        [3. 4. 5.] [1 0 1]
        [6. 7.] [0 1]
    """
    count = batch_count(dataset, batch_size, drop_last=drop_last)
    # NumPy's numbers would overflow in what follows.
    batch_size, start = integer(batch_size, "batch_size"), integer(start, "start")
    if not 0 <= start <= count:
        raise AttributeMistake(
            f"cannot start at batch {start}: the epoch has {count}", fix=f"start within 0..{count}"
        )
    seed, epoch = _not_negative(seed), _not_negative(epoch)
    rank, ranks = pair(part, "part")
    if rank >= ranks:
        raise AttributeMistake(
            f"there is no rank {rank} of {ranks}", fix="count ranks from 0: part=(0, 2), (1, 2)"
        )
    size, shuffle = len(dataset), flag(shuffle, "shuffle")
    order = _permutation(size, seed, _BATCHES, epoch) if shuffle else np.arange(size)
    chunks = (order[k * batch_size : (k + 1) * batch_size] for k in range(start, count))
    return _drawn(dataset, chunks, augment, seed, epoch, rank, ranks)


@user_facing
def _drawn(
    dataset: Dataset,
    chunks: Iterable[Array],
    augment: Sequence[Transform],
    seed: int,
    epoch: int,
    rank: int,
    ranks: int,
) -> Iterator[tuple[Array, Array]]:
    together = not all(transform.per_image for transform in augment)
    for chunk in chunks:
        counts = evenly(len(chunk), ranks)
        first = min(starts(counts)[rank], len(chunk) - 1)
        own = slice(first, first + max(1, counts[rank]))
        if not together:
            chunk = chunk[own]
        images, labels = dataset.images[chunk], dataset.labels[chunk]
        images, labels = apply(augment, images, labels, seed=seed, epoch=epoch, indices=chunk)
        yield (images[own], labels[own]) if together else (images, labels)


@user_facing
def load_digits(test_fraction: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
    """The 1797 handwritten digits that scikit-learn ships, as (train, test).

    Images are f32 [N, 1, 8, 8] from 0 to 1. The split is stratified, and fixed by ``seed``.
    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test set).

    Labels are int64 [N].

    Args:
        test_fraction: the share of the images that are for testing.
        seed: decides which.

    Raises:
        MissingExtra: scikit-learn is not installed.
        AttributeMistake: a fraction that leaves either side empty.

    Examples:
        >>> train, test = cauce.load_digits()
        >>> train
        Dataset(1438 images of 1 x 8 x 8, float32, 10 classes)
        >>> len(test)
        359
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingExtra(
            "the digits come with scikit-learn, which is not installed",
            fix=install("scikit-learn"),
        ) from error
    digits = datasets.load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    names, told = tuple(map(str, digits.target_names)), _grey(images)
    return Dataset(images, digits.target, names, told).split(test_fraction, seed)


@user_facing
def load_idx(
    images_path: str | os.PathLike[str],
    labels_path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Grey images and their labels from two IDX files, plain or gzip: MNIST and its kin.

    Args:
        images_path: bytes [N, H, W]; become f32 [N, 1, H, W] from 0 to 1.
        labels_path: bytes [N].
        classes: the names of the classes; the numbers up to the greatest label where None.

    Raises:
        DataError: files in another format, truncated, of another rank or dtype, or of different
            lengths.
        FileNotFoundError: there is no such file.

    Examples:
        >>> from pathlib import Path
        >>> def idx(path, array):
        ...     header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        ...     Path(path).write_bytes(header + array.tobytes())
        >>> idx("images", np.zeros((4, 28, 28), np.uint8))
        >>> idx("labels", np.arange(4, dtype=np.uint8))
        >>> cauce.load_idx("images", "labels")
        Dataset(4 images of 1 x 28 x 28, float32, 4 classes)
    """
    pixels = _bytes_of_rank(read_idx(images_path), 3, images_path, "images [N, H, W]")
    labels = _bytes_of_rank(read_idx(labels_path), 1, labels_path, "labels [N]")
    if len(pixels) != len(labels):
        raise DataError(
            f"{images_path} holds {len(pixels)} images, {labels_path} {len(labels)} labels",
            fix="give the two files of the same set: both for training, or both for testing",
        )
    images = np.divide(pixels, 255, dtype=np.float32)[:, None]
    names = classes if classes is not None else map(str, range(int(labels.max(initial=0)) + 1))
    return Dataset(images, labels, tuple(names), _grey(images))


def _grey(images: Array) -> Preprocessing:
    """That of grey images from 0 to 1."""
    return Preprocessing(images.shape[2:], channels="L")


def _bytes_of_rank(array: Array, rank: int, path: str | os.PathLike[str], wanted: str) -> Array:
    if array.dtype != np.uint8 or array.ndim != rank:
        raise DataError(
            f"{path} holds {array.dtype} of shape {array.shape}, not bytes that are {wanted}",
            fix="check that the images and the labels are not swapped",
        )
    return array


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _permutation(size: int, seed: int, *stream: int) -> Array:
    """A permutation of ``size`` that depends on the seed and the stream alone.

    Sorted by raw bits: NumPy promises that these never change, and does not promise it of
    ``Generator.permutation`` (NEP 19).
    """
    sequence = np.random.SeedSequence(_not_negative(seed), spawn_key=stream)
    bits = np.random.PCG64(sequence).random_raw(size)
    return np.argsort(bits, kind="stable")


def _not_negative(given: int) -> int:
    value = integer(given, "a seed or an epoch")
    if value < 0:
        raise AttributeMistake(f"a negative seed or epoch: {value}", fix="count from 0")
    return value
