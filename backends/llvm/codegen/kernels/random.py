"""Philox 4x32-10, each draw from its logical place."""

from __future__ import annotations

from .....ir.ops import random
from ..builder import V, i64
from ..code import COMPUTED, NodeCode, Stage, emits
from ..math.elements import scalar_constant
from .elementwise import store

# Salmon et al. 2011, table 2: the multipliers, and what is added to the key each round.
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def _i32(value: int) -> V:
    return V(str(value), "i32")


def philox(stage: Stage, counter: tuple[V, V, V, V], key: tuple[V, V]) -> tuple[V, V, V, V]:
    """The four words of a counter."""
    f = stage.f

    def halves(multiplier: int, word: V) -> tuple[V, V]:
        wide = f.cast("zext", word, "i64")
        whole = f.op("mul", wide, i64(multiplier))
        high = f.cast("trunc", f.op("lshr", whole, i64(32)), "i32")
        return high, f.cast("trunc", whole, "i32")

    a, b, c, d = counter
    first, second = key
    for number in range(_ROUNDS):
        if number:
            first = f.op("add", first, _i32(_WEYL[0]))
            second = f.op("add", second, _i32(_WEYL[1]))
        high_a, low_a = halves(_MULTIPLIERS[0], a)
        high_c, low_c = halves(_MULTIPLIERS[1], c)
        a, b, c, d = (
            f.op("xor", f.op("xor", high_c, b), first),
            low_c,
            f.op("xor", f.op("xor", high_a, d), second),
            low_a,
        )
    return a, b, c, d


@emits(random.RandomUniform)
def random_uniform(code: NodeCode) -> None:
    """One task is one channel of one image: whole blocks of four draws, then the rest."""
    op = code.op(random.RandomUniform)
    batch, channels, pixels = op.grid()
    item = op.dtype.itemsize
    with code.stage(batch * channels) as stage:
        f = stage.f
        source, target = stage.base(code.operand_access(0)), stage.base(code.result_access())
        key = (f.load(source, "i32", 4), f.load(f.at(source, 4), "i32", 4))
        first = f.load(f.at(source, 8), "i32", 4) if code.operand_types[0].shape == (3,) else None
        across, count = stage.dim(channels), stage.dim(pixels)
        scale = scalar_constant(2.0**-random.DRAW_BITS, op.dtype)
        with stage.tasks() as task:
            n = f.cast("trunc", f.op("udiv", task, across), "i32")
            if first is not None:
                n = f.op("add", n, first)
            c = f.cast("trunc", f.op("urem", task, across), "i32")
            start = f.mul(task, count)

            def draw(block: V) -> list[V]:
                low = f.cast("trunc", block, "i32")
                words = philox(stage, (low, c, n, _i32(op.stream)), key)
                kept = (f.op("lshr", word, _i32(32 - random.DRAW_BITS)) for word in words)
                kind = COMPUTED[op.dtype]
                return [f.op("fmul", f.cast("uitofp", word, kind), scale) for word in kept]

            blocks = f.op("udiv", count, i64(4))
            with f.loop(blocks) as loop:
                for place, number in enumerate(draw(loop.index)):
                    at = f.add(start, f.add(f.mul(loop.index, 4), place))
                    store(stage, op.dtype, number, f.at(target, at, item), 1)
            with f.loop(count, f.mul(blocks, 4)) as loop:
                numbers = draw(blocks)
                lane = f.op("sub", loop.index, f.mul(blocks, 4))
                chosen = numbers[0]
                for place in (1, 2):
                    hit = f.compare("icmp eq", lane, i64(place))
                    chosen = f.select(hit, numbers[place], chosen)
                store(stage, op.dtype, chosen, f.at(target, f.add(start, loop.index), item), 1)
