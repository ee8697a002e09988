"""Folders of images, a folder for each class. Needs Pillow.

::

    flowers/daisy/100080576_f52e8ee070_n.jpg
    flowers/daisy/more/10140303196.png
    flowers/rose/10090824183_d02c613f10_m.jpg
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..ir.attributes import Pair, flag, integer, pair
from ..ir.errors import AttributeMistake, DataError
from ..ir.preprocessing import Preprocessing
from ..ir.tracebacks import user_facing
from ..ir.types import Array
from .data import Dataset
from .image_files import flattened, is_deep, opened_image, planes, sized

# What is taken for an image, by the end of its name.
ENDINGS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
# Pillow's names for pixels of 1 and of 3 bytes.
_MODES = {1: "L", 3: "RGB"}


@user_facing
def load_image_folder(
    folder: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    crop: bool = True,
    channels: int = 3,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """The images in the subfolders of a folder; each subfolder is a class with its name.

    The images are read into memory as bytes, u8 [N, C, H, W]: let the network scale and normalise
    them (``nn.normalize``). They come class by class, and by name within a class. Subfolders
    within a class belong to it; names that begin with a dot, and files that do not end like an
    image, are passed over. Photographs are turned as their camera was held; what is transparent
    lies upon white.

    Args:
        folder: where the subfolders are.
        size: the images are brought to (height, width), or to a square. None takes them as they
            are; they must be alike.
        crop: whether an image of other proportions is cut at its borders, around its centre;
            otherwise it is distorted.
        channels: 3 for colour, 1 for grey; images of another kind are converted.
        classes: the names of the subfolders to take, in order, for a second folder that must
            number them as the first one did: ``load_image_folder(test, classes=train.classes)``.
            All subfolders in the order of their names where None.

    Raises:
        MissingExtra: Pillow is not installed.
        DataError: no folder, fewer than two classes, a class without images, a file that is no
            image, or sizes that differ.
        AttributeMistake: a size or a number of channels that cannot be.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> for name in ("cat", "dog"):
        ...     Path("pets", name).mkdir(parents=True)
        ...     Image.new("RGB", (40, 30)).save(f"pets/{name}/1.png")
        >>> training.load_image_folder("pets", size=32)
        Dataset(2 images of 3 x 32 x 32, uint8, 2 classes)
    """
    channels, crop = integer(channels, "channels"), flag(crop, "crop")
    if channels not in _MODES:
        raise AttributeMistake(f"images of {channels} channels", fix="use 3 for colour, 1 for grey")
    size = None if size is None else pair(size, "size", least=1)
    names = _class_names(Path(folder)) if classes is None else tuple(classes)
    paths, labels = [], []
    for label, name in enumerate(names):
        found = _images_below(Path(folder, name))
        paths += found
        labels += [label] * len(found)
    images = [_read(path, size, crop, _MODES[channels]) for path in paths]
    for path, image in zip(paths, images):
        if image.shape != images[0].shape:
            raise DataError(
                f"the images differ in size: {paths[0]} is {_shown(images[0])}, "
                f"{path} is {_shown(image)}",
                fix="bring them to one size: load_image_folder(folder, size=(height, width)), or "
                "cauce train --size HEIGHT,WIDTH",
            )
    stacked = np.stack(images)
    mode = _MODES[channels]
    told = Preprocessing(size or stacked.shape[2:], channels=mode, scale=1.0, crop=crop)
    return Dataset(stacked, np.array(labels), names, told)


def _class_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}", fix="give the folder that holds one for each class"
        )
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < 2:
        found = f"only {names[0]}" if names else "none"
        raise DataError(
            f"{folder} should hold a subfolder for each class, at least two; there is {found}",
            fix="sort the images into folders: flowers/daisy/1.jpg, flowers/rose/2.jpg",
        )
    return tuple(names)


def _images_below(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise DataError(
            f"the class {folder.name} has no image in {folder}",
            fix=f"put images there, or remove it; images end with {', '.join(sorted(ENDINGS))}",
        )
    return found


def _read(path: Path, size: Pair | None, crop: bool, mode: str) -> Array:
    """One image as u8[C, H, W]."""
    with opened_image(path) as opened:
        if is_deep(opened):
            raise DataError(
                f"the pixels of {path} have more than 8 bits (Pillow's mode {opened.mode})",
                fix="scale it to 8 bits, or load arrays of your own with load_npz",
            )
        return planes(sized(flattened(opened, mode), size, None, crop, "bilinear"))


def _shown(image: Array) -> str:
    return f"{image.shape[1]} x {image.shape[2]}"
