"""How exact results are asked for: which algorithms each precision admits, and their bounds.

A bound is for a layer: max|y - exact| over max(|w| * |x|), in parts of what a direct sum has, or of
2**-24 where that is more.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cauce
from cauce import nn
from cauce.backends.llvm.abi import PRECISIONS
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.schedule.winograd import Winograd
from cauce.backends.llvm.target import Target
from cauce.ir import Array
from cauce.ir.errors import AttributeMistake, TypeMismatch

from ..search.trial import compiling
from .small_networks import inference, residual, training
from .winograd_cases import TILES, Case, Way, call, forced, possible

X86 = "x86_64-linux"
AVX2, SSE2 = Target.named("avx2", X86), Target.named("sse2", X86)
ROUNDING = 2.0**-24
DEFAULT, FAST = 16, 64

# ---- bounds ------------------------------------------------------------------------------------

LAYERS = {
    "few channels": Case(16, 16, 32, 32, 1, end="plain"),
    "a small image": Case(128, 32, 7, 7, 1, end="plain"),
    "odd channels": Case(33, 17, 5, 9, 2, end="plain"),
    "a gradient": Case(48, 24, 12, 10, 1, end="plain", backward=True),
    "stride 2": Case(64, 32, 28, 28, 1, end="plain", stride=2),
    "stride 2, odd": Case(33, 17, 9, 15, 2, end="plain", stride=2),
}


def arrays(case: Case, seed: int) -> Iterator[tuple[str, dict[str, Array]]]:
    """Weights and images of many kinds, all of which Winograd's algorithm has to bear."""
    own = case.feeds(seed)

    def changed(**change: Array) -> dict[str, Array]:
        return {**own, **{name: array.astype(np.float32) for name, array in change.items()}}

    x, w = own["x"], own["w"]
    hot, bright = x.copy(), x.copy()
    hot[:, 3] *= 100
    bright[:, :, 2, 3] *= 100
    yield "normal", own
    yield "behind a relu", changed(x=np.maximum(x, 0))
    yield "far from zero", changed(x=x + 10)
    yield "one channel a hundred times as large", changed(x=hot)
    yield "one pixel a hundred times as large", changed(x=bright)
    yield "denormal images", changed(x=x * 1e-39)
    yield "denormal results", changed(x=x * 1e-30, w=w * 1e-12)


def share(case: Case, feeds: Mapping[str, Array], found: Mapping[str, Array]) -> float:
    """max|y - exact| over max(|w| * |x|)."""
    exact = case.exact(feeds)["y"]
    scale = case.exact({name: np.abs(array) for name, array in feeds.items()})["y"]
    return float(np.abs(found["y"] - exact).max() / scale.max())


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_keeps_the_bounds_of_its_precision(name: str) -> None:
    case, host = LAYERS[name], Target.host()
    graph = case.graph()
    with compiling(0):
        direct = compile_program(graph, host, 1, precision="strict")
        ways = {
            tile: compile_program(graph, host, 1, schedules=forced(graph, Way(tile), host))
            for tile in TILES
        }
    for seed in range(3):
        for kind, feeds in arrays(case, seed):
            unit = max(share(case, feeds, call(direct, feeds)), ROUNDING)
            for tile, program in ways.items():
                if tile == (5, 5) and kind.startswith("denormal"):
                    continue  # below
                times = share(case, feeds, call(program, feeds)) / unit
                fast = tile == (5, 5) and case.stride == 1
                assert times <= (FAST if fast else DEFAULT), (kind, tile, times)


def test_what_is_lost_where_numbers_are_denormal() -> None:
    """Transformed filters are rounded to denormals too, and what that loses is multiplied by the
    transforms: an absolute error, far below anything that is not denormal itself."""
    case, host = Case(33, 17, 14, 14, 1, end="plain"), Target.host()
    graph, feeds = case.graph(), case.feeds()
    wanted = {"default": 2e-42, "fast": 5e-40}
    for tile, most in (((4, 4), wanted["default"]), ((5, 5), wanted["fast"])):
        with compiling(0):
            program = compile_program(graph, host, 1, schedules=forced(graph, Way(tile), host))
        for name in ("x", "w"):
            little = {**feeds, name: feeds[name] * np.float32(1e-39)}
            gap = np.abs(call(program, little)["y"] - case.exact(little)["y"]).max()
            assert 0 < gap <= most, (tile, name, gap)


def test_a_number_that_is_none_spreads_over_its_tiles_and_no_further() -> None:
    case, host = Case(16, 16, 16, 16, 1, end="plain"), Target.host()
    graph, feeds = case.graph(), case.feeds()
    feeds["x"][0, 5, 9, 6] = np.nan
    with compiling(0):
        strict = compile_program(graph, host, 1, precision="strict")
        tiled = compile_program(graph, host, 1, schedules=forced(graph, Way((4, 4)), host))
    spoilt = np.isnan(call(strict, feeds)["y"]).any((0, 1))
    assert spoilt.sum() == 9 and spoilt[8:11, 5:8].all()
    spread = np.isnan(call(tiled, feeds)["y"]).any((0, 1))
    assert spread[8:11, 5:8].all() and not spread[:8].any() and not spread[12:].any()
    assert not spread[:, :4].any() and not spread[:, 8:].any()


# ---- choices -----------------------------------------------------------------------------------


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 60),
    st.integers(1, 60),
    st.booleans(),
    st.sampled_from([None, 1, 16]),
)
def test_strict_sums_are_direct(
    channels: int, filters: int, height: int, width: int, backward: bool, batch: int | None
) -> None:
    graph = Case(channels, filters, height, width, backward=backward).graph(batch=batch)
    for target in (AVX2, SSE2):
        strict, default, fast = (lower(graph, target, precision=p) for p in PRECISIONS)
        assert not any(isinstance(s, Winograd) for s in strict.schedules.values())
        assert not list(possible(graph, target, "strict"))
        tiles = [
            {c.schedule.tile for c in choices if isinstance(c.schedule, Winograd)}
            for lowered in (default, fast)
            for choices in lowered.choices.values()
        ]
        if min(channels, filters) >= target.lanes(4):
            assert tiles[0] == set(TILES[:3]) and tiles[1] == set(TILES)
        else:
            assert tiles == [set(), set()]


def test_the_cheapest_is_chosen() -> None:
    for case in (Case(64, 64, 56, 56), Case(64, 64, 5, 4), Case(512, 512, 7, 7)):
        ((name, choices),) = lower(case.graph(), AVX2, precision="fast").choices.items()
        costs = [choice.cycles for choice in choices]
        assert None not in costs and costs == sorted(costs)  # type: ignore[type-var]
        chosen = lower(case.graph(), AVX2, precision="fast").schedules[name]
        assert chosen == choices[0].schedule
    assert isinstance(lower(Case(64, 64, 56, 56).graph(), AVX2).schedules["layer~1"], Winograd)


def test_a_free_batch_is_taken_for_one_image_and_a_fixed_one_may_decide() -> None:
    case = Case(512, 512, 7, 7)
    free, one, many = (lower(case.graph(batch=n), AVX2).schedules for n in (None, 1, 16))
    assert free == one
    assert free["layer~1"] != many["layer~1"]


def test_a_size_that_is_not_known_counts_as_a_usual_one() -> None:
    known = lower(Case(32, 32, 56, 56).graph(), AVX2).schedules["layer~1"]
    symbols = lower(Case(32, 32, 56, 56, symbolic=True).graph(), AVX2).schedules["layer~1"]
    assert isinstance(known, Winograd) and isinstance(symbols, Winograd)
    assert known.tile == symbols.tile


@cauce.network
def net(image):  # type: ignore[no-untyped-def]
    x = nn.relu(nn.conv2d(image, 32, 3, padding=1))
    x = nn.relu(nn.conv2d(x, 32, 3, padding=1))
    return nn.linear(nn.global_avg_pool(x), 24)


@pytest.fixture(scope="module")
def model() -> cauce.Model:
    return net.init(image=("N", 32, 20, 20), seed=3)


IMAGES = np.random.default_rng(0).standard_normal((4, 32, 20, 20), np.float32)


def test_a_plan_names_the_algorithm(model: cauce.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUCE_TARGET", "sse2")
    for precision in PRECISIONS:
        found = cauce.compile(model, "llvm", precision=precision).plan()
        assert ("relu2: winograd" in found, "relu2: direct" in found) == (
            (False, True) if precision == "strict" else (True, False)
        )
    assert (
        cauce.compile(model, "llvm").plan()
        == cauce.compile(model, "llvm", precision="default").plan()
    )


def test_precisions_are_within_their_bounds_of_one_another(model: cauce.Model) -> None:
    wide = cauce.compile(model, "numpy")(IMAGES)
    for precision in PRECISIONS:
        found = cauce.compile(model, "llvm", precision=precision)(IMAGES)
        np.testing.assert_allclose(found, wide, atol=1e-6 * np.abs(wide).max())


def test_it_is_a_part_of_the_key_and_travels(
    model: cauce.Model, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUCE_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CAUCE_TARGET", "sse2")
    strict, default = (cauce.compile(model, "llvm", precision=p) for p in PRECISIONS[:2])
    assert strict.program.fingerprint != default.program.fingerprint
    for twin in (copy.deepcopy(strict), pickle.loads(pickle.dumps(strict))):
        assert twin.plan() == strict.plan() != default.plan()
        assert twin(IMAGES).tobytes() == strict(IMAGES).tobytes()
    again = cauce.compile(model, "llvm", precision="strict")
    assert again.program.fingerprint == strict.program.fingerprint


def test_a_training_step_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUCE_TARGET", "sse2")
    plans = {}
    for precision in (None, *PRECISIONS):
        model = net.init(image=("N", 32, 20, 20), seed=3)
        step = cauce.train_step(
            model, "cross_entropy", cauce.SGD(0.1), backend="llvm", precision=precision
        )
        plans[precision] = step.executable.plan()
    assert "winograd" not in plans["strict"]
    assert "winograd" in plans["default"] and plans[None] == plans["default"]


def test_strict_networks_have_no_other_algorithm() -> None:
    for graph in (inference(residual), training(residual)):
        for target in (AVX2, SSE2):
            chosen = lower(graph, target, precision="strict").schedules.values()
            assert not any("winograd" in str(schedule) for schedule in chosen)


# ---- mistakes ----------------------------------------------------------------------------------


def test_precisions_that_there_are_not(model: cauce.Model) -> None:
    for make in (
        lambda: cauce.compile(model, "llvm", precision="best"),
        lambda: cauce.train_step(model, "cross_entropy", cauce.SGD(0.1), precision="best"),
        lambda: compile_program(Case(16, 16, 8, 8).graph(), precision="best"),
    ):
        with pytest.raises(AttributeMistake, match="there is no precision 'best'") as error:
            make()
        assert "use one of strict, default, fast" in str(error.value)


def test_only_the_native_backend_takes_a_precision(model: cauce.Model) -> None:
    for make in (
        lambda: cauce.compile(model, "numpy", precision="strict"),
        lambda: cauce.train_step(
            model, "cross_entropy", cauce.SGD(0.1), backend="numpy", precision="strict"
        ),
    ):
        with pytest.raises(TypeMismatch, match="the numpy backend takes no precision") as error:
            make()
        assert "backend='llvm'" in str(error.value)
