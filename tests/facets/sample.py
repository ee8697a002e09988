"""What the facet tests feed an op with: samples, drawn by hypothesis, and where they are listed.

A module ``samples_<family>.py`` beside this one holds one function for each op (or several),
marked with :func:`samples`. The function gets a :class:`Draw` and returns one :class:`Sample`::

    @samples(Relu)
    def relu(draw: Draw) -> Sample:
        return Sample(Relu(), (draw.away(draw.shape(1, 4), 0.0),), (0,))
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from cauce.ir import Array, Op

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One application of an op.

    Attributes:
        op: the op with its attributes; dtypes in them are f64 where a float is meant.
        operands: its operands, every floating-point one in float64.
        differentiable: the operands whose gradient is checked against finite differences: all
            that the op's gradient gives one for. The values must keep away from kinks and ties.
        exact_in_f32: whether the op in float32 is near the op in float64; false only where a
            narrower result is rounded on purpose (a cast to f16).
    """

    op: Op
    operands: tuple[Array, ...]
    differentiable: tuple[int, ...] = ()
    exact_in_f32: bool = True


class Draw:
    """Draws sizes and choices from hypothesis, and array elements from a seeded generator.

    Elements come from one drawn seed, not from hypothesis one by one: that is fast, and shrinking
    works on what matters, the attributes and the shapes. ``draw.op`` is the op class asked for,
    for functions marked with several.
    """

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any], op: type[Op]) -> None:
        self.draw = draw
        self.op = op
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))

    # ---- attributes and shapes -----------------------------------------------------------------

    def int(self, low: int, high: int) -> int:
        """An int, both bounds included; shrinks towards ``low``."""
        return int(self.draw(st.integers(low, high)))

    def flag(self) -> bool:
        """True or False; shrinks towards False."""
        return bool(self.draw(st.booleans()))

    def choice(self, *options: T) -> T:
        """One of the options; shrinks towards the first."""
        return options[self.int(0, len(options) - 1)]

    def pair(self, low: int, high: int) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.int(low, high), self.int(low, high))

    def shape(self, least: int, most: int, *, low: int = 1, high: int = 4) -> tuple[int, ...]:
        """A shape of ``least`` to ``most`` dimensions with sizes from ``low`` to ``high``."""
        return tuple(self.int(low, high) for _ in range(self.int(least, most)))

    def subset(self, items: Sequence[T], least: int = 0) -> tuple[T, ...]:
        """At least ``least`` of the items, in any order."""
        order: list[T] = list(self.draw(st.permutations(items)))
        return tuple(order[: self.int(least, len(order))])

    def axis(self, rank: int) -> int:
        """An axis of ``rank`` dimensions, counted from the front or the back."""
        return self.int(-rank, rank - 1)

    def broadcastable(self, count: int, most: int = 4) -> tuple[tuple[int, ...], ...]:
        """``count`` shapes that broadcast; the first operand is not always the widest."""
        wide = self.shape(0, most, high=3)
        shapes = []
        for _ in range(count):
            shape = tuple(1 if self.int(0, 3) == 3 else size for size in wide)
            shapes.append(shape[self.choice(0, 0, len(shape) // 2, len(shape)) :])
        return tuple(shapes)

    # ---- elements ------------------------------------------------------------------------------

    def normal(self, shape: Sequence[int]) -> Array:
        """Standard normal float64."""
        return self.rng.standard_normal(tuple(shape))

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Array:
        """Uniform float64 in [low, high)."""
        return self.rng.uniform(low, high, tuple(shape))

    def positive(self, shape: Sequence[int]) -> Array:
        """Float64 in [0.5, 2), for logarithms, roots, divisors and variances."""
        return self.uniform(shape, 0.5, 2.0)

    def away(self, shape: Sequence[int], *kinks: float, gap: float = 0.05) -> Array:
        """Standard normal float64, none within ``gap`` of a kink."""
        x = self.normal(shape)
        while (near := (np.abs(x[..., None] - np.array(kinks)) < gap).any(-1)).any():
            x[near] = self.rng.standard_normal(int(near.sum()))
        return x

    def distinct(self, shape: Sequence[int], gap: float = 0.1) -> Array:
        """Float64 around 0, any two of them at least ``gap`` apart, for maxima and orders."""
        count = int(np.prod(shape))
        steps = self.rng.permutation(count) - count / 2 + self.rng.uniform(0, 0.5, count)
        return (2 * gap * steps).reshape(tuple(shape))

    def apart(self, *shapes: Sequence[int], gap: float = 0.1) -> tuple[Array, ...]:
        """Several arrays of which any two elements are at least ``gap`` apart."""
        counts = [int(np.prod(shape)) for shape in shapes]
        pool = np.split(self.distinct((sum(counts),), gap), np.cumsum(counts)[:-1])
        return tuple(part.reshape(tuple(shape)) for part, shape in zip(pool, shapes))

    def integers(self, shape: Sequence[int], low: int, high: int, dtype: str = "int64") -> Array:
        """Integers, both bounds included."""
        return self.rng.integers(low, high, tuple(shape), dtype=dtype, endpoint=True)

    def booleans(self, shape: Sequence[int]) -> Array:
        """Bools, each as likely."""
        return self.integers(shape, 0, 1).astype(bool)

    def probabilities(self, shape: Sequence[int], axis: int = -1) -> Array:
        """Positive float64 whose sum along ``axis`` is 1."""
        weights = self.positive(shape)
        return weights / weights.sum(axis=axis, keepdims=True)


Sampler = Callable[[Draw], Sample]
_SAMPLERS: dict[type[Op], list[Sampler]] = {}


def samples(*ops: type[Op]) -> Callable[[Sampler], Sampler]:
    """Decorator: the function gives samples of these ops; ``draw.op`` says of which one."""

    def mark(sampler: Sampler) -> Sampler:
        for op in ops:
            _SAMPLERS.setdefault(op, []).append(sampler)
        return sampler

    return mark


def samplers() -> dict[type[Op], list[Sampler]]:
    """The marked functions of all ``samples_*.py`` modules, by op."""
    for file in sorted(Path(__file__).parent.glob("samples_*.py")):
        importlib.import_module(f"{__package__}.{file.stem}")
    return _SAMPLERS


def strategy(op: type[Op]) -> st.SearchStrategy[Sample]:
    """Samples of ``op``, from all functions marked with it."""
    found = samplers()[op]

    @st.composite
    def drawn(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Sample:
        helper = Draw(draw, op)
        return helper.choice(*found)(helper)

    return drawn()
