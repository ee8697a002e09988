"""Winograd's convolutions in native code, on awkward shapes and in schedules of all kinds, held to
the reference in f64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.target import Target
from cauce.ir import parse
from cauce.ir.errors import AttributeMistake, CompileError

from ..search.trial import compiling
from .winograd_cases import (
    BOUNDS,
    ENDS,
    ORDERS,
    TILES,
    Case,
    Way,
    call,
    cases,
    forced,
    possible,
    run,
    ways,
)

LIMITS = ("avx512", "avx2", "sse2", "scalar")
EXAMPLES = settings.default.max_examples


@pytest.fixture(params=LIMITS)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """Each kind of vectors that this machine has."""
    try:
        yield Target.host(request.param)
    except AttributeMistake as error:
        pytest.skip(str(error))


def hold(case: Case, way: Way, target: Target, seed: int = 0) -> None:
    feeds = case.feeds(seed)
    case.hold(run(case, feeds, target, way), feeds, BOUNDS[way.tile])


# ---- shapes ------------------------------------------------------------------------------------

# By what is awkward about them, for vectors of 16 lanes.
SHAPES = {
    "one vector": Case(16, 16, 8, 8),
    "a vector and a rest": Case(17, 31, 8, 8),
    "three vectors": Case(48, 48, 9, 9),
    "three vectors and a rest of all widths": Case(31, 63, 5, 6),
    "more groups and a rest": Case(19, 83, 6, 5),
    "a pixel": Case(16, 17, 1, 1, 3),
    "a row": Case(16, 17, 1, 30),
    "a column": Case(16, 17, 30, 1),
    "less than a tile": Case(20, 20, 3, 2, 3, ((0, 0), (1, 0))),
    "no padding": Case(20, 20, 11, 10, 1, ((0, 0), (0, 0))),
    "padding on one side": Case(20, 20, 7, 5, 2, ((0, 3), (3, 0))),
    "wide padding": Case(20, 20, 2, 1, 1, ((3, 3), (3, 2))),
    "a pixel in wide padding": Case(16, 16, 1, 1, 2, ((3, 3), (3, 3))),
    "no images": Case(16, 16, 4, 4, 0),
}
BACKWARD = {
    "a gradient": Case(33, 17, 9, 6, backward=True),
    "a gradient of an unpadded convolution": Case(17, 33, 3, 5, 3, ((0, 0), (0, 0)), backward=True),
    "a gradient that loses its borders": Case(16, 20, 9, 6, 2, ((2, 1), (0, 2)), backward=True),
    "a gradient of a pixel": Case(16, 20, 1, 1, 2, ((1, 1), (1, 1)), backward=True),
}
NAMED = {
    **SHAPES,
    **{f"{name}, stride 2": replace(case, stride=2) for name, case in SHAPES.items()},
    **BACKWARD,
}


@pytest.mark.parametrize("name", NAMED)
def test_awkward_shapes(name: str) -> None:
    case, order = NAMED[name], ORDERS[len(name) % 2]
    for symbolic in (False, True):
        with compiling(0):
            hold(replace(case, symbolic=symbolic), Way((4, 4), order), Target.host())


@pytest.mark.slow
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", NAMED)
def test_awkward_shapes_in_all_tiles(
    name: str, order: str, tile: tuple[int, int], target: Target
) -> None:
    with compiling(0):
        hold(NAMED[name], Way(tile, order, 5, 4), target)


def test_every_size_of_an_image() -> None:
    """One program for all of them, smaller and larger than a tile and a block."""
    sizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 30]
    for padding, stride in product((((1, 1), (1, 1)), ((0, 2), (3, 1))), (1, 2)):
        case = Case(18, 19, 1, 1, 2, padding, symbolic=True, stride=stride)
        graph, host = case.graph(), Target.host()
        with compiling(0):
            schedules = forced(graph, Way((4, 2), "tiles", 6), host)
            program = compile_program(graph, host, 1, schedules=schedules)
        for height, width in zip(sizes, sizes[::-1]):
            sized = replace(case, height=height, width=width)
            feeds = sized.feeds(height)
            sized.hold(call(program, feeds), feeds, BOUNDS[4, 2])


# ---- schedules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("end", ENDS)
def test_what_surrounds_it(end: str, tile: tuple[int, int]) -> None:
    order = ORDERS[(TILES.index(tile) + list(ENDS).index(end)) % 2]
    case = Case(17, 33, 9, 11, 2, ((1, 2), (2, 1)), end)
    with compiling(0):
        hold(case, Way(tile, order), Target.host())
        hold(replace(case, stride=2, height=19), Way(tile, order), Target.host())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "tiles, columns, vectors",
    [(1, 1, 1), (2, 2, 3), (5, 3, 2), (7, 7, 1), (13, 6, 2), (24, 5, 3), (40, 14, 1)],
)
def test_odd_blocks_and_register_tiles(tiles: int, columns: int, vectors: int, order: str) -> None:
    case = Case(20, 83, 17, 14, 1, end="residual")
    with compiling(0):
        hold(case, Way((4, 4), order, tiles, columns, vectors, 4096), Target.host())
        strided = replace(case, stride=2, height=34, width=27)
        hold(strided, Way((4, 4), order, tiles, columns, vectors, 4096), Target.host())


@pytest.mark.parametrize("tile", TILES)
def test_targets(tile: tuple[int, int], target: Target) -> None:
    case = Case(17, 21, 9, 7, end="residual")
    with compiling(2 if tile == (4, 4) else 0):
        hold(case, Way(tile, "tiles", 5, 4), target)
    with compiling(0):
        hold(replace(case, stride=2, height=18), Way(tile, "tiles", 5, 4), target)
        hold(replace(case, backward=True), Way(tile, "filters", 4, 3), target)


def test_layers_drawn_at_random(target: Target) -> None:
    """Many of them, in the slow tier."""
    lanes = target.lanes(4)

    @settings(max_examples=max(8, EXAMPLES // 2))
    @given(case=cases(lanes), way=ways(), seed=st.integers(0, 1000))
    def check(case: Case, way: Way, seed: int) -> None:
        with compiling(0):
            hold(case, way, target, seed)

    check()


@pytest.mark.parametrize(
    "change, wrong",
    [
        ({"order": "pixels"}, "there is no order 'pixels'; there are tiles, filters"),
        ({"tile": (3, 3)}, "there are no points for tiles of 3 x 3"),
        ({"stride": 2}, "the stride of the convolution is 1, not 2"),
        ({"tiles": 0}, "a block has a tile at least"),
        ({"ahead": -64}, "nothing is fetched behind its use"),
        ({"columns": (("t", 40),)}, "needs more than the"),
        ({"columns": (("t", 8),), "vectors": 1}, "8 tiles in a register tile, and 7 in a block"),
        ({"columns": (("j", 4),)}, "columns along"),
    ],
)
def test_what_it_cannot_have(change: dict[str, object], wrong: str) -> None:
    graph, host = Case(16, 16, 8, 8).graph(), Target.host()
    ((name, right),) = forced(graph, Way((4, 4)), host).items()
    with pytest.raises(CompileError, match=wrong) as error:
        compile_program(graph, host, schedules={name: replace(right, **change)})
    assert error.value.fix


def test_it_needs_3x3_taps_in_small_steps_in_f32_and_channels_that_fill_a_vector() -> None:
    source = """graph g(%x: {d}[N,{c},9,9]) -> {d}[N,{k},{s}] {{
      @w: {d}[{k},{i},{r},3] parameter
      %y = conv2d(%x, @w) padding=1 {more} : {d}[N,{k},{s}]
      return %y
    }}"""

    def found(**change: object) -> bool:
        names = {"d": "f32", "c": 16, "k": 16, "i": 16, "r": 3, "s": "9,9", "more": "", **change}
        graph = parse(source.format(**names))
        return bool(list(possible(graph, Target.named("avx512", "x86_64-linux"), "fast")))

    assert found()
    assert found(c=17, i=17, k=33)
    assert not found(c=15, i=15) and not found(k=15)
    assert not found(i=1, more="groups=16") and not found(i=8, more="groups=2")
    assert found(s="5,5", more="stride=2") and not found(s="3,3", more="stride=4")
    assert not found(s="5,9", more="stride=[2, 1]") and not found(s="7,7", more="dilation=2")
    assert not found(d="f64")


def test_zeros_around_an_image_are_what_its_tiles_read() -> None:
    """A wrong halo would let numbers of other images, or what memory held before, into tiles."""
    for stride in (1, 2):
        case = Case(16, 16, 5, 6, 3, ((2, 0), (0, 1)), "plain", stride=stride)
        feeds = case.feeds()
        feeds["x"][1] = np.inf
        with compiling(0):
            found = run(case, feeds, Target.host(), Way((4, 4), "tiles", 3))["y"]
        assert np.isfinite(found[[0, 2]]).all() and not np.isfinite(found[1]).all()
