"""Convolution as shifted matrix products over padded, channels-last images.

For each image row the K_w pixels under every window are gathered side by side, once for all rows r
of the kernel. A convolution is then K_h products, added up,

    y[i, j] = sum over r of gathered[i*S + r*D, j] @ weight[r],

whose left operands are views of one buffer. The gradient of the weight is the transposed product
with dy, and the gradient of x is a convolution of dy for each phase of the stride. A depthwise
convolution multiplies and adds the shifted images themselves. All of it runs over blocks of images
whose buffers stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...ir import Array, TensorType
from ...ir.dims import sizes
from ...ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight
from ..phases import along
from .kernels import kernel
from .layout import channel_rows, channels_first, channels_last
from .matmul import multiply, multiply_transposed
from .memory import Memory
from .windows import Block, Windows


@kernel(Conv2d)
def conv2d(op: Conv2d, memory: Memory, x: Array, weight: Array, bias: Array | None = None) -> Array:
    batch, c_out, *out = sizes(op.output_shape(TensorType.of(x), TensorType.of(weight)))
    (top, _), (left, _) = op.padding
    windows = Windows(weight.shape[2:], op.stride, op.dilation, (top, left), (out[0], out[1]))
    taps = op.grouped(weight, 0).transpose(0, 3, 4, 2, 1)
    y = memory.empty((batch, *out, c_out), x.dtype)
    correlate(memory, channels_last(x), taps, windows, y)
    y = channels_first(y)
    if bias is not None:
        rows = channel_rows(y)
        rows += np.tile(bias, rows.shape[1] // c_out)
    return y


@kernel(Conv2dBackwardData)
def conv2d_backward_data(op: Conv2dBackwardData, memory: Memory, dy: Array, weight: Array) -> Array:
    """Pixels whose padded place has one residue modulo S meet the same places of the kernel, so
    each residue is a convolution of dy without a stride, with those places in reverse."""
    taps = op.grouped(weight, 0).transpose(0, 3, 4, 1, 2)
    height, width = sizes(op.size)
    dx = memory.empty((len(dy), height, width, weight.shape[1] * op.groups), dy.dtype)
    for first_row, rows, down, above in _phases(op, weight, 0):
        for first_column, columns, across, aside in _phases(op, weight, 1):
            part = dx[:, first_row :: op.stride[0], first_column :: op.stride[1]]
            if not (rows and columns and part.size):
                part[...] = 0
                continue
            windows = Windows(
                (len(rows), len(columns)), (1, 1), (down, across), (above, aside), part.shape[1:3]
            )
            met = taps[:, rows][:, :, columns]
            correlate(memory, channels_last(dy), met, windows, part)
    return channels_first(dx)


def _phases(
    op: Conv2dBackwardData, weight: Array, axis: int
) -> Iterator[tuple[int, list[int], int, int]]:
    """For each phase along an axis: its first pixel of x, the kernel places that meet its pixels,
    the last first, and dilation and padding of the convolution of dy."""
    for phase in along(op, axis, weight.shape[2 + axis]):
        places = [phase.tap + k * phase.step for k in range(phase.taps)]
        reach = (phase.taps - 1) * phase.apart - phase.row if places else 0
        yield phase.first, places[::-1], phase.apart, reach


@kernel(Conv2dBackwardWeight)
def conv2d_backward_weight(op: Conv2dBackwardWeight, memory: Memory, x: Array, dy: Array) -> Array:
    c_out, groups = dy.shape[1], op.groups
    (top, _), (left, _) = op.padding
    windows = Windows(op.kernel, op.stride, op.dilation, (top, left), dy.shape[2:])
    x, dy = channels_last(x), np.ascontiguousarray(channels_last(dy))
    if x.shape[3] == c_out == groups > 1:
        return _depthwise_weight(memory, x, dy, windows)
    kh, kw = op.kernel
    channels = x.shape[3] // groups
    taps = np.zeros((groups, kh, kw * channels, c_out // groups), x.dtype)
    for block, matrices in _matrices(memory, x, windows, groups, c_out):
        part = _by_group(dy[block], groups)
        for r, matrix in enumerate(matrices):
            taps[:, r] += multiply_transposed(matrix, part)
    taps = taps.reshape(groups, kh, kw, channels, -1)
    return np.ascontiguousarray(taps.transpose(0, 4, 3, 1, 2)).reshape(c_out, channels, kh, kw)


def correlate(memory: Memory, x: Array, taps: Array, windows: Windows, y: Array) -> None:
    """y = the sum over all places of the kernel of what each meets in x times its tap.

    Args:
        x: [N, H, W, C].
        taps: [groups, K_h, K_w, C/groups, C'/groups].
        y: [N, H', W', C'], in any order of memory.
    """
    groups, kh, kw, channels, c_out = taps.shape
    if channels == c_out == 1 < groups:
        _correlate_depthwise(memory, x, taps.reshape(groups, kh, kw).transpose(1, 2, 0), windows, y)
        return
    weights = np.ascontiguousarray(taps).reshape(groups, kh, kw * channels, c_out)
    for block, matrices in _matrices(memory, x, windows, groups, y.shape[3]):
        out = y[block]
        total = out if out.flags.c_contiguous else memory.empty(out.shape, y.dtype)
        multiply(matrices[0], weights[:, 0], _by_group(total, groups))
        if kh > 1:
            term = memory.empty(out.shape, y.dtype)
            for r in range(1, kh):
                multiply(matrices[r], weights[:, r], _by_group(term, groups))
                total += term
        if total is not out:
            out[...] = total


def _matrices(
    memory: Memory, x: Array, windows: Windows, groups: int, c_out: int
) -> Iterator[tuple[Block, list[Array]]]:
    """The blocks with the matrices of :meth:`Windows.gathered_blocks`; x itself where a window is
    one pixel."""
    batch, height, width, channels = x.shape
    pixels = Windows((1, 1), (1, 1), windows.dilation, (0, 0), (height, width))
    if windows == pixels and groups == 1 and x.flags.c_contiguous:
        size = windows.block_size(batch, width * (channels + c_out))
        for block in windows.blocks(batch, size):
            part = x[block]
            yield block, [part.reshape(1, len(part), -1, channels)]
        return
    row = windows.stride[0] * windows.out[1] * channels * (windows.stride[1] + windows.kernel[1])
    yield from windows.gathered_blocks(memory, x, groups, row + 2 * windows.out[1] * c_out)


def _by_group(image: Array, groups: int) -> Array:
    """A contiguous [N, H, W, C] as [groups, N, H*W, C/groups], without a copy."""
    return image.reshape(len(image), -1, groups, image.shape[3] // groups).transpose(2, 0, 1, 3)


def _correlate_depthwise(memory: Memory, x: Array, taps: Array, windows: Windows, y: Array) -> None:
    """:func:`correlate` with a kernel [K_h, K_w, C] of its own for each channel."""
    # Repeated along a row, so that NumPy's inner loop runs over the row and not over the channels.
    wide = np.repeat(taps[:, :, None], y.shape[2], axis=2)
    for block, part in windows.padded_blocks(memory, x, _depthwise_row(x, windows)):
        out = y[block]
        total, term = (memory.empty(out.shape, y.dtype) for _ in range(2))
        total[...] = 0
        for r, s, pixels in windows.shifted(part, out.shape[1]):
            np.multiply(pixels, wide[r, s], out=term)
            total += term
        out[...] = total


def _depthwise_weight(memory: Memory, x: Array, dy: Array, windows: Windows) -> Array:
    """The gradient [C, 1, K_h, K_w] of a depthwise kernel."""
    channels = x.shape[3]
    taps = np.zeros((*windows.kernel, channels), x.dtype)
    for block, part in windows.padded_blocks(memory, x, _depthwise_row(x, windows)):
        out = dy[block]
        term = memory.empty(out.shape, x.dtype)
        for r, s, pixels in windows.shifted(part, out.shape[1]):
            np.multiply(pixels, out, out=term)
            sums = np.add.reduce(term.reshape(-1, windows.out[1] * channels), axis=0)
            taps[r, s] += sums.reshape(-1, channels).sum(axis=0)
    return np.ascontiguousarray(taps.transpose(2, 0, 1))[:, None]


def _depthwise_row(x: Array, windows: Windows) -> int:
    (sh, sw), width, channels = windows.stride, windows.out[1], x.shape[3]
    return (sh * sw + 2) * width * channels
