"""Reading image files: kinds of files, geometry as torchvision's, values, mistakes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce.ir.errors import AttributeMistake, DataError, MissingExtra, MissingFile, TypeMismatch
from cauce.training import load_image_folder

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def saved(path: Path, image: object, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[attr-defined]
    return path


def test_an_image_is_f32_from_0_to_1(photo: Path) -> None:
    found = cauce.load_image(photo)
    assert (found.shape, found.dtype) == ((1, 3, 6, 9), np.float32)
    np.testing.assert_allclose(found[0], PIXELS.transpose(2, 0, 1) / 255, rtol=1e-6)
    assert np.array_equal(cauce.load_image(str(photo)), found)


def test_colours_in_the_other_order_and_grey(photo: Path) -> None:
    found = cauce.load_image(photo)
    assert np.array_equal(cauce.load_image(photo, channels="BGR"), found[:, ::-1])
    grey = cauce.load_image(photo, channels="L")
    weights = np.array([0.299, 0.587, 0.114]).reshape(3, 1, 1)  # of ITU-R 601, as Pillow's
    np.testing.assert_allclose(grey[0, 0], (weights * found[0]).sum(0), atol=1.1 / 255)


def test_mean_and_deviation_are_in_the_order_of_the_channels(photo: Path) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    found = cauce.load_image(photo, channels="BGR", mean=mean, std=std, scale=1 / 128)
    for channel in range(3):
        wanted = (PIXELS[:, :, 2 - channel] / 128 - mean[channel]) / std[channel]
        np.testing.assert_allclose(found[0, channel], wanted, rtol=1e-5, atol=1e-6)


# ---- geometry ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(60, 90), (91, 60), (64, 64), (33, 200)])
@pytest.mark.parametrize("size", [(28, 28), (31, 20)])
def test_the_shorter_side_and_a_cut_are_torchvisions(
    shape: tuple[int, int], size: tuple[int, int], tmp_path: Path
) -> None:
    """Resize(32) and CenterCrop(size) of torchvision, written out (transforms/functional.py)."""
    image = Image.fromarray(RNG.integers(0, 256, (*shape, 3)).astype(np.uint8))
    path = saved(tmp_path / "a.png", image)
    found = cauce.load_image(path, size, resize=32, scale=1)
    width, height = image.size
    new = (32, int(32 * height / width)) if width <= height else (int(32 * width / height), 32)
    wanted = np.asarray(image.resize(new, Image.Resampling.BILINEAR))
    top = int(round((wanted.shape[0] - size[0]) / 2.0))  # noqa: RUF046
    left = int(round((wanted.shape[1] - size[1]) / 2.0))  # noqa: RUF046
    wanted = wanted[top : top + size[0], left : left + size[1]]
    assert np.array_equal(found[0], wanted.transpose(2, 0, 1))


@pytest.mark.parametrize("crop", [True, False])
def test_a_size_alone_is_that_of_load_image_folder(crop: bool, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image = Image.fromarray(RNG.integers(0, 256, (20, 31, 3)).astype(np.uint8))
        image.save(tmp_path / name / "1.png")
    data = load_image_folder(tmp_path, (8, 10), crop=crop)
    found = cauce.load_image(tmp_path / "b" / "1.png", preprocessing=data.preprocessing)
    assert np.array_equal(found[0], data.images[1])


def test_interpolations_differ(photo: Path) -> None:
    found = [cauce.load_image(photo, 4, interpolation=name) for name in ("nearest", "bicubic")]
    assert not np.array_equal(*found)


def test_what_preprocessing_says_can_be_changed(photo: Path) -> None:
    told = cauce.Preprocessing(4, mean=0.5, std=0.25)
    found = cauce.load_image(photo, preprocessing=told)
    plain = cauce.load_image(photo, 4)
    np.testing.assert_allclose(found, (plain - 0.5) / 0.25, rtol=1e-5, atol=1e-6)
    assert cauce.load_image(photo, (2, 3), preprocessing=told).shape == (1, 3, 2, 3)


# ---- kinds of files ----------------------------------------------------------------------------


def test_photographs_are_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees to the right
    turned = Image.fromarray(np.ascontiguousarray(PIXELS.transpose(1, 0, 2)[::-1]))
    found = cauce.load_image(saved(tmp_path / "a.png", turned, exif=exif), scale=1)
    assert np.array_equal(found[0], PIXELS.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_lies_upon_white(mode: str, tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, len(mode)), np.uint8)
    pixels[0, :, -1] = (0, 128, 255)
    found = cauce.load_image(saved(tmp_path / "a.png", Image.fromarray(pixels, mode)), scale=1)
    assert found[0, :, 0].T.tolist() == [[255] * 3, [127] * 3, [0] * 3]


def test_a_transparent_colour_of_a_palette(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    found = cauce.load_image(saved(tmp_path / "a.gif", image, transparency=0), scale=1)
    assert found[0, :, 0].T.tolist() == [[255, 255, 255], [40, 50, 60]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_are_converted(mode: str, tmp_path: Path) -> None:
    white = Image.new("RGB", (3, 2), "white").convert(mode)
    found = cauce.load_image(saved(tmp_path / "a.tiff", white))
    np.testing.assert_allclose(found, np.ones((1, 3, 2, 3)), atol=1 / 255)


@pytest.mark.parametrize("channels", ["L", "RGB", "BGR"])
def test_grey_of_16_bits_keeps_them(channels: str, tmp_path: Path) -> None:
    pixels = np.array([[0, 1, 257], [300, 65534, 65535]], np.uint16)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    found = cauce.load_image(path, channels=channels)
    assert found.shape == (1, len(channels), 2, 3)
    for plane in found[0]:
        np.testing.assert_allclose(plane, pixels / 65535, rtol=1e-6)
    assert cauce.load_image(path, 2, resize=2, channels=channels).shape == (1, len(channels), 2, 2)


def test_of_an_animation_the_first_image_is_read(tmp_path: Path) -> None:
    frames = [Image.new("L", (2, 2), value) for value in (10, 200)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert np.unique(cauce.load_image(path, scale=1)).tolist() == [10]


# ---- mistakes ----------------------------------------------------------------------------------


def test_there_is_no_such_file(photo: Path) -> None:
    with pytest.raises(MissingFile, match=r"there is no file .*photos\.png") as caught:
        cauce.load_image(photo.with_name("photos.png"))
    assert "photo.png" in str(caught.value)
    with pytest.raises(MissingFile, match="is a folder"):
        cauce.load_image(photo.parent)
    with pytest.raises(TypeMismatch, match="a file is named by text or a Path"):
        cauce.load_image(None)  # type: ignore[arg-type]


def test_no_image_and_a_damaged_one(photo: Path) -> None:
    text = photo.with_name("text.png")
    text.write_text("hello")
    with pytest.raises(DataError, match="is no image that Pillow knows"):
        cauce.load_image(text)
    text.write_bytes(photo.read_bytes()[:80])
    with pytest.raises(DataError, match=r"text\.png cannot be read"):
        cauce.load_image(text)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_range_are_refused(dtype: type, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tiff", Image.fromarray(np.ones((2, 2), dtype)))
    with pytest.raises(DataError, match="numbers without a common range") as caught:
        cauce.load_image(path)
    assert "0 to 255" in str(caught.value)


def test_options_that_cannot_be(photo: Path) -> None:
    with pytest.raises(AttributeMistake, match="got 'rgb'"):
        cauce.load_image(photo, channels="rgb")
    with pytest.raises(AttributeMistake, match="size must be"):
        cauce.load_image(photo, 0)
    with pytest.raises(TypeMismatch, match="preprocessing= takes a Preprocessing"):
        cauce.load_image(photo, preprocessing=224)  # type: ignore[arg-type]


def test_without_pillow_the_install_command_is_named(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match="Pillow") as caught:
        cauce.load_image(photo)
    assert "pip install 'pillow>=" in str(caught.value)
