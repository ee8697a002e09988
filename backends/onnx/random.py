"""Export of random numbers: the generator written out in integer arithmetic."""

from __future__ import annotations

import numpy as np

from ...ir import Dim, DType, Node
from ...ir.dims import ceil_div
from ...ir.ops.random import DRAW_BITS, MULTIPLIERS, ROUNDS, WEYL, RandomUniform
from .rules import exports
from .writer import Writer


@exports(RandomUniform, carriers={})
def _random_uniform(w: Writer, op: RandomUniform, node: Node, key: str) -> str:
    """Philox 4x32-10 over counters (p // 4, c, n, stream), all of u64 that hold 32 bits.

    A round multiplies words 0 and 2 and mixes words 1 and 3 in, so the words are kept as two
    tensors [N, C, blocks, 2]: the even and the odd ones.
    """
    batch, channels, pixels = op.grid()
    blocks = ceil_div(pixels, 4)

    def word(*values: int) -> str:
        return w.constant(np.array(values, np.uint64), DType.U64)

    def count(size: Dim, axis: int, place: str) -> str:
        """0 .. size - 1 along ``axis`` of four, in the words where ``place`` is 1."""
        ranged = w.cast(w.range(size), DType.U64)
        spread = w("Unsqueeze", ranged, w.ints([i for i in range(4) if i != axis]))
        return w("Mul", spread, place)

    first, second = word(1, 0), word(0, 1)
    even = w("Add", count(blocks, 2, first), count(batch, 0, second))
    if node.operands[0].type.shape == (3,):
        start = w("Slice", key, w.ints([2]), w.ints([3]), w.ints([0]))
        even = w("Add", even, w("Mul", w.cast(start, DType.U64), second))
        even = w("BitwiseAnd", even, word(2**32 - 1))
        key = w("Slice", key, w.ints([0]), w.ints([2]), w.ints([0]))
    odd = w("Add", count(channels, 1, first), word(0, op.stream))
    wide_key, low, half = w.cast(key, DType.U64), word(2**32 - 1), word(32)
    for i in range(ROUNDS):
        grown = w("Add", wide_key, word(*(i * weyl % 2**32 for weyl in WEYL)))
        round_key = w("BitwiseAnd", grown, low)
        products = w("Mul", even, word(*MULTIPLIERS))
        swapped = w("Gather", products, w.ints([1, 0]), axis=3)
        high = w("BitShift", swapped, half, direction="RIGHT")
        even = w("BitwiseXor", w("BitwiseXor", high, odd), round_key)
        odd = w("BitwiseAnd", swapped, low)
    last = w.ints([4])
    pairs = w("Concat", w("Unsqueeze", even, last), w("Unsqueeze", odd, last), axis=4)
    lines: tuple[Dim, ...] = (batch, channels, 4 * blocks)
    words = w.reshape(pairs, (batch, channels, blocks, 2, 2), lines)
    if pixels != 4 * blocks:
        words = w("Slice", words, w.ints([0]), w.ints([pixels]), w.ints([2]))
    bits = w("BitShift", words, word(32 - DRAW_BITS), direction="RIGHT")
    draws = w("Mul", w.cast(bits, op.dtype), w.constant(2.0**-DRAW_BITS, op.dtype))
    return w.reshape(draws, (batch, channels, pixels), op.shape)
