"""Pictures from files and arrays, turned upright, resized, cut and converted. Needs Pillow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ..ir.attributes import Pair
from ..ir.errors import DataError, MissingExtra, install
from ..ir.files import existing
from ..ir.types import Array

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's modes of grey pixels with 16 bits, and those of pixels that have no common range.
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_OPEN_ENDED = ("I", "F")


def need_pillow() -> None:
    """Raise MissingExtra where Pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise MissingExtra(
            "images are read by Pillow, which is not installed", fix=install("pillow")
        ) from None


@contextmanager
def opened_image(path: str | os.PathLike[str]) -> Iterator[Image]:
    """The image in a file, turned as its camera was held; of an animation the first.

    Raises:
        MissingExtra: Pillow is not installed.
        FileNotFoundError: there is no such file.
        DataError: no image, or a damaged one.
    """
    need_pillow()
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = existing(path)
    try:
        with Image.open(name) as opened:
            yield ImageOps.exif_transpose(opened)
    except DataError:
        raise  # which is a ValueError too
    except UnidentifiedImageError:
        raise DataError(
            f"{name} is no image that Pillow knows", fix="remove or convert the file"
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"the image {name} cannot be read: {error}", fix="remove or replace the file"
        ) from error


def is_deep(image: Image) -> bool:
    """Whether its pixels have more than 8 bits: converting would cut them at 255."""
    return image.mode in (*_DEEP, *_OPEN_ENDED)


def flattened(image: Image, mode: str) -> Image:
    """The image in another mode; what is transparent lies upon white.

    Args:
        image: of at most 8 bits.
        mode: ``"RGB"`` or ``"L"``.
    """
    from PIL import Image

    if image.has_transparency_data:
        layers = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return image.convert(mode)


def from_zero_to_255(image: Image, name: str) -> Image:
    """Grey pixels of 16 bits as floats, in Pillow's mode F.

    Raises:
        DataError: the greatest that a pixel may be is not known.
    """
    from PIL import Image

    if image.mode in _OPEN_ENDED:
        raise DataError(
            f"the pixels of {name} are numbers without a common range (Pillow's mode {image.mode})",
            fix="bring them to 0 to 255, and save them with 8 or 16 bits",
        )
    return Image.fromarray((np.asarray(image) / 257).astype(np.float32))


def sized(
    image: Image, size: Pair | None, resize: int | None, crop: bool, interpolation: str
) -> Image:
    """The image brought to (height, width), as :class:`~cauce.ir.preprocessing.Preprocessing` says.

    ``resize`` and the cut after it are torchvision's ``Resize`` and ``CenterCrop``.
    """
    if size is None:
        return image
    from PIL import Image, ImageOps

    method = Image.Resampling[interpolation.upper()]
    wide = (size[1], size[0])
    if resize is None:
        return ImageOps.fit(image, wide, method) if crop else image.resize(wide, method)
    width, height = image.size
    short = min(width, height)
    image = image.resize((width * resize // short, height * resize // short), method)
    left, top = (round((have - want) / 2) for have, want in zip(image.size, wide))
    return image.crop((left, top, left + wide[0], top + wide[1]))


def planes(image: Image) -> Array:
    """Its pixels, [C, H, W], u8, or f32 in mode F."""
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if pixels.ndim == 3 else pixels[None]
