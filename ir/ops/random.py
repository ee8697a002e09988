"""Random numbers as functions of a key and a logical index, and dropout, which consumes them."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..dims import Dim, product, sizes
from ..errors import AttributeMistake, ShapeError, TypeMismatch
from ..graph import Graph, Input, Role, Value
from ..literal import Literal
from ..location import Location
from ..op import Op, Values, register
from ..types import Array, DType, TensorType
from .broadcast import need_float
from .constant import Constant, scalar
from .elementwise import Add, Less, Mul, Where

# The name of the state that random draws are made from.
KEY = "random.key"
ROUNDS = 10
# The multipliers of a round, and by what the key words grow between rounds (the golden ratio
# and sqrt(3) - 1): Salmon et al. 2011, section 3.3.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
# A draw uses the upper 24 bits of a word: what the mantissa of f32 holds.
DRAW_BITS = 24


def philox(counter: Array, key: Array) -> Array:
    """The four random words of each counter: Philox 4x32-10.

    Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3",
    section 3.3.

    Args:
        counter: u32[..., 4].
        key: u32[2].
    """
    words = [counter[..., i].astype(np.uint64) for i in range(4)]
    low = np.uint64(0xFFFFFFFF)
    key_words = [int(word) for word in key]
    for _ in range(ROUNDS):
        product0, product1 = (words[2 * i] * np.uint64(MULTIPLIERS[i]) for i in range(2))
        words = [
            (product1 >> np.uint64(32)) ^ words[1] ^ np.uint64(key_words[0]),
            product1 & low,
            (product0 >> np.uint64(32)) ^ words[3] ^ np.uint64(key_words[1]),
            product0 & low,
        ]
        key_words = [(word + weyl) % 2**32 for word, weyl in zip(key_words, WEYL)]
    return np.stack(words, axis=-1).astype(np.uint32)


@register
class RandomUniform(Op):
    """y = numbers in [0, 1), each a function of ``key``, ``stream`` and its own logical index.

    With n the index along dimension 0, c the index along dimension 1 and p the flat index over
    the dimensions after them, an element is word p % 4 of Philox 4x32-10 with the counter
    (p // 4, c, n, stream), and the number is (word >> 8) * 2**-24. A shape of rank 2 has no
    c: it is [n, p]; rank 1 has neither: it is [p]. So a draw depends neither on the layout in
    memory nor on the size of the batch. ``key`` is u32[2]: (seed, step); or u32[3]: (seed, step,
    first), where n counts from ``first`` on: the draws of images that are a part of a batch.

    Raises:
        AttributeMistake: a dtype that does not hold 24 bits, a stream that is no u32.
        ShapeError: a key of three for a shape without n.
    """

    shape: tuple[Dim, ...]
    stream: int
    dtype: DType = DType.F32

    name = "random_uniform"
    operands = ("key",)
    zero_gradient = True

    def check(self) -> None:
        if not 0 <= self.stream < 2**32:
            raise AttributeMistake(
                f"random_uniform: the stream must be a u32, got {self.stream}",
                fix="number the streams from 0",
            )
        if self.dtype not in (DType.F32, DType.F64):
            raise AttributeMistake(
                f"random_uniform draws {DRAW_BITS} bits, which {self.dtype} does not hold",
                fix="draw in f32 and cast",
            )

    def grid(self) -> tuple[Dim, Dim, Dim]:
        """The sizes that n, c and p range over."""
        lead = max(0, min(len(self.shape) - 1, 2))
        batch, channels = (*self.shape[:lead], 1, 1)[:2]
        return batch, channels, product(self.shape[lead:])

    def infer(self, key: TensorType) -> TensorType:
        if key not in (TensorType(DType.U32, (2,)), TensorType(DType.U32, (3,))):
            raise TypeMismatch(
                f"random_uniform takes a key u32[2], got {key}", fix="make it of (seed, step)"
            )
        if key.shape == (3,) and len(self.shape) < 2:
            raise ShapeError(
                f"random_uniform counts nothing from the third number of {key} on: a shape of rank "
                f"{len(self.shape)} has no images",
                fix="draw for arrays of rank 2 or more, [N, ...]",
            )
        return TensorType(self.dtype, self.shape)

    def reference(self, key: Array) -> Array:
        batch, channels, pixels = sizes(self.grid())
        blocks = -(-pixels // 4)
        counter = np.empty((batch, channels, blocks, 4), np.uint32)
        counter[..., 0] = np.arange(blocks)
        counter[..., 1] = np.arange(channels)[:, None]
        first = np.uint32(key[2] if len(key) == 3 else 0)
        counter[..., 2] = (first + np.arange(batch, dtype=np.uint32))[:, None, None]
        counter[..., 3] = self.stream
        words = philox(counter, key[:2]).reshape(batch, channels, blocks * 4)[..., :pixels]
        draws = (words >> np.uint32(32 - DRAW_BITS)).astype(self.dtype.numpy)
        return draws.reshape(sizes(self.shape)) * self.dtype.numpy.type(2.0**-DRAW_BITS)


@register
class Dropout(Op):
    """y = 0 where uniform < p, else x / (1 - p); all zeros where p = 1, as in PyTorch.

    ``uniform`` has the shape of x and holds numbers in [0, 1), in f32 also where x is narrower.
    Srivastava et al. 2014, scaled while training, so that inference is the identity. ONNX
    Dropout-13 with the draws made explicit.
    """

    p: float = 0.5

    name = "dropout"
    operands = ("x", "uniform")
    elementwise = True

    def check(self) -> None:
        if not 0 <= self.p <= 1:
            raise AttributeMistake(
                f"dropout: p is the probability of a zero, got {self.p}", fix="use 0 <= p <= 1"
            )

    def infer(self, x: TensorType, uniform: TensorType) -> TensorType:
        need_float(self.name, x, uniform)
        if uniform.shape != x.shape:
            raise ShapeError(
                f"dropout: x is {x}, the draws are {uniform}",
                fix="draw one number for every element of x",
            )
        return x

    def reference(self, x: Array, uniform: Array) -> Array:
        if self.p == 1:
            return np.zeros_like(x)
        return np.where(uniform < self.p, 0, x / (1 - self.p))

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, uniform = operands
        dropped = b(Less(), uniform, scalar(b, self.p, uniform))
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        return b(Where(), dropped, scalar(b, 0, x), b(Mul(), x, scalar(b, scale, x)))


def random_key(graph: Graph, loc: Location | None = None) -> Input:
    """The random key of a graph, u32[2] (seed, step), made at its first use.

    Its step goes up with each run.

    Raises:
        GraphError: another input has its name.
    """
    for value in graph.inputs_with(Role.STATE):
        if value.name == KEY:
            return value
    key = graph.add_input(KEY, TensorType(DType.U32, (2,)), Role.STATE)
    b = Builder(graph, path="random", loc=loc)
    step = b(Constant(Literal(np.array([0, 1], np.uint32), DType.U32)))
    graph.updates[key] = b(Add(), key, step)
    return key
