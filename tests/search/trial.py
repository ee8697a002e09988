"""One network: drawn from a seed, and run in every way there is."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partialmethod
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import numpy as np

from cauce.backends.contract import Program, Request
from cauce.backends.executable import Executable
from cauce.backends.llvm import abi as llvm_artifact
from cauce.backends.llvm.build import compile_graph
from cauce.backends.llvm.driver import program_of
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.runtime.memory import GUARD
from cauce.backends.llvm.schedule.schedule import Schedule
from cauce.backends.llvm.schedule.winograd import Winograd, WinogradWeight
from cauce.backends.llvm.target import Target
from cauce.backends.numpy import NumpyProgram
from cauce.ir import Array, DType, Graph, Op, verify
from cauce.ir.errors import AttributeMistake
from cauce.ir.pass_manager import run_passes
from cauce.ir.validation import Feeds
from cauce.passes.pipelines import INFERENCE, PRIMITIVES, TRAINING
from cauce.passes.properties import inference_only

from ..backends.winograd_cases import ORDERS, TILES, forced
from ..backends.winograd_cases import Way as WinogradWay
from ..facets.sample import Draw
from ..guarded import guarded
from ..net import Net
from ..networks import apart, feeds_for, finish, grow, planned, results_of, tame

T = TypeVar("T")
Sizes = Mapping[str, int]

# Relative to the greatest element of a result, or to 1 where that is smaller.
TOLERANCE = {"f32": 1e-5, "f64": 1e-12}


class Part(NamedTuple):
    """A kind of network: what it gives, and the dtype of its floats."""

    gives: str
    dtype: str

    @property
    def name(self) -> str:
        return f"{self.gives}-{self.dtype}"


PARTS = {
    part.name: part
    for part in (Part(g, d) for g in ("inference", "gradients", "step") for d in TOLERANCE)
}


class Way(NamedTuple):
    """How native code runs.

    Attributes:
        threads: how many share the work.
        guard: the side of arrays where a page lies that must not be touched; none where empty.
        piece: how many images each thread takes at a time, where a batch may run in pieces at
            all; as many as it likes where 0.
    """

    threads: int
    guard: str = ""
    piece: int = 0


# All of them must give the same bits.
WAYS = (Way(1), Way(2), Way(1, piece=1), Way(1, "end"), Way(2, "begin", piece=2))


class Setup(NamedTuple):
    """How native code is made.

    Attributes:
        target: the vectors.
        schedules: in place of cauce's own.
        tiles: of all convolutions by Winograd's algorithm.
    """

    target: Target
    schedules: dict[str, Schedule]
    tiles: tuple[tuple[int, int], ...]

    @property
    def least(self) -> int:
        """The level at which LLVM is soonest done. At 0, for AVX without AVX-512, it lets a choice
        between two floats (vblendvpd) read 16 bytes where one of them lies: beyond its array."""
        return 1 if self.target.name == "avx2" else 0

    @property
    def looser(self) -> int:
        """How many times as wrong as direct sums its results may be."""
        return max((LOOSER[tile] for tile in self.tiles), default=1)


# By the tiles of outputs.
LOOSER = {(2, 2): 1, (3, 3): 2, (4, 2): 2, (4, 4): 4, (5, 5): 16}


class Failure(Exception):
    """What is wrong with a network.

    Attributes:
        kind: in a word or two, the same for a smaller network with the same fault.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class SeededDraw(Draw):
    """Sizes and choices from a seed, without hypothesis: a hundred times as fast."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.rng = np.random.default_rng(self.random.getrandbits(32))
        self.op = Op

    def int(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def flag(self) -> bool:
        return self.random.random() < 0.5

    def subset(self, items: Sequence[T], least: int = 0) -> tuple[T, ...]:
        order = list(items)
        self.random.shuffle(order)
        return tuple(order[: self.int(least, len(order))])


def drawn(part: Part, seed: int) -> tuple[Graph, Sizes]:
    """The network of a seed, and what its symbols stand for."""
    draw = SeededDraw(f"{part.name} {seed}")
    sizes = {
        "N": draw.choice(3, 3, 3, 1, 2, 5),
        "H": draw.choice(6, 6, 6, 1, 3, 9),
        "W": draw.choice(5, 5, 5, 1, 2, 8),
    }
    symbols = draw.choice(("N", "H", "W"), ("N", "H", "W"), ("N",), ())
    training = part.gives != "inference"
    net = Net(draw, DType.of(part.dtype), symbols, sizes)
    grow(net, planned(draw.rng, draw.int(1, 5 if training else 8)))
    finish(net, training, step=part.gives == "step")
    return net.graph, sizes


def trial(graph: Graph, sizes: Sizes, dtype: str, seed: int) -> bool:
    """Run a network in all ways.

    Args:
        graph: the network.
        sizes: what its symbols stand for.
        dtype: of its floats.
        seed: of its feeds, and of how it is compiled (:func:`setup_of`); every sixth with what LLVM
            does to make code fast.

    Returns:
        Whether it could be compared: two right evaluations of a wild network may differ.

    Raises:
        Failure: two ways differ, or one raised an error.
    """
    tolerance = TOLERANCE[dtype]
    with np.errstate(all="ignore"):
        verify(graph)
        feeds = feeds_for(graph, seed, sizes)
        if not tame(graph, feeds, relative=tolerance / 10, amplification=3):
            return False
        expected = results_of(graph, feeds)
        optimized = stage("passes", lambda: usual(graph))
        plain = stage("numpy", lambda: results(NumpyProgram(optimized), graph, feeds))
        hold("numpy", plain, expected, tolerance)
        primitive = stage("passes", lambda: passed(optimized, PRIMITIVES))
        setup = stage("lower", lambda: setup_of(primitive, seed))
        tolerance *= setup.looser
        with compiling(2 if seed % 6 == 0 else setup.least):
            code = stage(
                "compile",
                lambda: compile_graph(primitive, setup.target, primitive, setup.schedules),
            )
        first: dict[str, Array] = {}
        for way in WAYS:
            found = stage("native", lambda way=way: native(code, primitive, way, graph, feeds))
            hold(f"native, {way}", found, expected, tolerance)
            first = first or found
            for name, array in found.items():
                if array.tobytes() != first[name].tobytes():
                    raise Failure("bits", f"{name} has other bits with {way} than with {WAYS[0]}")
    return True


def setup_of(graph: Graph, seed: int) -> Setup:
    """How native code of a seed's network is made: for narrower vectors at times, which fewer
    channels fill; and with Winograd's algorithm wherever it can be, every second time."""
    target = _target(("", "avx2", "sse2")[seed // 2 % 3])
    rng = random.Random(seed)
    way = WinogradWay(
        rng.choice(TILES),
        rng.choice(ORDERS),
        rng.randint(1, 20),
        rng.randint(1, 6),
        rng.choice((1, 2)),
    )
    schedules = forced(graph, way, target) if seed % 2 else {}
    chosen = lower(graph, target, schedules).schedules.values()
    tiled = (s.tile for s in chosen if isinstance(s, (Winograd, WinogradWeight)))
    return Setup(target, schedules, tuple(tiled))


def _target(name: str) -> Target:
    """A kind of vectors, or this machine's widest where it has none of these."""
    try:
        return Target.host(name or None)
    except AttributeMistake:
        return Target.host()


def stage(name: str, make: Callable[[], T]) -> T:
    """What ``make`` returns; an error of it is a failure."""
    try:
        return make()
    except Failure:
        raise
    except Exception as error:
        raise Failure(f"{name} raised {type(error).__name__}", str(error)) from error


def passed(graph: Graph, passes: Sequence[Any]) -> Graph:
    """A copy after some passes."""
    twin = graph.copy()
    run_passes(twin, passes)
    return twin


def usual(graph: Graph) -> Graph:
    """What the passes for inference, or for training, make of a graph."""
    trains = bool(graph.updates) or inference_only(graph) is not None
    return passed(graph, TRAINING if trains else INFERENCE)


def primitives(graph: Graph) -> Graph:
    """What native code is made of."""
    return passed(usual(graph), PRIMITIVES)


def native(
    code: llvm_artifact.Artifact, lowered: Graph, way: Way, graph: Graph, feeds: Feeds
) -> dict[str, Array]:
    """Outputs and updates of machine code that runs in one way."""
    with going(way):
        return results(program_of_code(code, lowered, way.threads), graph, feeds)


def program_of_code(code: llvm_artifact.Artifact, lowered: Graph, threads: int) -> Program:
    """The program of machine code that was made of a graph."""
    return program_of(code, Request(lowered, lambda: lowered, threads=threads))


def results(program: Program, graph: Graph, feeds: Feeds) -> dict[str, Array]:
    """Outputs and updates of a program for a graph."""
    interface, given = program.interface, guarded(feeds)
    executable = Executable(program)
    executable.load_state_dict({value.name: given[value.name] for value in interface.fixed})
    held = {value.name: given[value.name] for value in interface.updated}
    state = executable.new_state(held) if held else None
    found = executable.run({v.name: given[v.name] for v in interface.called}, state)
    after = state.read() if state else {}
    for name, array in feeds.items():
        if given[name].tobytes() != array.tobytes():
            raise Failure("input", f"{name} was altered")
    return {**found, **{f"update {value.name}": after[value.name] for value in graph.updates}}


def hold(
    what: str, found: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float
) -> None:
    """The same names, shapes and dtypes, and values within the tolerance.

    Raises:
        Failure: something is otherwise.
    """
    if found.keys() != expected.keys():
        raise Failure(f"{what.split(',')[0]} names", f"{list(found)} for {list(expected)}")
    for name, array in expected.items():
        other = found[name]
        kind = f"{what.split(',')[0]} differs"
        if (other.shape, other.dtype) != (array.shape, array.dtype):
            raise Failure(kind, f"{what}: {name} is {other.dtype}{other.shape}")
        gap = apart(other, array)
        if gap > tolerance:
            raise Failure(kind, f"{what}: {name} by {gap:.1e}")


@contextmanager
def compiling(level: int) -> Iterator[None]:
    """LLVM generates code at this level."""
    with mock.patch.object(Target, "machine", partialmethod(Target.machine, level)):
        yield


@contextmanager
def going(way: Way) -> Iterator[None]:
    """Native code runs in this way."""
    pieces = mock.patch.object(
        llvm_artifact.BatchStage,
        "share",
        lambda self, count, threads: llvm_artifact.Share(min(count, way.piece), way.threads),
    )
    with mock.patch.dict(os.environ, {GUARD: way.guard}):
        if way.piece:
            with pieces:
                yield
        else:
            yield
