"""How an image file becomes what a network takes: a record that travels with a model.

It stands here since data sets, models and files share it. Reading images is not here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .attributes import Pair, flag, number, optional, pair, parts, positive
from .errors import AttributeMistake, DataError, did_you_mean, shown
from .tracebacks import user_facing
from .types import Array

# How many channels each order of colours has.
ORDERS = {"RGB": 3, "BGR": 3, "L": 1}
_SHOWN = 8  # classes that are listed
INTERPOLATIONS = ("nearest", "box", "bilinear", "bicubic", "lanczos")


@user_facing
@dataclass(frozen=True, repr=False)
class Preprocessing:
    """How an image file becomes the input of a network: ``model.preprocessing``.

    An image is turned upright, resized and cut, converted to ``channels``, and a pixel of 0 to 255
    becomes ``(pixel * scale - mean) / std``. Where the network begins with ``nn.normalize``, mean
    and std are its own, and are not applied a second time.

    Attributes:
        size: (height, width) of the input, or an int for a square; None leaves an image as it is.
        mean: one number, or one for each channel, in the order of ``channels``.
        std: likewise; positive.
        channels: ``"RGB"``, ``"BGR"`` or ``"L"`` (grey). None where the input is no picture.
        scale: what a pixel is multiplied by; 1/255 brings it to 0..1. None where that is not known:
            an image file cannot be read then.
        classes: the names of the outputs, in order; None where they are not known.
        resize: the length that the shorter side is brought to before ``size`` is cut out of the
            centre, as in torchvision; None takes the largest part with the proportions of ``size``.
        crop: whether to cut at all; otherwise an image of other proportions is distorted.
        interpolation: ``"nearest"``, ``"box"``, ``"bilinear"``, ``"bicubic"`` or ``"lanczos"``, as
            Pillow has them.
        normalized_in_graph: whether the network normalises by ``mean`` and ``std`` itself.

    Raises:
        AttributeMistake: a value that cannot be.

    Examples:
        >>> told = cauce.Preprocessing((224, 224), scale=1.0, classes=("cat", "dog"))
        >>> told.apply(np.full((3, 1, 1), 51, np.uint8)).ravel()
        array([51., 51., 51.], dtype=float32)
        >>> told.named(None).to_text()
        '{"size": [224, 224], "scale": 1.0}'
        >>> cauce.Preprocessing.from_text(told.to_text(), "net.safetensors") == told
        True
        >>> cauce.Preprocessing.imagenet().mean
        (0.485, 0.456, 0.406)
    """

    size: Pair | None = None
    mean: tuple[float, ...] | float = 0.0
    std: tuple[float, ...] | float = 1.0
    channels: str | None = "RGB"
    scale: float | None = 1 / 255
    classes: tuple[str, ...] | None = None
    resize: int | None = None
    crop: bool = True
    interpolation: str = "bilinear"
    normalized_in_graph: bool = False

    def __post_init__(self) -> None:
        own = vars(self)
        if self.channels not in (None, *ORDERS):
            raise AttributeMistake(
                f"channels are in the order RGB or BGR, or grey, L; got {shown(self.channels)}",
                fix="write channels='RGB', channels='BGR' or channels='L'",
            )
        if self.interpolation not in INTERPOLATIONS:
            otherwise = f"write one of {', '.join(INTERPOLATIONS)}"
            raise AttributeMistake(
                f"there is no interpolation {shown(self.interpolation)}",
                fix=did_you_mean(self.interpolation, INTERPOLATIONS, otherwise),
            )
        own["size"] = None if self.size is None else pair(self.size, "size", least=1)
        own["resize"] = optional(positive)(self.resize, "resize")
        own["scale"] = optional(number)(self.scale, "scale")
        for name in ("crop", "normalized_in_graph"):
            own[name] = flag(own[name], name)
        for name in ("mean", "std"):
            own[name] = _per_channel(own[name], name, self.channels)
        if not all(0 < deviation < np.inf for deviation in _numbers(self.std)):
            raise AttributeMistake(
                f"pixels are divided by std, got {shown(self.std)}", fix="give positive numbers"
            )
        if not np.isfinite(_numbers(self.mean)).all():
            raise AttributeMistake(
                f"a mean is a finite number, got {shown(self.mean)}",
                fix="give that of each channel",
            )
        if self.scale is not None and not 0 < self.scale < np.inf:
            raise AttributeMistake(
                f"pixels are multiplied by scale, got {self.scale}",
                fix="write scale=1/255 for a network that takes 0 to 1, scale=1 for 0 to 255",
            )
        if self.classes is not None:
            own["classes"] = _names(self.classes)
        self._check_resize()

    def _check_resize(self) -> None:
        if self.resize is None:
            return
        if self.size is None or not self.crop or self.resize < max(self.size):
            raise AttributeMistake(
                f"resize={self.resize} is the length of the shorter side before a part of "
                f"size={self.size} is cut out of the centre (crop={self.crop})",
                fix="give a size of at most resize, or leave resize out",
            )

    @classmethod
    def imagenet(
        cls, size: int | Pair = 224, resize: int | None = 256, classes: Any = None
    ) -> Preprocessing:
        """That of torchvision's networks for ImageNet: its mean and deviation, RGB from 0 to 1.

        Args:
            size: of what is cut out of the centre.
            resize: the length of the shorter side before.
            classes: the names of the classes.
        """
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        return cls(pair(size, "size"), mean, std, classes=classes, resize=resize)

    def named(self, classes: Any) -> Preprocessing:
        """The same with other names of classes, or with none."""
        return replace(self, classes=classes)

    def apply(self, pixels: Array) -> Array:
        """The values of pixels for the network, f32 of the same shape.

        Args:
            pixels: from 0 to 255, [C, H, W], channels in the order of ``channels``.

        Raises:
            DataError: the scale is not known.
        """
        if self.scale is None:
            raise DataError(
                "it is not known what becomes of a pixel before the network takes it: the images "
                "that it was trained on were floats already",
                fix="say it: model.preprocessing = dataclasses.replace(model.preprocessing, "
                "scale=1/255), with mean= and std= where these were applied",
            )
        scaled = pixels.astype(np.float64) * self.scale
        if not self.normalized_in_graph:
            mean, std = (
                np.reshape(_numbers(x), (-1, *(1,) * (pixels.ndim - 1)))
                for x in (self.mean, self.std)
            )
            scaled = (scaled - mean) / std
        return scaled.astype(np.float32)

    def __repr__(self) -> str:
        """What is no default; of many classes the first few."""
        told = []
        for field in fields(self):
            value = getattr(self, field.name)
            text = repr(value)
            if field.name == "classes" and value is not None and len(value) > _SHOWN:
                first = ", ".join(map(repr, value[:2]))
                text = f"({first}, ..., {value[-1]!r}: {len(value)} names)"
            if value != field.default:
                told.append(f"{field.name}={text}")
        return f"Preprocessing({', '.join(told)})"

    # ---- in files ------------------------------------------------------------------------------

    def to_text(self) -> str:
        """As JSON; what has its default is left out."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {field.name: field.default for field in fields(self)}
        return json.dumps({name: value for name, value in told.items() if value != plain[name]})

    @classmethod
    def from_text(cls, text: str, file: str) -> Preprocessing:
        """What :meth:`to_text` has written; ``file`` says where.

        Raises:
            DataError: it is something else.
        """
        try:
            found = json.loads(text)
            names = {field.name for field in fields(cls)}
            if not isinstance(found, dict) or not found.keys() <= names:
                raise ValueError(f"not the fields of a Preprocessing: {shown(found)}")
            return cls(**found)
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(
                f"{file}: how it takes images cannot be read: {error}",
                fix="save it again with this version of cauce, or take cauce.preprocessing out of "
                "its metadata",
            ) from error


def _numbers(given: tuple[float, ...] | float) -> tuple[float, ...]:
    return given if isinstance(given, tuple) else (given,)


def _per_channel(given: Any, what: str, channels: str | None) -> tuple[float, ...] | float:
    """A number, or one for each channel; equal ones become a number."""
    several = parts(given)
    if several is None:
        return number(given, what)
    found = tuple(number(each, what) for each in several)
    if not found or (channels is not None and len(found) not in (1, ORDERS[channels])):
        raise AttributeMistake(
            f"{what} is one number, or one for each channel of {channels}, got {shown(given)}",
            fix=f"give as many as there are channels, or another channels= than {channels}",
        )
    return found[0] if len(set(found)) == 1 else found


def _names(given: Any) -> tuple[str, ...]:
    several = parts(given)
    if several is None or not all(isinstance(name, str) for name in several):
        raise AttributeMistake(
            f"classes are a list of names, got {shown(given)}",
            fix="write for example classes=('cat', 'dog')",
        )
    return several
