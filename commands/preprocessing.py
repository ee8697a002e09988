"""Options that say how image files become the input of a model that does not know it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .model_argument import count

if TYPE_CHECKING:
    from ..frontends.model import Model

_OPTIONS = ("imagenet", "image_size", "mean", "std", "channels", "classes")


def add_preprocessing(parser: argparse.ArgumentParser) -> None:
    """The options; what a model knows already needs none of them."""
    group = parser.add_argument_group("how images are prepared, where the model does not say it")
    group.add_argument(
        "--imagenet", action="store_true", help="as for torchvision's networks for ImageNet"
    )
    group.add_argument("--image-size", type=size, metavar="H[,W]", help="what they are brought to")
    group.add_argument(
        "--mean", type=_numbers, metavar="M[,M,M]", help="what is subtracted from pixels of 0 to 1"
    )
    group.add_argument("--std", type=_numbers, metavar="S[,S,S]", help="what they are divided by")
    group.add_argument("--channels", choices=("RGB", "BGR", "L"), help="the order of colours")
    group.add_argument("--classes", metavar="FILE", help="the names of the classes, one a line")


def size(text: str) -> tuple[int, int]:
    """``224`` or ``224,320`` as height and width."""
    height, _, width = text.partition(",")
    return count(height), count(width or height)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of numbers: write 0.485,0.456,0.406"
        ) from None


def says_something(options: argparse.Namespace) -> bool:
    """Whether one of the options is given."""
    return any(getattr(options, name) for name in _OPTIONS)


def prepare(model: Model, options: argparse.Namespace) -> None:
    """Let a model know what the options say, if they do.

    Raises:
        CauceError: values that cannot be, or do not fit the model.
        MissingFile: there is no file of classes.
    """
    if not says_something(options):
        return
    from ..frontends.preprocessing import pictures
    from ..ir import Role
    from ..ir.preprocessing import Preprocessing

    known = Preprocessing.imagenet() if options.imagenet else model.preprocessing
    changes: dict[str, Any] = {}
    if known is None:
        taken = pictures(model.graph.inputs_with(Role.DATA), model.name)
        known = Preprocessing(taken.fixed_size, channels="L" if taken.channels == 1 else "RGB")
    if options.image_size is not None:
        changes |= {"size": options.image_size, "resize": None}
    for name in ("mean", "std", "channels"):
        value = getattr(options, name)
        if value is not None:
            changes[name] = value[0] if name != "channels" and len(value) == 1 else value
    if options.classes is not None:
        changes["classes"] = _lines(options.classes)
    model.preprocessing = replace(known, **changes)


def _lines(path: str) -> tuple[str, ...]:
    from ..ir.errors import DataError
    from ..ir.files import existing

    try:
        with open(existing(path), encoding="utf-8") as file:
            return tuple(line.strip() for line in file if line.strip())
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is no text", fix="give a file with the name of a class in each line"
        ) from None
