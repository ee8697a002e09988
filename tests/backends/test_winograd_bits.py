"""Winograd's convolutions give the same bits however the work is shared and whatever is in the same
call, stay within their arrays, and read nothing before it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from unittest import mock

import pytest

from cauce.backends.contract import Request
from cauce.backends.llvm.abi import Artifact, BatchStage, Share
from cauce.backends.llvm.build import compile_graph
from cauce.backends.llvm.driver import program_of
from cauce.backends.llvm.runtime.memory import GUARD, SIDES
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Graph

from ..search.trial import compiling
from .winograd_cases import BOUNDS, ORDERS, TILES, Case, Results, Way, call, forced

# Ragged, in all but whole vectors; two blocks for an image of the first.
CASES = {
    "forward": Case(17, 37, 11, 9, 5, ((1, 0), (2, 1)), "residual"),
    "backward": Case(21, 18, 6, 13, 5, ((1, 2), (0, 1)), "bias", backward=True),
    "a chain": Case(16, 20, 7, 10, 5, ((1, 2), (2, 1)), "chain"),
    "any size": Case(16, 19, 9, 5, 5, end="scaled", symbolic=True),
    "stride 2": Case(17, 37, 20, 19, 5, ((1, 0), (2, 1)), "residual", stride=2),
    "stride 2, any size": Case(16, 20, 13, 10, 5, ((1, 2), (0, 1)), "chain", False, True, 2),
}
WAYS = [Way(tile, order, 5, 4) for tile in TILES for order in ORDERS]


class Made:
    """A case in code."""

    def __init__(self, case: Case, way: Way) -> None:
        self.case, self.way, self.host = case, way, Target.host()
        self.graph: Graph = case.graph()
        with compiling(0):
            schedules = forced(self.graph, way, self.host)
            self.code: Artifact = compile_graph(self.graph, self.host, self.graph, schedules)

    def run(self, feeds: Mapping[str, Array], threads: int = 1) -> Results:
        request = Request(self.graph, lambda: self.graph, threads=threads)
        return call(program_of(self.code, request, self.host), feeds)


def same(found: Results, wanted: Results) -> None:
    for name, array in wanted.items():
        assert found[name].tobytes() == array.tobytes(), name


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    yield CASES[request.param]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_bits_depend_on_nothing_but_the_image(case: Case, way: Way) -> None:
    made, feeds = Made(case, way), case.feeds(3)
    first = made.run(feeds)
    case.hold(first, feeds, BOUNDS[way.tile])
    for threads in (1, 2, 3, 5):
        same(made.run(feeds, threads), first)
    for share in map(Share, (1, 2, 3, 1, 2), (1, 1, 1, 2, 3)):  # images at a time, side by side
        with mock.patch.object(BatchStage, "share", lambda *_, own=share: own):
            same(made.run(feeds, share.streams), first)
    batched = ("x", "other")
    for image in range(case.images):
        some = slice(image, image + 1)
        alone = {name: a[some] if name in batched else a for name, a in feeds.items()}
        same(made.run(alone), {name: array[some] for name, array in first.items()})
    reverse = {name: a[::-1].copy() if name in batched else a for name, a in feeds.items()}
    same(made.run(reverse), {name: array[::-1] for name, array in first.items()})


@pytest.mark.parametrize("order", ORDERS)
def test_bits_are_the_same_in_a_hundred_runs(order: str) -> None:
    made = Made(replace(CASES["forward"], images=3), Way((4, 4), order))
    feeds = made.case.feeds()
    wanted = made.run(feeds)
    request = Request(made.graph, lambda: made.graph, threads=2)
    program = program_of(made.code, request, made.host)
    for _ in range(100):
        same(call(program, feeds), wanted)


def test_bits_do_not_depend_on_blocks_and_register_tiles() -> None:
    case = CASES["forward"]
    feeds = case.feeds()
    wanted = Made(case, Way((4, 4))).run(feeds)
    for order, tiles, columns, vectors in (("tiles", 1, 1, 1), ("filters", 11, 9, 3)):
        same(Made(case, Way((4, 4), order, tiles, columns, vectors)).run(feeds), wanted)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_it_stays_within_its_arrays(
    way: Way, side: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All arrays, scratch too, end or begin at a page that must not be touched, and are full of NaN
    before they are written."""
    monkeypatch.setenv(GUARD, side)
    made, feeds = Made(case, way), case.feeds(1)
    for threads in (1, 2):
        case.hold(made.run(feeds, threads), feeds, BOUNDS[way.tile])


@pytest.mark.parametrize("side", SIDES)
def test_filters_that_are_fetched_ahead_are_not_touched_there(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GUARD, side)
    case = CASES["forward"]
    feeds = case.feeds()
    found = Made(case, Way((4, 4), ahead=1 << 16)).run(feeds)
    case.hold(found, feeds, BOUNDS[4, 4])
