"""Augmentation: what each transform does, and that its draws follow from seed, epoch and index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.frontends import nn
from cauce.frontends.network import network
from cauce.ir import Array, TensorType, evaluate
from cauce.ir.errors import AttributeMistake, CauceError, DataError
from cauce.training.augment import (
    Draws,
    Mixup,
    Normalize,
    OneHot,
    RandomCrop,
    RandomHorizontalFlip,
    Transform,
    _symmetric_beta,
    apply,
    fixed,
)
from cauce.training.data import Dataset, batches

SIZE = 24
# Every pixel of every image is another number.
IMAGES = np.arange(SIZE * 2 * 4 * 5, dtype=np.float32).reshape(SIZE, 2, 4, 5)
LABELS = np.arange(SIZE) % 3
DATA = Dataset(IMAGES, LABELS, ("a", "b", "c"))


def augmented(
    *transforms: Transform, images: Array = IMAGES, seed: int = 0, epoch: int = 0
) -> tuple[Array, Array]:
    indices = np.arange(len(images))
    labels = LABELS[: len(images)]
    return apply(transforms, images, labels, seed=seed, epoch=epoch, indices=indices)


def draws(size: int, seed: int = 1) -> Draws:
    return Draws(np.array([seed, 7], np.uint32), 0, np.arange(size))


# ---- the draws ---------------------------------------------------------------------------------

EVERYTHING = [RandomCrop((4, 5), padding=2), RandomHorizontalFlip()]


def image_of(batches_: Sequence[tuple[Array, Array]]) -> dict[int, Array]:
    """The augmented images of an epoch by their places, told by a channel that says which."""
    return {int(image[0].max()): image for images, _ in batches_ for image in images}


def numbered() -> Dataset:
    """Channel 0 of image i is filled with i + 1: a crop whose border is 0 still tells."""
    images = IMAGES.copy()
    images[:, 0] = np.arange(1, SIZE + 1)[:, None, None]
    return Dataset(images, LABELS, DATA.classes)


@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 50), size=st.integers(1, SIZE))
def test_an_image_is_augmented_alike_whatever_the_batch(seed: int, epoch: int, size: int) -> None:
    data = numbered()
    one = image_of(list(batches(data, SIZE, seed=seed, epoch=epoch, augment=EVERYTHING)))
    other = image_of(list(batches(data, size, seed=seed, epoch=epoch, augment=EVERYTHING)))
    in_order = image_of(
        list(batches(data, size, seed=seed, epoch=epoch, augment=EVERYTHING, shuffle=False))
    )
    assert one.keys() == other.keys() == in_order.keys() == set(range(1, SIZE + 1))
    assert all(np.array_equal(one[i], other[i]) for i in one)
    assert all(np.array_equal(one[i], in_order[i]) for i in one)


def test_a_resumed_epoch_sees_the_same_batches() -> None:
    everything = [*EVERYTHING, OneHot(3), Mixup(0.4)]
    whole = list(batches(DATA, 5, seed=3, epoch=2, augment=everything))
    rest = list(batches(DATA, 5, seed=3, epoch=2, augment=everything, start=2))
    assert len(rest) == 3
    for (images, labels), (images_again, labels_again) in zip(whole[2:], rest, strict=True):
        assert np.array_equal(images, images_again)
        assert np.array_equal(labels, labels_again)


def test_seed_and_epoch_both_change_the_draws() -> None:
    results = {
        augmented(*EVERYTHING, seed=seed, epoch=epoch)[0].tobytes()
        for seed in (0, 1, 2**33)
        for epoch in range(3)
    }
    assert len(results) == 9


def test_equal_transforms_draw_apart() -> None:
    """Two flips in a row are not one the inverse of the other."""
    once = augmented(RandomHorizontalFlip())[0]
    twice = augmented(RandomHorizontalFlip(), RandomHorizontalFlip())[0]
    assert not np.array_equal(once, IMAGES)
    assert not np.array_equal(twice, IMAGES)


def test_the_draws_are_the_same_on_every_machine() -> None:
    cropped, _ = augmented(RandomCrop(2), images=IMAGES[:6])
    corners = [int(image[0, 0, 0]) % 40 for image in cropped]
    assert corners == [8, 8, 7, 3, 10, 7]


def test_blocks_of_draws_are_independent_and_even() -> None:
    many = np.concatenate([draws(5000).uniform(block) for block in range(3)], axis=1)
    assert many.shape == (5000, 12)
    assert 0 <= many.min() < 0.01
    assert 0.99 < many.max() < 1
    assert np.abs(np.corrcoef(many.T) - np.eye(12)).max() < 0.06
    np.testing.assert_allclose(many.mean(axis=0), 0.5, atol=0.02)


def test_the_images_of_the_data_set_stay_as_they_are() -> None:
    before = IMAGES.copy()
    list(batches(DATA, 5, seed=0, epoch=0, augment=[*EVERYTHING, OneHot(3), Mixup()]))
    assert np.array_equal(IMAGES, before)


# ---- crop and flip -----------------------------------------------------------------------------


def test_a_crop_is_a_part_of_the_padded_image() -> None:
    cropped, labels = augmented(RandomCrop((3, 4), padding=1, fill=-1))
    assert cropped.shape == (SIZE, 2, 3, 4)
    assert cropped.dtype == IMAGES.dtype
    assert np.array_equal(labels, LABELS)
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1)
    for image, whole in zip(cropped, padded, strict=True):
        parts = [whole[:, top : top + 3, left : left + 4] for top in range(4) for left in range(4)]
        assert sum(np.array_equal(image, part) for part in parts) == 1


def test_every_place_of_a_crop_is_as_likely() -> None:
    images = np.broadcast_to(np.arange(16.0).reshape(1, 1, 4, 4), (4000, 1, 4, 4))
    crop, labels = RandomCrop(3), np.zeros(4000, int)
    corners = crop(images, labels, draws(4000))[0][:, 0, 0, 0].astype(int)
    counts = np.bincount(corners, minlength=16)
    assert np.flatnonzero(counts).tolist() == [0, 1, 4, 5]
    np.testing.assert_allclose(counts[[0, 1, 4, 5]], 1000, rtol=0.1)


def test_a_crop_of_the_whole_image_changes_nothing() -> None:
    assert np.array_equal(augmented(RandomCrop((4, 5)))[0], IMAGES)


def test_half_of_the_images_are_flipped() -> None:
    images = np.broadcast_to(np.array([0.0, 1.0]), (4000, 1, 1, 2))
    flipped = RandomHorizontalFlip()(images, np.zeros(4000, int), draws(4000))[0]
    assert 1900 < flipped[:, 0, 0, 0].sum() < 2100
    assert np.array_equal(flipped.sum(axis=3), np.ones((4000, 1, 1)))


@pytest.mark.parametrize(("p", "wanted"), [(0.0, IMAGES), (1.0, IMAGES[..., ::-1])])
def test_a_flip_may_be_certain(p: float, wanted: Array) -> None:
    assert np.array_equal(augmented(RandomHorizontalFlip(p))[0], wanted)


def test_bytes_stay_bytes() -> None:
    images = (IMAGES % 256).astype(np.uint8)
    result, _ = augmented(*EVERYTHING, OneHot(3), Mixup(1.0), images=images)
    assert result.dtype == np.uint8


# ---- normalize ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_normalising_gives_what_the_network_would(dtype: type[np.generic]) -> None:
    images = (IMAGES % 256).astype(dtype)
    mean, std = (0.25, 0.5), (0.5, 0.125)

    @network
    def inside(image):
        return nn.normalize(image, mean, std)

    graph = inside.graph(image=TensorType.of(images))
    (wanted,) = evaluate(graph, {"image": images}).outputs.values()
    result, _ = augmented(Normalize(mean, std), images=images)
    assert result.dtype == np.float32
    assert np.array_equal(result, wanted)


def test_the_statistics_of_a_data_set_normalise_it() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal([[[[3.0]], [[-1.0]]]], [[[[2.0]], [[0.5]]]], (50, 2, 8, 8))
    data = Dataset(images, np.zeros(50, int), ("a",))
    mean, std = data.channel_statistics()
    np.testing.assert_allclose(mean, [3, -1], atol=0.1)
    np.testing.assert_allclose(std, [2, 0.5], atol=0.05)
    result, _ = next(batches(data, 50, seed=0, epoch=0, augment=[Normalize(mean, std)]))
    np.testing.assert_allclose(result.mean(axis=(0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(result.std(axis=(0, 2, 3)), 1, atol=1e-6)


def test_the_statistics_of_bytes_are_of_pixels_from_0_to_1() -> None:
    images = np.array([0, 255, 51, 51], np.uint8).reshape(2, 2, 1, 1)
    data = Dataset(images, np.zeros(2, int), ("a",))
    mean, std = data.channel_statistics()
    np.testing.assert_allclose(mean, [0.1, 0.6])
    np.testing.assert_allclose(std, [0.1, 0.4])


def test_what_draws_nothing_is_for_validation_too() -> None:
    normalize, one_hot = Normalize(0.5, 0.5), OneHot(3)
    mixed = [RandomCrop(4), normalize, RandomHorizontalFlip(), one_hot, Mixup()]
    assert fixed(mixed) == [normalize, one_hot]


# ---- mixup -------------------------------------------------------------------------------------


def test_labels_become_probabilities() -> None:
    _, labels = augmented(OneHot(4))
    assert labels.dtype == np.float32
    assert np.array_equal(labels, np.eye(4, dtype=np.float32)[LABELS])


def test_images_and_labels_are_mixed_by_the_same_share() -> None:
    """The images are their own labels, one pixel for each class, so both must stay equal."""
    data = Dataset(np.eye(SIZE)[:, :, None, None], np.arange(SIZE), tuple(map(str, range(SIZE))))
    mixup = [OneHot(SIZE), Mixup(1.0)]
    images, labels = next(batches(data, SIZE, seed=0, epoch=0, augment=mixup))
    np.testing.assert_allclose(images[:, :, 0, 0], labels, atol=1e-6)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert np.all((labels > 0).sum(axis=1) <= 2)
    assert ((labels > 0).sum(axis=1) == 2).sum() > SIZE / 2
    # The other images are a permutation: in each column there are shares of at most two images.
    assert np.all((labels > 0).sum(axis=0) <= 2)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.75, 1.0, 4.0])
def test_shares_are_beta_distributed(alpha: float) -> None:
    """The moments of Beta(a, a): 1/2 and, about that, 1/(4(2a + 1))."""
    size = 6000
    one_hot = np.concatenate([np.eye(2, dtype=np.float64)] * (size // 2))
    images = np.zeros((size, 1, 1, 1))
    # Images 2i are of the first class: where their other one is of the second, the label is the
    # share. Other pairs show nothing.
    _, labels = Mixup(alpha)(images, one_hot, draws(size))
    order = np.argsort(draws(size).uniform()[:, 0], kind="stable")
    shares = labels[::2, 0][order[::2] % 2 == 1]
    assert len(shares) > 1000
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_the_share_of_an_image_follows_from_its_index(alpha: float) -> None:
    """Whatever the other images of the batch, and however often they were drawn again."""
    key, order = np.array([1, 7], np.uint32), np.random.default_rng(0).permutation(500)
    shares = _symmetric_beta(alpha, Draws(key, 0, np.arange(500)))
    assert np.array_equal(_symmetric_beta(alpha, Draws(key, 0, order)), shares[order])


def test_a_tiny_alpha_hardly_mixes() -> None:
    _, labels = augmented(OneHot(3), Mixup(1e-4))
    assert np.isfinite(labels).all()
    assert np.minimum(labels.max(axis=1), 1 - labels.max(axis=1)).max() < 1e-3


def test_mixed_bytes_are_rounded() -> None:
    images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    labels = np.eye(2, dtype=np.float32)
    for seed in range(20):
        mixed, shares = Mixup(1.0)(images, labels, draws(2, seed))
        assert np.array_equal(mixed[:, 0, 0, 0], np.rint(shares[:, 1] * 255))


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomCrop(0), AttributeMistake, "size of 0 x 0"),
        (lambda: RandomCrop(4, padding=-1), AttributeMistake, "padding of -1"),
        (lambda: RandomHorizontalFlip(1.5), AttributeMistake, "probability, got 1.5"),
        (lambda: Normalize(0.5, 0.0), AttributeMistake, "divides by std, got 0.0"),
        (lambda: Mixup(0), AttributeMistake, "positive number, got 0"),
        (
            lambda: augmented(RandomCrop(8, padding=1)),
            DataError,
            "no crop of 8 x 8 fits in images of 4 x 5 with a padding of 1",
        ),
        (lambda: augmented(Normalize((0.1, 0.2, 0.3), 1.0)), DataError, "3 numbers in mean for 2"),
        (lambda: augmented(OneHot(2)), DataError, r"OneHot\(2\).*shape \(24,\) up to 2"),
        (lambda: augmented(OneHot(3), OneHot(3)), DataError, r"shape \(24, 3\)"),
        (lambda: augmented(Mixup()), DataError, r"probabilities.*shape \(24,\)"),
    ],
)
def test_mistakes(make: Callable[[], object], error: type[CauceError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert caught.value.fix
