"""Augmentation: images changed at random on their way into a batch, the same way in every run.

Every draw is a function of the seed, the epoch, the place of the transform in the list and the
index of the image in its data set, and of nothing else: a resumed run, or one with another batch
size, sees each image as the first one did. (Only :class:`Mixup` depends on what is in the batch.)

>>> augment = [RandomCrop(32, padding=4), RandomHorizontalFlip()]

Each transform takes a whole batch, and is written with NumPy alone; a new one is a subclass of
:class:`Transform`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..ir.attributes import integer, number, pair, positive, set_canonical
from ..ir.errors import AttributeMistake, DataError
from ..ir.ops.random import philox
from ..ir.tracebacks import user_facing
from ..ir.types import Array

# Beside the streams of data.py, so that a seed serves splits, orders and augmentation.
_AUGMENT = 2


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of one transform for the images of a batch.

    Attributes:
        key: u32[2], of the seed and the epoch.
        stream: the place of the transform in the list.
        indices: [B], the places of the images in their data set.
    """

    key: Array
    stream: int
    indices: Array

    def uniform(self, block: int = 0) -> Array:
        """Four numbers in [0, 1) for each image, f64[B, 4]; other blocks hold other numbers."""
        counter = np.empty((len(self.indices), 4), np.uint32)
        counter[:, 0] = self.indices & 0xFFFFFFFF
        counter[:, 1] = self.indices >> 32
        counter[:, 2] = self.stream
        counter[:, 3] = block
        return philox(counter, self.key) * 2.0**-32


class Transform(ABC):
    """A change of a batch.

    Images are [B, C, H, W] of any dtype, labels int64 [B] or probabilities f32 [B, classes].

    Class variables:
        random: whether it draws. One that does not is applied in validation too.
        per_image: whether what becomes of an image depends on no other of the batch, nor on how
            many there are. Where ranks share a batch, each does such ones on its own images alone.

    Examples:
        >>> class Invert(training.Transform):
        ...     random = False
        ...     def __call__(self, images, labels, draws):
        ...         return 1 - images, labels
        >>> images, labels = np.zeros((1, 1, 1, 2), np.float32), np.int64([0])
        >>> Invert()(images, labels, None)[0]
        array([[[[1., 1.]]]], dtype=float32)
    """

    random: ClassVar[bool] = True
    per_image: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, images: Array, labels: Array, draws: Draws) -> tuple[Array, Array]:
        """The changed batch, of new arrays: images [B, C, H, W], labels [B] or [B, classes]."""


def apply(
    transforms: Sequence[Transform],
    images: Array,
    labels: Array,
    *,
    seed: int,
    epoch: int,
    indices: Array,
) -> tuple[Array, Array]:
    """The batch after all transforms, in order.

    Args:
        transforms: what to do.
        images: [B, C, H, W].
        labels: [B].
        seed: with ``epoch`` and ``indices``, decides every draw.
        epoch: the number of the epoch, from 0.
        indices: [B], the places of the images in their data set.
    """
    key = np.random.SeedSequence(seed, spawn_key=(_AUGMENT, epoch)).generate_state(2)
    for stream, transform in enumerate(transforms):
        images, labels = transform(images, labels, Draws(key, stream, indices))
    return images, labels


def fixed(transforms: Sequence[Transform]) -> list[Transform]:
    """The transforms that draw nothing: those for validation."""
    return [transform for transform in transforms if not transform.random]


@user_facing
@dataclass(frozen=True)
class RandomCrop(Transform):
    """A part of ``size``, somewhere in the image with a border of ``padding`` on every side.

    Args as torchvision's ``RandomCrop``: ``size`` is an int or (height, width). Every place is as
    likely as any other. He et al. 2016, section 4.2: ``RandomCrop(32, padding=4)``.

    Images are [B, C, H, W] of any dtype, which they keep; labels stay. ``fill`` is what the border
    holds.

    Raises:
        AttributeMistake: a size below 1, or a negative padding.
        DataError: in a batch, images that are too small.

    Examples:
        >>> from cauce.training.augment import apply
        >>> images, labels = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), np.int64([1])
        >>> draws = {"seed": 0, "epoch": 0, "indices": np.array([0])}
        >>> images, labels = apply([training.RandomCrop(2, padding=1)], images, labels, **draws)
        >>> images, labels
        (array([[[[1., 0.],
                 [3., 0.]]]], dtype=float32), array([1]))
    """

    size: int | tuple[int, int]
    padding: int = 0
    fill: float = 0.0

    per_image = True

    def __post_init__(self) -> None:
        set_canonical(self, padding=integer, fill=number)
        height, width = pair(self.size, "size")
        object.__setattr__(self, "size", height if height == width else (height, width))
        if min(height, width) < 1 or self.padding < 0:
            raise AttributeMistake(
                f"RandomCrop: a size of {height} x {width} with a padding of {self.padding}",
                fix="use a size of at least 1 and a padding of at least 0",
            )

    def __call__(self, images: Array, labels: Array, draws: Draws) -> tuple[Array, Array]:
        size, border = pair(self.size, "size"), (self.padding, self.padding)
        padded = np.pad(images, ((0, 0), (0, 0), border, border), constant_values=self.fill)
        places = np.array(padded.shape[2:]) - size + 1
        if places.min() < 1:
            raise DataError(
                f"no crop of {size[0]} x {size[1]} fits in images of {images.shape[2]} x "
                f"{images.shape[3]} with a padding of {self.padding}",
                fix="choose a smaller size or a larger padding",
            )
        top, left = (draws.uniform()[:, :2] * places).astype(int).T
        windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(2, 3))
        return windows[np.arange(len(images)), :, top, left], labels


@user_facing
@dataclass(frozen=True)
class RandomHorizontalFlip(Transform):
    """Left and right exchanged, with probability ``p``.

    Images are [B, C, H, W] of any dtype, which they keep; labels stay.

    Raises:
        AttributeMistake: p is no probability.

    Examples:
        >>> from cauce.training.augment import apply
        >>> images, labels = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), np.int64([1])
        >>> draws = {"seed": 0, "epoch": 0, "indices": np.array([0])}
        >>> images, labels = apply([training.RandomHorizontalFlip(p=1)], images, labels, **draws)
        >>> images, labels
        (array([[[[1., 0.],
                 [3., 2.]]]], dtype=float32), array([1]))
    """

    p: float = 0.5

    per_image = True

    def __post_init__(self) -> None:
        set_canonical(self, p=number)
        if not 0 <= self.p <= 1:
            raise AttributeMistake(
                f"RandomHorizontalFlip: p is a probability, got {self.p}", fix="use 0 <= p <= 1"
            )

    def __call__(self, images: Array, labels: Array, draws: Draws) -> tuple[Array, Array]:
        flipped = draws.uniform()[:, 0] < self.p
        return np.where(flipped[:, None, None, None], images[..., ::-1], images), labels


@user_facing
@dataclass(frozen=True)
class Normalize(Transform):
    """(image - mean)/std for each channel, as f32; bytes are scaled to 0..1 first.

    The same as ``nn.normalize``, which is the better place: there a network that was exported or
    compiled for inference takes the images as they are, and nobody can forget it.
    ``Dataset.channel_statistics`` measures mean and std.

    Images are [B, C, H, W], u8 or floating-point. ``mean`` and ``std`` are numbers, or one for each
    channel.

    Raises:
        AttributeMistake: a std that is not positive.
        DataError: in a batch, another number of channels.

    Examples:
        >>> from cauce.training.augment import apply
        >>> images, labels = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), np.int64([1])
        >>> draws = {"seed": 0, "epoch": 0, "indices": np.array([0])}
        >>> images, labels = apply([training.Normalize(mean=1.5, std=0.5)], images, labels, **draws)
        >>> images, labels
        (array([[[[-3., -1.],
                 [ 1.,  3.]]]], dtype=float32), array([1]))
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]

    random = False
    per_image = True

    def __post_init__(self) -> None:
        set_canonical(self, mean=_numbers, std=_numbers)
        if not np.all(np.asarray(self.std) > 0):
            raise AttributeMistake(
                f"Normalize divides by std, got {self.std}", fix="give positive numbers"
            )

    def __call__(self, images: Array, labels: Array, draws: Draws) -> tuple[Array, Array]:
        scale = 255.0 if images.dtype == np.uint8 else 1.0
        columns = []
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if np.size(numbers) not in (1, images.shape[1]):
                raise DataError(
                    f"Normalize: {np.size(numbers)} numbers in {name} for {images.shape[1]} "
                    "channels",
                    fix="give one number, or one for each channel",
                )
            scaled = scale * np.asarray(numbers, np.float64).reshape(-1, 1, 1)
            columns.append(scaled.astype(np.float32))
        mean, std = columns
        return (images.astype(np.float32) - mean) / std, labels


@user_facing
@dataclass(frozen=True)
class OneHot(Transform):
    """Class indices become probabilities f32[B, classes]: 1 for the class, 0 for the others.

    A loss takes them with ``target=TensorType.make("f32", ("N", classes))``.

    Labels are integers [B].

    Raises:
        AttributeMistake: fewer than one class.
        DataError: in a batch, labels that are no indices of the classes.

    Examples:
        >>> from cauce.training.augment import apply
        >>> images, labels = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), np.int64([1])
        >>> draws = {"seed": 0, "epoch": 0, "indices": np.array([0])}
        >>> images, labels = apply([training.OneHot(3)], images, labels, **draws)
        >>> images, labels
        (array([[[[0., 1.],
                 [2., 3.]]]], dtype=float32), array([[0., 1., 0.]], dtype=float32))
    """

    classes: int

    random = False
    per_image = True

    def __post_init__(self) -> None:
        set_canonical(self, classes=positive)

    def __call__(self, images: Array, labels: Array, draws: Draws) -> tuple[Array, Array]:
        if labels.ndim != 1 or labels.max() >= self.classes:
            raise DataError(
                f"OneHot({self.classes}) takes indices below {self.classes}, got labels of shape "
                f"{labels.shape} up to {labels.max()}",
                fix="give the number of classes of the data set, and use OneHot once",
            )
        return images, np.equal(labels[:, None], np.arange(self.classes)).astype(np.float32)


@user_facing
@dataclass(frozen=True)
class Mixup(Transform):
    """share * (image, label) + (1 - share) * (another image of the batch, its label).

    The share of each image is drawn from Beta(alpha, alpha), the other images are a permutation of
    the batch. Labels are probabilities: put :class:`OneHot` before it. Bytes are rounded.
    Zhang et al. 2017, "mixup: beyond empirical risk minimization", eq. 1 and section 3.

    Images are [B, C, H, W] of any dtype, which they keep; labels are probabilities [B, classes].

    Raises:
        AttributeMistake: alpha is not positive.
        DataError: in a batch, labels that are indices.

    Examples:
        >>> from cauce.training.augment import apply
        >>> images, labels = np.float32([0, 1]).reshape(2, 1, 1, 1), np.int64([0, 1])
        >>> mix = [training.OneHot(2), training.Mixup(alpha=1.0)]
        >>> images, labels = apply(mix, images, labels, seed=0, epoch=0, indices=np.array([0, 1]))
        >>> images.ravel(), labels
        (array([0., 1.], dtype=float32), array([[1., 0.],
               [0., 1.]], dtype=float32))
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        set_canonical(self, alpha=number)
        if not 0 < self.alpha < np.inf:
            raise AttributeMistake(
                f"Mixup: alpha must be a positive number, got {self.alpha}",
                fix="0.2 mixes a little, 1.0 evenly",
            )

    def __call__(self, images: Array, labels: Array, draws: Draws) -> tuple[Array, Array]:
        if labels.ndim != 2:
            raise DataError(
                f"Mixup mixes probabilities [B, classes], got labels of shape {labels.shape}",
                fix="put OneHot(classes) before Mixup",
            )
        other = np.argsort(draws.uniform()[:, 0], kind="stable")
        share = _symmetric_beta(self.alpha, draws).astype(np.float32)
        return _mix(images, other, share), _mix(labels, other, share)


def _numbers(given: Any, what: str) -> float | tuple[float, ...]:
    """A float, or as many as there are channels, from a list or an array of them too."""
    several = isinstance(given, (tuple, list)) or (isinstance(given, np.ndarray) and given.ndim)
    return tuple(number(each, what) for each in given) if several else number(given, what)


def _mix(array: Array, other: Array, share: Array) -> Array:
    share = share.reshape(-1, *(1,) * (array.ndim - 1))
    mixed = share * array + (1 - share) * array[other]
    return (mixed if array.dtype.kind == "f" else np.rint(mixed)).astype(array.dtype)


def _symmetric_beta(alpha: float, draws: Draws) -> Array:
    """A number from Beta(alpha, alpha) for each image, from the blocks 1, 2, ... of the draws.

    Ulrich's formula for alpha > 1/2, and Jöhnk's rejection below, which accepts 3 of 4 at least:
    Devroye 1986, "Non-uniform random variate generation", section IX.4. (The draws of NumPy's own
    ``beta`` may differ from version to version.)
    """
    if alpha > 0.5:
        u, v = draws.uniform(1)[:, :2].T
        radius = np.sqrt(1 - (1 - u) ** (2 / (2 * alpha - 1)))
        return 0.5 + 0.5 * radius * np.cos(2 * np.pi * v)
    result = np.empty(len(draws.indices))
    pending, block = np.arange(len(result)), 1
    while pending.size:
        some = Draws(draws.key, draws.stream, draws.indices[pending])
        # In logarithms, since u**(1/alpha) underflows.
        x, y = np.log(1 - some.uniform(block)[:, :2].T) / alpha
        total = np.logaddexp(x, y)
        accepted = total <= 0
        result[pending[accepted]] = np.exp(x - total)[accepted]
        pending, block = pending[~accepted], block + 1
    return result
