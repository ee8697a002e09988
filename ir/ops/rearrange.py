"""Ops that put elements elsewhere, made of slices, joins and reshapes: borders, tiles, pixels."""

from __future__ import annotations

import numpy as np

from ..attributes import Pair, positive
from ..builder import Builder
from ..dims import Dim, divide_exactly, sizes
from ..errors import AttributeMistake, ShapeError, did_you_mean
from ..graph import Value
from ..op import Op, Values, register
from ..types import Array, TensorType
from .shape import Concat, Expand, Flip, Reshape, Slice, Transpose

BORDERS = ("reflect", "edge", "wrap")


@register
class BorderPad(Op):
    """y = x with borders made of x itself; ``pads`` are (before, after) of every axis.

    ``reflect`` mirrors x at its first and last place, which is not repeated; ``edge`` repeats that
    place; ``wrap`` goes on at the other end. As ``numpy.pad``, ONNX Pad-19, and PyTorch's reflect,
    replicate and circular. No border is longer than what it is made of.
    """

    pads: tuple[Pair, ...]
    mode: str = "reflect"

    name = "border_pad"
    exact = True

    def check(self) -> None:
        if self.mode not in BORDERS:
            raise AttributeMistake(
                f"border_pad has no mode {self.mode!r}",
                fix=did_you_mean(self.mode, BORDERS, f"write one of {', '.join(BORDERS)}"),
            )

    def infer(self, x: TensorType) -> TensorType:
        if len(self.pads) != x.rank:
            raise ShapeError(
                f"border_pad: {len(self.pads)} pairs of borders for {x}, which has {x.rank} "
                "dimensions",
                fix="give (before, after) for every dimension",
            )
        for axis, (size, borders) in enumerate(zip(x.shape, self.pads)):
            longest = {"reflect": size - 1, "edge": max(borders), "wrap": size}[self.mode]
            empty = size == 0 and any(borders)
            if empty or (isinstance(longest, int) and max(borders) > longest):
                raise ShapeError(
                    f"border_pad: borders of {borders} in mode {self.mode} along axis {axis} of "
                    f"{x} are longer than {longest}",
                    fix="pad less, pad twice, or feed larger arrays",
                )
        return x.with_shape(
            before + dim + after for dim, (before, after) in zip(x.shape, self.pads)
        )

    def reference(self, x: Array) -> Array:
        if not self.pads:
            return x  # np.pad takes no scalar
        return np.pad(x, self.pads, mode=self.mode)  # type: ignore[call-overload]

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        for axis, (before, after) in enumerate(self.pads):
            if before or after:
                parts = [self._border(b, x, axis, before, True), x]
                parts.append(self._border(b, x, axis, after, False))
                x = b(Concat(axis), *(part for part in parts if part is not None))
        return x if x is not operands[0] else b(Reshape(x.type.shape), x)

    def _border(self, b: Builder, x: Value, axis: int, count: int, first: bool) -> Value | None:
        """So many places before x, or after it."""
        if not count:
            return None
        size = x.type.shape[axis]
        if self.mode == "reflect":
            start, stop = (1, 1 + count) if first else (size - 1 - count, size - 1)
            return b(Flip((axis,)), b(Slice((axis,), (start,), (stop,)), x))
        if self.mode == "wrap":
            start, stop = (size - count, size) if first else (0, count)
            return b(Slice((axis,), (start,), (stop,)), x)
        place = 0 if first else size - 1
        edge = b(Slice((axis,), (place,), (place + 1,)), x)
        shape = (*x.type.shape[:axis], count, *x.type.shape[axis + 1 :])
        return b(Expand(shape), edge)


@register
class Tile(Op):
    """y = x, ``repeats`` times side by side along each axis. ONNX Tile-13, and ``numpy.tile``."""

    repeats: tuple[Dim, ...]

    name = "tile"
    exact = True

    def infer(self, x: TensorType) -> TensorType:
        if len(self.repeats) != x.rank:
            raise ShapeError(
                f"tile: {len(self.repeats)} repeats for {x}, which has {x.rank} dimensions",
                fix="give a number for every dimension; 1 leaves it as it is",
            )
        if any(isinstance(count, int) and count < 0 for count in self.repeats):
            raise AttributeMistake(
                f"tile: repeats must not be negative, got {list(self.repeats)}",
                fix="write for example (1, 1, 2, 2)",
            )
        return x.with_shape(count * dim for count, dim in zip(self.repeats, x.shape))

    def reference(self, x: Array) -> Array:
        return np.tile(x, sizes(self.repeats)) if x.ndim else x

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        apart: list[Dim] = []
        wide: list[Dim] = []
        for count, size in zip(self.repeats, x.type.shape):
            apart += [size] if count == 1 else [1, size]
            wide += [size] if count == 1 else [count, size]
        y = x if apart == wide else b(Expand(tuple(wide)), b(Reshape(tuple(apart)), x))
        return b(Reshape(self.infer(x.type).shape), y)


class _Blocks(Op):
    """Base of the two ops between channels and blocks of pixels.

    Attributes:
        blocksize: the rows and the columns of a block.
        mode: in ``DCR`` a channel's place in the block comes before its channel, in ``CRD`` after.
    """

    blocksize: int
    mode: str = "DCR"

    def check(self) -> None:
        positive(self.blocksize, "blocksize")
        if self.mode not in ("DCR", "CRD"):
            raise AttributeMistake(
                f"{self.name} has no mode {self.mode!r}", fix="write mode='DCR' or mode='CRD'"
            )

    def _parts(self, x: TensorType, axes: tuple[int, ...], by: int) -> list[Dim]:
        """The shape of an image with the sizes of some axes divided."""
        if x.rank != 4:
            raise ShapeError(
                f"{self.name} takes [N, C, H, W], got {x}", fix="reshape it to four dimensions"
            )
        shape = list(x.shape)
        for axis in axes:
            part = divide_exactly(shape[axis], by)
            if part is None:
                raise ShapeError(
                    f"{self.name}: {'NCHW'[axis]} = {shape[axis]} of {x} is no multiple of {by}",
                    fix=f"pad or cut it; a size that is not known can be declared as '{by}*S'",
                )
            shape[axis] = part
        return shape


@register
class DepthToSpace(_Blocks):
    """Channels become blocks of pixels: [N, C*r*r, H, W] becomes [N, C, H*r, W*r].

    y[n, c, h*r + i, w*r + j] = x[n, k, h, w] with k = (i*r + j)*C + c in mode ``DCR``, and
    k = c*r*r + i*r + j in mode ``CRD``, which is PyTorch's PixelShuffle. ONNX DepthToSpace-13.
    """

    name = "depth_to_space"
    exact = True

    def infer(self, x: TensorType) -> TensorType:
        n, c, h, w = self._parts(x, (1,), self.blocksize**2)
        return x.with_shape((n, c, h * self.blocksize, w * self.blocksize))

    def reference(self, x: Array) -> Array:
        (n, c, h, w), r = x.shape, self.blocksize
        if self.mode == "DCR":
            y = x.reshape(n, r, r, c // r**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
        return y.reshape(n, c // r**2, h * r, w * r)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        (n, c, h, w), r = self._parts(x.type, (1,), self.blocksize**2), self.blocksize
        if self.mode == "DCR":
            y = b(Transpose((0, 3, 4, 1, 5, 2)), b(Reshape((n, r, r, c, h, w)), x))
        else:
            y = b(Transpose((0, 1, 4, 2, 5, 3)), b(Reshape((n, c, r, r, h, w)), x))
        return b(Reshape((n, c, h * r, w * r)), y)


@register
class SpaceToDepth(_Blocks):
    """Blocks of pixels become channels: [N, C, H*r, W*r] becomes [N, C*r*r, H, W].

    The inverse of ``depth_to_space``. ONNX SpaceToDepth-13 in mode ``DCR``, PyTorch's
    PixelUnshuffle in mode ``CRD``.
    """

    name = "space_to_depth"
    exact = True

    def infer(self, x: TensorType) -> TensorType:
        n, c, h, w = self._parts(x, (2, 3), self.blocksize)
        return x.with_shape((n, c * self.blocksize**2, h, w))

    def reference(self, x: Array) -> Array:
        (n, c, h, w), r = x.shape, self.blocksize
        blocks = x.reshape(n, c, h // r, r, w // r, r)
        y = blocks.transpose((0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4))
        return y.reshape(n, c * r * r, h // r, w // r)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        (n, c, h, w), r = self._parts(x.type, (2, 3), self.blocksize), self.blocksize
        blocks = b(Reshape((n, c, h, r, w, r)), x)
        order = (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)
        return b(Reshape((n, c * r * r, h, w)), b(Transpose(order), blocks))
