"""Gradients of weights by Winograd's algorithm, on awkward shapes and in schedules of all kinds,
held to the reference in f64: between guard pages, with the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.build import compile_graph
from cauce.backends.llvm.codegen import kernels
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.runtime.memory import GUARD, SIDES
from cauce.backends.llvm.schedule.winograd import WinogradWeight
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, Graph, TensorType, symbol
from cauce.ir.errors import AttributeMistake, CompileError
from cauce.ir.ops.conv import Conv2dBackwardWeight

from ..guarded import guarded
from ..search.trial import compiling, program_of_code
from .winograd_cases import BOUNDS, TILES, Padding

assert kernels  # which registers what lowering must know

# Images, channels, filters, rows, columns; padding.
SHAPES: dict[str, tuple[tuple[int, ...], Padding]] = {
    "whole vectors": ((2, 16, 32, 8, 8), ((1, 1), (1, 1))),
    "odd channels": ((3, 17, 33, 9, 11), ((0, 2), (1, 1))),
    "a row": ((2, 33, 18, 1, 30), ((1, 1), (1, 1))),
    "less than a tile": ((1, 20, 20, 3, 2), ((0, 0), (1, 0))),
    "wide padding": ((5, 16, 50, 13, 6), ((3, 0), (2, 3))),
    "a pixel": ((2, 16, 16, 1, 1), ((3, 3), (3, 3))),
}

# Tiles of a block, parts, columns and vectors of the register tile.
WAYS = [(5, 1, 3, 2), (4, 3, 4, 1), (6, 0, 5, 2), (128, 8, 6, 2), (512, 0, 2, 3)]


class Made:
    """A gradient of a weight, as native code."""

    def __init__(
        self, name: str, symbolic: bool, schedule: WinogradWeight | None, target: Target
    ) -> None:
        (self.images, channels, filters, *self.size), padding = SHAPES[name]
        self.op = Conv2dBackwardWeight(padding=padding, kernel=(3, 3))
        image = (symbol("N"), channels, *(map(symbol, "HW") if symbolic else self.size))
        result = [dim + sum(pair) - 2 for dim, pair in zip(image[2:], padding)]  # type: ignore[operator]
        self.target, self.graph = target, Graph("gradient")
        x = self.graph.add_input("x", TensorType.make("f32", image))
        dy = self.graph.add_input("dy", TensorType.make("f32", (symbol("N"), filters, *result)))
        self.graph.outputs = {"dw": Builder(self.graph)(self.op, x, dy)}
        ((kernel, choices),) = lower(self.graph, target).choices.items()
        assert any(isinstance(choice.schedule, WinogradWeight) for choice in choices)
        schedules = {kernel: schedule} if schedule else {}
        with compiling(0):
            self.code = compile_graph(self.graph, target, self.graph, schedules)

    def feeds(self) -> dict[str, Array]:
        rng = np.random.default_rng(self.images)
        sizes = {"N": self.images, "H": self.size[0], "W": self.size[1]}
        shapes = {value.name: value.type.bind(sizes).shape for value in self.graph.inputs}
        return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}

    def run(self, feeds: dict[str, Array], threads: int = 1) -> Array:
        program = program_of_code(self.code, self.graph, threads)
        return Executable(program).run(guarded(feeds))["dw"]

    def hold(self, bound: float) -> None:
        feeds = self.feeds()
        first = self.run(feeds)
        wide = [array.astype(np.float64) for array in feeds.values()]
        exact, scale = self.op.reference(*wide), self.op.reference(*map(np.abs, wide))
        assert np.abs(first - exact).max() <= bound * scale.max()
        for threads in (2, 3, 5):
            assert self.run(feeds, threads).tobytes() == first.tobytes()


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", SHAPES)
def test_awkward_shapes(name: str, tile: tuple[int, int]) -> None:
    own = TILES.index(tile) + list(SHAPES).index(name)  # two ways each, all of them for all tiles
    for number in (own, own + 2):
        tiles, parts, columns, vectors = WAYS[number % len(WAYS)]
        way = WinogradWeight((("c", columns),), vectors, tile, tiles, parts)
        Made(name, number % 2 == 1, way, Target.host()).hold(BOUNDS[tile])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("parts", [0, 3])
@pytest.mark.parametrize("name", SHAPES)
def test_it_stays_within_its_arrays(
    name: str, parts: int, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GUARD, side)
    way = WinogradWeight((("c", 5),), 2, (4, 4), 4, parts)
    Made(name, parts == 0, way, Target.host()).hold(BOUNDS[4, 4])


@pytest.mark.parametrize("limit", ["avx512", "avx2", "sse2", "scalar"])
def test_targets(limit: str) -> None:
    try:
        target = Target.host(limit)
    except AttributeMistake as error:
        pytest.skip(str(error))
    for name in SHAPES:
        Made(name, False, None, target).hold(BOUNDS[4, 4])  # as cauce chooses
        way = WinogradWeight((("c", 4),), 2, (4, 4), 4, 2)
        Made(name, True, way, target).hold(BOUNDS[4, 4])


@pytest.mark.parametrize(
    "columns, tile, tiles, parts, wrong",
    [
        (4, (3, 3), 4, 0, "there are no points for tiles of 3 x 3"),
        (4, (4, 4), 0, 0, "a block has a tile at least"),
        (4, (4, 4), 4, -1, "there are 0 to"),
        (40, (4, 4), 4, 0, "needs more than the"),
    ],
)
def test_what_it_cannot_have(
    columns: int, tile: tuple[int, int], tiles: int, parts: int, wrong: str
) -> None:
    with pytest.raises(CompileError, match=wrong):
        Made(
            "a row", False, WinogradWeight((("c", columns),), 2, tile, tiles, parts), Target.host()
        )
