"""Data sets: splits and batches follow from their seeds, and readers check their files."""

from __future__ import annotations

import gzip
import itertools
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir.errors import AttributeMistake, CauceError, DataError, MissingExtra
from cauce.training.data import Dataset, batch_count, batches, load_digits, load_idx
from cauce.training.idx import read_idx


def numbered(size: int, classes: int = 3) -> Dataset:
    """Image i is filled with i, and has label i mod classes."""
    images = np.broadcast_to(
        np.arange(size, dtype=np.float32)[:, None, None, None], (size, 1, 2, 2)
    )
    return Dataset(images, np.arange(size) % classes, tuple("abcdefgh"[:classes]))


def ids(images: np.ndarray) -> list[int]:
    return [int(i) for i in images[:, 0, 0, 0]]


def epoch_ids(data: Dataset, size: int, **options: object) -> list[list[int]]:
    return [ids(images) for images, _ in batches(data, size, **options)]


# Dataset


@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool])
def test_labels_may_be_a_column_or_bools(kind: type) -> None:
    labels = np.array([1, 0, 1])
    images = np.zeros((3, 1, 2, 2), np.float32)
    for form in (labels.astype(kind), labels.astype(kind)[:, None]):
        data = Dataset(images, form, ("no", "yes"))
        assert data.labels.dtype == np.int64
        np.testing.assert_array_equal(data.labels, labels)


def test_a_data_set_holds_images_labels_and_class_names() -> None:
    data = numbered(7)
    assert len(data) == 7
    assert data.labels.dtype == np.int64
    assert data.classes == ("a", "b", "c")
    assert repr(data) == "Dataset(7 images of 1 x 2 x 2, float32, 3 classes)"


def test_indexing_gives_an_image_and_slicing_a_data_set() -> None:
    data = numbered(7)
    image, label = data[4]
    assert image.shape == (1, 2, 2)
    assert image[0, 0, 0] == 4
    assert label == 1
    assert data[np.int64(-1)][1] == 0
    assert ids(data[2:5].images) == [2, 3, 4]
    assert ids(data[[6, 0]].images) == [6, 0]
    assert ids(data[data.labels == 2].images) == [2, 5]
    assert data[2:5].classes == data.classes


def test_iteration_visits_every_image_once() -> None:
    assert [label for _, label in numbered(5)] == [0, 1, 2, 0, 1]


def test_the_arrays_cannot_be_written() -> None:
    owned = np.zeros((2, 1, 2, 2))
    data = Dataset(owned, np.array([0, 1]), ("a", "b"))
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 1
    owned[0] = 1  # the caller's own array stays writable


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 8, 8)), np.zeros(3, int), r"\[N, C, H, W\].*\(3, 8, 8\)"),
        (np.zeros((3, 1, 8, 8)), np.zeros((3, 2), int), r"int64 of shape \(3, 2\)"),
        (np.zeros((3, 1, 8, 8)), np.zeros(3), "float64"),
        (np.zeros((3, 1, 8, 8)), np.zeros(4, int), "3 images and 4 labels"),
        (np.zeros((0, 1, 8, 8)), np.zeros(0, int), "without a pixel"),
        (np.zeros((3, 1, 8, 8)), np.array([0, 1, 2]), "from 0 to 2.*2 classes"),
        (np.zeros((3, 1, 8, 8)), np.array([0, -1, 1]), "from -1 to 1"),
    ],
)
def test_what_is_no_data_set_is_refused(
    images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Dataset(images, labels, ("a", "b"))
    assert caught.value.fix


def test_an_empty_selection_is_refused() -> None:
    with pytest.raises(DataError, match="without a pixel"):
        numbered(4)[4:]


# split


@given(
    size=st.integers(2, 60),
    classes=st.integers(1, 5),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**64),
    stratified=st.booleans(),
)
def test_a_split_shares_the_images_out(
    size: int, classes: int, fraction: float, seed: int, stratified: bool
) -> None:
    data = numbered(size, classes)
    if not 0 < round(fraction * size) < size:
        with pytest.raises(AttributeMistake, match=f"splits {size} images"):
            data.split(fraction, seed, stratified)
        return
    rest, part = data.split(fraction, seed, stratified)
    assert len(part) == round(fraction * size)
    assert sorted(ids(rest.images) + ids(part.images)) == list(range(size))
    for side in (rest, part):
        assert ids(side.images) == sorted(ids(side.images))
        assert [i % classes for i in ids(side.images)] == list(side.labels)
    if stratified:
        share = fraction * np.bincount(data.labels, minlength=classes)
        assert np.all(np.abs(np.bincount(part.labels, minlength=classes) - share) < 1)


def test_a_split_follows_from_its_seed() -> None:
    data = numbered(30)
    assert ids(data.split(0.3, 5)[1].images) == ids(data.split(0.3, 5)[1].images)
    assert ids(data.split(0.3, 5)[1].images) != ids(data.split(0.3, 6)[1].images)


def test_a_split_that_is_not_stratified_may_favour_a_class() -> None:
    data = numbered(30)
    counts = [np.bincount(data.split(0.5, seed, False)[1].labels).tolist() for seed in range(9)]
    assert any(count != [5, 5, 5] for count in counts)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, 0.01, float("nan")])
def test_a_split_with_nothing_on_one_side_is_refused(fraction: float) -> None:
    with pytest.raises(AttributeMistake, match="splits 9 images into 9 and 0"):
        numbered(9).split(fraction, 0)


# batches


@given(
    size=st.integers(1, 40),
    batch_size=st.integers(1, 45),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 99),
)
def test_an_epoch_shows_every_image_once(size: int, batch_size: int, seed: int, epoch: int) -> None:
    data = numbered(size)
    pairs = list(batches(data, batch_size, seed=seed, epoch=epoch))
    assert len(pairs) == batch_count(data, batch_size)
    assert {len(labels) for _, labels in pairs[:-1]} <= {batch_size}
    assert 1 <= len(pairs[-1][1]) <= batch_size
    seen = [i for images, _ in pairs for i in ids(images)]
    assert sorted(seen) == list(range(size))
    assert [i % 3 for i in seen] == [label for _, labels in pairs for label in labels]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    data = numbered(20)
    first = epoch_ids(data, 6, seed=1, epoch=2)
    assert epoch_ids(data, 6, seed=1, epoch=2) == first
    orders = [
        tuple(itertools.chain(*epoch_ids(data, 6, seed=seed, epoch=epoch)))
        for seed, epoch in itertools.product(range(3), repeat=2)
    ]
    assert len(set(orders)) == 9
    # Another batch size cuts the same order at other places.
    assert list(itertools.chain(*epoch_ids(data, 7, seed=1, epoch=2))) == list(
        itertools.chain(*first)
    )


def test_the_order_is_the_same_on_every_machine() -> None:
    assert epoch_ids(numbered(8), 8, seed=3, epoch=1) == [[1, 2, 0, 4, 3, 5, 7, 6]]


def test_a_resumed_epoch_goes_on_where_the_first_stopped() -> None:
    data = numbered(20)
    whole = epoch_ids(data, 6, seed=1, epoch=2)
    for start in range(5):
        assert epoch_ids(data, 6, seed=1, epoch=2, start=start) == whole[start:]


def test_without_shuffling_the_order_is_that_of_the_data_set() -> None:
    assert epoch_ids(numbered(5), 2, seed=0, epoch=0, shuffle=False) == [[0, 1], [2, 3], [4]]


def test_drop_last_leaves_the_batch_out_that_is_not_full() -> None:
    data = numbered(5)
    assert epoch_ids(data, 2, seed=0, epoch=0, shuffle=False, drop_last=True) == [[0, 1], [2, 3]]
    assert batch_count(data, 2, drop_last=True) == 2
    assert batch_count(data, 5, drop_last=True) == 1


@pytest.mark.parametrize(
    ("batch_size", "options", "message"),
    [
        (0, {}, "a batch of 0 images"),
        (-4, {}, "a batch of -4 images"),
        (8, {"drop_last": True}, "5 images do not fill one batch of 8"),
        (2, {"start": 4}, "batch 4: the epoch has 3"),
        (2, {"start": -1}, "batch -1: the epoch has 3"),
        (2, {"seed": -1}, "negative seed or epoch: -1"),
        (2, {"epoch": -2}, "negative seed or epoch: -2"),
    ],
)
def test_batches_that_cannot_be_made_are_refused_at_the_call(
    batch_size: int, options: dict[str, int], message: str
) -> None:
    with pytest.raises(AttributeMistake, match=message) as caught:
        batches(numbered(5), batch_size, **{"seed": 0, "epoch": 0, **options})
    assert caught.value.fix


# load_digits


def test_the_digits_come_scaled_and_split() -> None:
    train, test = load_digits()
    assert (len(train), len(test)) == (1438, 359)
    assert train.images.shape == (1438, 1, 8, 8)
    for side in (train, test):
        assert side.images.dtype == np.float32
        assert (side.images.min(), side.images.max()) == (0, 1)
        assert side.classes == tuple("0123456789")
    counts = np.bincount(train.labels) + np.bincount(test.labels)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.all(np.abs(np.bincount(test.labels) - 0.2 * counts) < 1)


def test_the_split_of_the_digits_is_fixed_by_its_seed() -> None:
    first, again, other = load_digits(), load_digits(), load_digits(seed=1)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.images, b.images)
    assert not np.array_equal(first[1].images, other[1].images)
    assert len(load_digits(test_fraction=0.5)[1]) == 898


def test_without_scikit_learn_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match="scikit-learn") as caught:
        load_digits()
    assert "pip install 'scikit-learn>=" in str(caught.value)


# IDX

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path: Path, content: bytes, *, compress: bool = False) -> Path:
    path.write_bytes(gzip.compress(content) if compress else content)
    return path


PIXELS = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4) * 11
LABELS = np.array([2, 0, 1], np.uint8)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_idx_arrays_come_back(tmp_path: Path, code: str, compress: bool) -> None:
    array = np.array([[1, -2, 3], [100, 0, 7]]).astype(code)
    found = read_idx(write(tmp_path / "file", idx_bytes(array), compress=compress))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_idx_is_big_endian_with_the_last_dimension_fastest(tmp_path: Path) -> None:
    raw = bytes.fromhex("00000b02 00000002 00000003 0001 0002 0003 0100 0200 ffff")
    assert read_idx(write(tmp_path / "file", raw)).tolist() == [[1, 2, 3], [256, 512, -1]]


@pytest.mark.parametrize("compress", [False, True])
def test_a_pair_of_idx_files_makes_a_data_set(tmp_path: Path, compress: bool) -> None:
    images = write(tmp_path / "images", idx_bytes(PIXELS), compress=compress)
    labels = write(tmp_path / "labels", idx_bytes(LABELS), compress=compress)
    data = load_idx(images, str(labels))
    assert data.images.dtype == np.float32
    assert data.images.shape == (3, 1, 2, 4)
    assert np.array_equal(data.images[:, 0], PIXELS.astype(np.float32) / np.float32(255))
    assert data.labels.tolist() == [2, 0, 1]
    assert data.classes == ("0", "1", "2")
    assert load_idx(images, labels, classes=["x", "y", "z", "w"]).classes == ("x", "y", "z", "w")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "begins with nothing", id="empty"),
        pytest.param(b"\0\0\x08", "begins with 00 00 08", id="short"),
        pytest.param(b"\x89PNG\r\n", "begins with 89 50 4e 47", id="png"),
        pytest.param(b"\0\0\x0a\x01\0\0\0\0", "begins with 00 00 0a 01", id="type"),
        pytest.param(
            b"\0\0\x08\x03\0\0\0\x01",
            "header of 3 dimensions takes 16 bytes, the file holds 8",
            id="header",
        ),
        pytest.param(
            idx_bytes(PIXELS)[:-1],
            "truncated.*3 x 2 x 4 elements of uint8, 24 bytes, 23 follow",
            id="truncated",
        ),
        pytest.param(idx_bytes(PIXELS) + b"\0", "too long.*24 bytes, more follow", id="long"),
        pytest.param(b"\0\0\x08\x02" + b"\xff" * 8, "4294967295 x 4294967295 elements", id="huge"),
        pytest.param(gzip.compress(idx_bytes(PIXELS))[:-9], "does not decompress", id="gzip cut"),
        pytest.param(
            gzip.compress(b"")[:6] + b"\xff" * 20, "does not decompress", id="gzip broken"
        ),
    ],
)
def test_a_file_that_is_no_idx_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path / "file", content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert caught.value.fix


def test_no_more_is_inflated_than_the_header_announces(tmp_path: Path) -> None:
    """64 MB of zeros in 64 kB: what is too long is known after the first byte too many."""
    bomb = gzip.compress(idx_bytes(PIXELS) + bytes(64_000_000))
    path = write(tmp_path / "bomb.gz", bomb)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"too long.*24 bytes, more follow"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_no_memory_is_taken_on_the_word_of_a_header(tmp_path: Path) -> None:
    header = b"\0\0\x08\x02" + b"\xff" * 8
    path = write(tmp_path / "huge", header + bytes(100), compress=True)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"truncated.* 100 follow"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (PIXELS, LABELS[:2], "holds 3 images, .* 2 labels"),
        (LABELS, PIXELS, r"holds uint8 of shape \(3,\), not bytes that are images \[N, H, W\]"),
        (PIXELS.astype("i4"), LABELS, "holds int32"),
        (PIXELS, LABELS.astype("i2"), "holds int16 .* labels"),
        (PIXELS[:0], LABELS[:0], "without a pixel"),
    ],
)
def test_idx_files_that_are_no_data_set_are_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    image_file = write(tmp_path / "images", idx_bytes(images))
    label_file = write(tmp_path / "labels", idx_bytes(labels))
    with pytest.raises(CauceError, match=message) as caught:
        load_idx(image_file, label_file)
    assert caught.value.fix


def test_too_few_class_names_are_refused(tmp_path: Path) -> None:
    images = write(tmp_path / "images", idx_bytes(PIXELS))
    labels = write(tmp_path / "labels", idx_bytes(LABELS))
    with pytest.raises(DataError, match="from 0 to 2, but there are 2 classes"):
        load_idx(images, labels, classes=["x", "y"])
