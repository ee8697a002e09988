"""Which pixels of an image meet which place of a kernel, block by block, with zeros around."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.lib.stride_tricks import as_strided

from ...ir import Array
from ...ir.attributes import Pair
from .memory import Memory

# Elements in the buffers of one block: few enough for the cache, and so many that the calls of
# NumPy functions on them cost little.
BLOCK = 2**19
Block = tuple[slice, slice]


@dataclass(frozen=True)
class Windows:
    """Windows over images [N, H, W, C].

    Window (i, j) meets kernel place (r, s) at (i, j)*stride + (r, s)*dilation - before; what lies
    outside of the image is 0. There are ``out`` = (H', W') windows.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    out: Pair

    def reach(self, axis: int, count: int) -> int:
        """How many rows (columns for axis 1) ``count`` neighbouring windows extend over."""
        return (count - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def block_size(self, batch: int, row: int) -> Pair:
        """Images and output rows of a block, where one row needs ``row`` elements of buffers."""
        height = self.out[0]
        if row * height > BLOCK:
            return 1, max(1, BLOCK // row)
        return max(1, min(batch, BLOCK // max(1, row * height))), height

    def blocks(self, batch: int, size: Pair) -> Iterator[Block]:
        """The blocks of at most ``size``: (images, output rows)."""
        for n in range(0, batch, size[0]):
            for i in range(0, self.out[0], size[1]):
                yield slice(n, min(n + size[0], batch)), slice(i, min(i + size[1], self.out[0]))

    def padded_blocks(self, memory: Memory, x: Array, row: int) -> Iterator[tuple[Block, Array]]:
        """The blocks, each with the part of padded x [images, rows, columns, C] that it meets.

        The part lies in a buffer that the next block overwrites. The buffer has as many rows as a
        multiple of the stride needs.
        """
        batch, height, width, channels = x.shape
        size = self.block_size(batch, row)
        columns = self.reach(1, self.out[1])
        depth = -(-self.reach(0, size[1]) // self.stride[0]) * self.stride[0]
        buffer = memory.empty((size[0], depth, columns, channels), x.dtype)
        buffer[...] = 0
        left, right = max(0, -self.before[1]), min(width, columns - self.before[1])
        for images, rows in self.blocks(batch, size):
            part = buffer[: images.stop - images.start]
            first = rows.start * self.stride[0] - self.before[0]
            top, bottom = max(0, first), max(0, first, min(height, first + depth))
            part[:, : top - first] = 0
            part[:, bottom - first :] = 0
            if left < right:
                inner = part[:, top - first : bottom - first]
                inner[:, :, left + self.before[1] : right + self.before[1]] = x[
                    images, top:bottom, left:right
                ]
            yield (images, rows), part

    def shifted(self, part: Array, rows: int) -> Iterator[tuple[int, int, Array]]:
        """For each place (r, s) of the kernel the pixels [images, rows, W', C] of a padded block
        that it meets."""
        (sh, sw), (dh, dw) = self.stride, self.dilation
        for r in range(self.kernel[0]):
            for s in range(self.kernel[1]):
                down = slice(r * dh, r * dh + (rows - 1) * sh + 1, sh)
                across = slice(s * dw, s * dw + (self.out[1] - 1) * sw + 1, sw)
                yield r, s, part[:, down, across]

    def gathered_blocks(
        self, memory: Memory, x: Array, groups: int, row: int
    ) -> Iterator[tuple[Block, list[Array]]]:
        """The blocks, each with a matrix [groups, images, rows*W', K_w*C/groups] for each row r of
        the kernel: the pixels that r meets, side by side.

        All of them are views of one buffer, in which each image row is gathered once: the matrix
        for r + 1 starts D image rows further on. With a stride the rows lie by their phases modulo
        S, so that the rows for one r are neighbours.
        """
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        width, channels = self.out[1], x.shape[3] // groups
        phases = sorted({r * dh % sh for r in range(kh)})
        padded = gathered = None
        for (images, rows), part in self.padded_blocks(memory, x, row):
            if padded is None or gathered is None:  # the first block is the largest
                image, line, column, item = part.strides
                padded = as_strided(
                    part,
                    (groups, len(part), sh, part.shape[1] // sh, width, kw, channels),
                    (channels * item, image, line, sh * line, sw * column, dw * column, item),
                )
                gathered = memory.empty(padded.shape, x.dtype)
            near = gathered[:, : len(part)]
            for phase in phases:
                near[:, :, phase] = padded[:, : len(part), phase]
            count = rows.stop - rows.start
            yield (
                (images, rows),
                [
                    near[:, :, r * dh % sh, r * dh // sh : r * dh // sh + count].reshape(
                        groups, len(part), count * width, kw * channels
                    )
                    for r in range(kh)
                ],
            )
