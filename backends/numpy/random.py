"""Philox 4x32-10 in blocks that stay in the cache, without a temporary for each operation."""

from __future__ import annotations

import numpy as np

from ...ir import Array
from ...ir.dims import sizes
from ...ir.ops.random import DRAW_BITS, MULTIPLIERS, ROUNDS, WEYL, RandomUniform
from .kernels import kernel
from .layout import laid_channels_last
from .memory import Memory

BLOCK = 2**13
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@kernel(RandomUniform)
def random_uniform(op: RandomUniform, memory: Memory, key: Array) -> Array:
    batch, channels, pixels = sizes(op.grid())
    blocks = -(-pixels // 4)
    first = np.uint64(key[2] if len(key) == 3 else 0)
    draws = memory.empty((batch * channels * blocks, 4), op.dtype.numpy)
    for start in range(0, len(draws), BLOCK):
        counts = np.arange(start, min(start + BLOCK, len(draws)), dtype=np.uint64)
        image, block = np.divmod(counts, np.uint64(blocks))
        n, c = np.divmod(image, np.uint64(channels))
        n = (n + first) & _LOW
        words = philox([block, c, n, np.full_like(block, op.stream)], key)
        for i, word in enumerate(words):
            word >>= np.uint64(32 - DRAW_BITS)
            draws[start : start + len(word), i] = word
    draws *= op.dtype.numpy.type(2.0**-DRAW_BITS)
    logical = draws.reshape(batch, channels, blocks * 4)[..., :pixels]
    logical = logical.reshape(sizes(op.shape))
    return laid_channels_last(memory, logical) if logical.ndim == 4 else logical


def philox(words: list[Array], key: Array) -> list[Array]:
    """The four random words of each counter, in u64 arrays; the counters' arrays are overwritten.

    Args:
        words: the four words of all counters, each u64[M] below 2**32.
        key: u32[2] or more, of which the first two count.
    """
    x0, x1, x2, x3 = words
    high = np.empty_like(x0)
    key0, key1 = (int(word) for word in key[:2])
    for _ in range(ROUNDS):
        # With (hi, lo) = multiplier * word: hi1 ^ x1 ^ key0, lo1, hi0 ^ x3 ^ key1, lo0.
        x0 *= np.uint64(MULTIPLIERS[0])
        x2 *= np.uint64(MULTIPLIERS[1])
        for word, product, part in ((x1, x2, key0), (x3, x0, key1)):
            np.right_shift(product, _HALF, out=high)
            word ^= high
            word ^= np.uint64(part)
            product &= _LOW
        x0, x1, x2, x3 = x1, x2, x3, x0
        key0, key1 = (key0 + WEYL[0]) % 2**32, (key1 + WEYL[1]) % 2**32
    return [x0, x1, x2, x3]
