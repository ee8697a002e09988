"""Image folders: pixels, order, sizes, and folders that are no data set."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cauce.ir.errors import AttributeMistake, CauceError, DataError, MissingExtra
from cauce.training.folders import ENDINGS, load_image_folder

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (4, 6, 3)).astype(np.uint8)


def put(path: Path, pixels: np.ndarray = PIXELS, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def filled(value: int) -> np.ndarray:
    return np.full((4, 6, 3), value, np.uint8)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Two classes; each image is filled with a number of its own."""
    put(tmp_path / "rose" / "b.png", filled(3))
    put(tmp_path / "rose" / "a.PNG", filled(2))
    put(tmp_path / "daisy" / "z" / "deep.bmp", filled(1))
    put(tmp_path / "daisy" / "one.png", filled(0))
    return tmp_path


def test_classes_are_folders_and_images_come_by_name(flowers: Path) -> None:
    (flowers / "README.txt").write_text("about")
    (flowers / "rose" / "notes.txt").write_text("about")
    put(flowers / "rose" / ".hidden.png")
    put(flowers / "rose" / ".thumbnails" / "a.png")
    put(flowers / ".git" / "a.png")
    data = load_image_folder(flowers)
    assert data.classes == ("daisy", "rose")
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert data.images.shape == (4, 3, 4, 6)
    assert data.images.dtype == np.uint8


def test_every_ending_is_one_of_an_image(tmp_path: Path) -> None:
    for number, ending in enumerate(sorted(ENDINGS)):
        put(tmp_path / "a" / f"{number}{ending}", np.full((4, 6), 10 * number, np.uint8))
    put(tmp_path / "b" / "0.png")
    data = load_image_folder(tmp_path, channels=1)
    assert len(data) == len(ENDINGS) + 1 == 11
    greys = 10 * np.arange(10)
    np.testing.assert_allclose(data.images[:10].mean(axis=(1, 2, 3)), greys, atol=2)


def test_pixels_keep_their_places(flowers: Path) -> None:
    put(flowers / "daisy" / "one.png")
    data = load_image_folder(str(flowers))
    assert np.array_equal(data.images[0], PIXELS.transpose(2, 0, 1))
    assert data.images.flags.c_contiguous


def test_a_second_folder_is_numbered_like_the_first(flowers: Path, tmp_path: Path) -> None:
    test = tmp_path / "test"
    put(test / "aster" / "1.png", filled(8))
    put(test / "rose" / "1.png", filled(9))
    put(test / "daisy" / "1.png", filled(7))
    data = load_image_folder(test, classes=["daisy", "rose"])
    assert data.classes == ("daisy", "rose")
    assert data.images[:, 0, 0, 0].tolist() == [7, 9]


def test_grey_images(flowers: Path) -> None:
    data = load_image_folder(flowers, channels=1)
    assert data.images.shape == (4, 1, 4, 6)
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_another_kind_are_converted(flowers: Path, mode: str, channels: int) -> None:
    white = Image.new("RGB", (6, 4), "white").convert(mode)
    white.save(flowers / "daisy" / "one.tiff")
    data = load_image_folder(flowers, channels=channels)
    assert np.array_equal(data.images[1], np.full((channels, 4, 6), 255))


# ---- sizes -------------------------------------------------------------------------------------


def stripes() -> np.ndarray:
    """4 x 12: black, white, black in thirds of its width."""
    image = np.zeros((4, 12, 3), np.uint8)
    image[:, 4:8] = 255
    return image


def test_images_are_cut_around_their_centre(flowers: Path) -> None:
    put(flowers / "daisy" / "one.png", stripes())
    data = load_image_folder(flowers, size=4)
    assert data.images.shape == (4, 3, 4, 4)
    assert np.array_equal(data.images[0], np.full((3, 4, 4), 255))


def test_or_distorted(flowers: Path) -> None:
    put(flowers / "daisy" / "one.png", stripes())
    image = load_image_folder(flowers, size=(8, 3), crop=False).images[0]
    assert image.shape == (3, 8, 3)
    assert image[0, 4, 1] > 150
    assert image[0, 4, 0] == image[0, 4, 2] < 100


def test_a_size_is_height_and_width(flowers: Path) -> None:
    assert load_image_folder(flowers, size=(2, 5)).images.shape == (4, 3, 2, 5)


def test_photographs_are_turned_as_the_camera_was_held(flowers: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees to the right
    put(flowers / "daisy" / "one.png", PIXELS.transpose(1, 0, 2)[::-1], exif=exif)
    assert np.array_equal(load_image_folder(flowers).images[0], PIXELS.transpose(2, 0, 1))


# ---- mistakes ----------------------------------------------------------------------------------


def damage(flowers: Path) -> None:
    path = flowers / "rose" / "a.PNG"
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: put(f / "rose" / "c.png", stripes()), r"one\.png is 4 x 6, .*c\.png is 4 x 12"),
        (lambda f: (f / "aster").mkdir(), "the class aster has no image in"),
        (lambda f: (f / "rose" / "c.png").write_text("hello"), r"c\.png is no image that Pillow"),
        (lambda f: (f / "rose" / "c.png").touch(), r"c\.png is no image that Pillow"),
        (damage, r"the image .*a\.PNG cannot be read"),
        (
            lambda f: put(f / "rose" / "c.png", np.full((4, 6), 300, np.uint16)),
            r"the pixels of .*c\.png have more than 8 bits",
        ),
    ],
)
def test_images_that_do_not_fit_are_named(
    flowers: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(flowers)
    with pytest.raises(DataError, match=message) as caught:
        load_image_folder(flowers)
    assert caught.value.fix


def test_a_folder_needs_two_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*absent"):
        load_image_folder(tmp_path / "absent")
    with pytest.raises(DataError, match="at least two; there is none"):
        load_image_folder(tmp_path)
    put(tmp_path / "image.png")
    with pytest.raises(DataError, match="at least two; there is none") as caught:
        load_image_folder(tmp_path)
    assert "flowers/daisy/1.jpg" in str(caught.value)
    put(tmp_path / "rose" / "image.png")
    with pytest.raises(DataError, match="at least two; there is only rose"):
        load_image_folder(tmp_path)


def test_a_class_that_is_asked_for_must_be_there(flowers: Path) -> None:
    with pytest.raises(DataError, match="the class tulip has no image"):
        load_image_folder(flowers, classes=["rose", "tulip"])


def test_an_image_that_would_fill_the_memory_is_refused(
    flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(DataError, match="decompression bomb"):
        load_image_folder(flowers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 4}, "4 channels"),
        ({"size": 0}, "at least 1, got 0"),
        ({"size": (3, -1)}, r"at least 1, got \(3, -1\)"),
    ],
)
def test_options_that_cannot_be(flowers: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(AttributeMistake, match=message):
        load_image_folder(flowers, **options)


def test_without_pillow_the_install_command_is_named(
    flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match="Pillow") as caught:
        load_image_folder(flowers)
    assert "pip install 'pillow>=" in str(caught.value)
    assert isinstance(caught.value, CauceError)
