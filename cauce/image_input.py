"""From image files to what a network takes: ``load_image``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .ir import Array
from .ir.attributes import Pair
from .ir.errors import DataError, ShapeError, need
from .ir.preprocessing import ORDERS, Preprocessing
from .ir.tracebacks import user_facing
from .training.image_files import (
    flattened,
    from_zero_to_255,
    is_deep,
    need_pillow,
    opened_image,
    planes,
    sized,
)


@user_facing
def load_image(
    path: str | os.PathLike[str],
    size: int | Pair | None = None,
    *,
    channels: str | None = None,
    scale: float | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    resize: int | None = None,
    crop: bool | None = None,
    interpolation: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> Array:
    """An image file as a network takes it, f32 [1, C, H, W].

    Any file that Pillow reads, turned as its camera was held. What is transparent lies upon white;
    grey, CMYK and palettes are converted; grey pixels of 16 bits keep them.

    Args:
        path: the file.
        size: (height, width), or an int for a square. Of this and of what follows, None means what
            ``preprocessing`` says.
        channels: ``"RGB"``, ``"BGR"`` or ``"L"``.
        scale: what a pixel from 0 to 255 is multiplied by.
        mean: what is then taken off, one number, or one for each channel.
        std: what is then divided by, likewise.
        resize: the length of the shorter side before ``size`` is cut out of the centre.
        crop: whether to cut; otherwise an image of other proportions is distorted.
        interpolation: as Pillow has it: ``"bilinear"``, ``"bicubic"``, ...
        preprocessing: all of these together; by default RGB from 0 to 1, resized as little as may
            be and cut, by ``"bilinear"``. See :class:`~cauce.ir.preprocessing.Preprocessing`.

    Raises:
        MissingExtra: Pillow is not installed.
        FileNotFoundError: there is no such file.
        DataError: no image, a damaged one, or one whose pixels have no common range.
        AttributeMistake, TypeMismatch: an argument that cannot be.

    Examples:
        >>> from PIL import Image
        >>> Image.new("RGB", (400, 300), "white").save("photo.png")
        >>> image = cauce.load_image("photo.png", 224)  # RGB from 0 to 1
        >>> image.shape, image.dtype, image.max()
        ((1, 3, 224, 224), dtype('float32'), np.float32(1.0))
        >>> told = cauce.Preprocessing.imagenet()  # or model.preprocessing
        >>> cauce.load_image("photo.png", preprocessing=told).shape
        (1, 3, 224, 224)
        >>> cauce.load_image("photo.png", (28, 28), channels="L", mean=0.5, std=0.25).shape
        (1, 1, 28, 28)
    """
    told = Preprocessing() if preprocessing is None else preprocessing
    fix = "write preprocessing=model.preprocessing"
    need(told, Preprocessing, "preprocessing= takes a Preprocessing", fix)
    given: dict[str, Any] = {"size": size, "channels": channels, "scale": scale, "mean": mean}
    given |= {"std": std, "resize": resize, "crop": crop, "interpolation": interpolation}
    changes = {name: value for name, value in given.items() if value is not None}
    return prepared_image(path, replace(told, **changes))[None]


def prepared_image(image: str | os.PathLike[str] | Array, told: Preprocessing) -> Array:
    """An image file, or pixels u8 [H, W] or [H, W, C], as f32 [C, H, W].

    Raises:
        As :func:`load_image`; and ShapeError for pixels of another shape.
    """
    if told.channels is None:
        raise DataError(
            "the network takes no pictures: its images have channels of another kind",
            fix="read them with what has made the data set, and feed arrays",
        )
    if isinstance(image, np.ndarray):
        return _prepared(_picture(image), "the array", told)
    with opened_image(image) as opened:
        return _prepared(opened, os.fspath(image), told)


def _prepared(image: Any, name: str, told: Preprocessing) -> Array:
    assert told.channels is not None
    mode = "L" if told.channels == "L" else "RGB"
    grey = is_deep(image)
    shown = from_zero_to_255(image, name) if grey else flattened(image, mode)
    pixels = planes(sized(shown, told.size, told.resize, told.crop, told.interpolation))
    if grey:  # of 16 bits, which Pillow has no colours of
        pixels = np.repeat(pixels, ORDERS[told.channels], axis=0)
    return told.apply(pixels[::-1] if told.channels == "BGR" else pixels)


def _picture(pixels: Array) -> Any:
    """An array of bytes as an image of Pillow: grey, grey with alpha, RGB or RGBA."""
    need_pillow()
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (2, 3, 4)):
        raise ShapeError(
            f"an image is [H, W] or [H, W, C] with up to 4 channels, got {pixels.shape}",
            fix="transpose it: image.transpose(1, 2, 0) makes [H, W, C] of [C, H, W]",
        )
    if pixels.size == 0:
        raise ShapeError(
            f"an image without a pixel: its shape is {pixels.shape}", fix="leave it out"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))
