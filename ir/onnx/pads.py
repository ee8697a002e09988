"""Pads as ONNX lists them, and the padding that ``auto_pad`` stands for."""

from __future__ import annotations

from collections.abc import Sequence

from ..attributes import Pair
from ..dims import Dim, ceil_div, symbols
from ..unknown import Unknown


def pads_of(padding: Sequence[Pair]) -> list[int]:
    """(before, after) of each axis in ONNX's order: all that are before, then all after."""
    return [before for before, _ in padding] + [after for _, after in padding]


def pairs_of(pads: Sequence[int]) -> list[Pair]:
    """(before, after) of each axis, from all that are before and then all that are after."""
    half = len(pads) // 2
    return list(zip(pads[:half], pads[half:], strict=True))


def same_pads(size: Dim, extent: int, stride: int, upper: bool) -> Pair:
    """The padding of SAME_UPPER or SAME_LOWER, which gives ceil(size / stride) outputs.

    In all max((ceil(size / stride) - 1) * stride + extent - size, 0), and the odd one is after the
    input where ``upper``. ONNX Conv-11, attribute auto_pad.

    Raises:
        Unknown: the padding depends on a size that is not known.
    """
    needed = (ceil_div(size, stride) - 1) * stride + extent - size
    if not isinstance(needed, int):
        raise Unknown(
            f"auto_pad with stride {stride} needs another padding for each size, and the size "
            f"{size} is not known",
            sizes=symbols(size),
        )
    total = max(needed, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)
