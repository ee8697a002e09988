"""The composed limit, worked out by hand, and the loops that measure the machine."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.llvm.peak import ACCUMULATORS

from .fake_benchmark import BENCHMARK

# isort: split
# Benchmarks are scripts, not a package: the fake one has put their folder on the path.
import limit
import machine
from machine import Capacity

assert BENCHMARK  # what the fake one is imported for

MEMORY = 35e9
# 117 GFLOP/s; what is larger than 24 MiB comes from memory, all else at once.
ZEN4 = Capacity(117e9, [(24 << 20, 1e30), (1 << 30, MEMORY)])
CACHE = 32 << 20


def layer(channels: int, size: int, filters: int) -> limit.Work:
    """A convolution 3x3 that pads by 1, of one image."""
    op = limit.Conv2d(padding=((1, 1), (1, 1)))
    ways = limit.convolution(op, (filters, channels, 3, 3), (1, filters, size, size))
    return limit.Work("layer", ways, 0, 1)


def others(weights: int) -> limit.Work:
    """Other layers, of which only the weights take time."""
    return limit.Work("others", [limit.Way("direct", 0, weights)], 0, 1)


def test_winograd_by_hand() -> None:
    """64 channels, 56 x 56, 64 filters: 14 x 14 tiles of 4 x 4, 36 products each."""
    transforms = 64 * 12 * (6 + 6) + 64 * 11 * (6 + 4)
    slots = 14 * 14 * (36 * 64 * 64 + transforms)
    assert limit.winograd((4, 4), 1, 64, (1, 64, 56, 56)) == limit.Way(
        "F(4x4)", 2 * slots, 36 * 64 * 64 * 4
    )
    assert 2 * slots / 117e9 == pytest.approx(0.549e-3, rel=1e-3)


def test_oblong_tiles_by_hand() -> None:
    """512 channels, 7 x 7, 512 filters: 2 x 4 tiles of 4 rows and 2 columns, 24 products each."""
    before = 512 * (12 * 4 + 4 * 6)  # down 4 columns as F(4, 3), along 6 rows as F(2, 3)
    after = 512 * (11 * 4 + 4 * 4)  # down 4 columns, along the 4 rows that are left
    way = limit.winograd((4, 2), 1, 512, (1, 512, 7, 7))
    assert way == limit.Way("F(4x2)", 2 * 8 * (24 * 512 * 512 + before + after), 24 * 512 * 512 * 4)


def test_stride_two_by_hand() -> None:
    """64 channels, results of 28 x 28, 128 filters: 7 x 7 tiles of 4 x 4, 81 products each."""
    transforms = 64 * 9 * (9 + 9) + 128 * 12 * (9 + 4)
    slots = 7 * 7 * (81 * 64 * 128 + transforms)
    assert limit.winograd((4, 4), 2, 64, (1, 128, 28, 28)) == limit.Way(
        "F(4x4)", 2 * slots, 36 * 64 * 128 * 4
    )


@pytest.mark.parametrize(
    ("shape", "name", "milliseconds"),
    [
        # 25 tiles of 6 x 6: 64 products and, down 8 columns and along 8 rows, 24 additions each.
        ((256, 28, 512), "F(6x6)", 2 * 25 * (64 * 256 * 512 + 256 * 384 + 512 * 350) / 117e6),
        # 16 tiles of 4 x 4: fewer products than 9 of 6 x 6 have, in all and with transforms.
        ((256, 14, 256), "F(4x4)", 0.663),
        ((128, 7, 32), "F(4x4)", 0.0116),
        ((512, 4, 512), "F(4x4)", 2 * (36 * 512 * 512 + 512 * (144 + 110)) / 117e6),
        # Too few channels for transforms to pay.
        ((1, 8, 1), "direct", 2 * 64 * 9 / 117e6),
    ],
)
def test_the_fastest_way_is_taken(
    shape: tuple[int, int, int], name: str, milliseconds: float
) -> None:
    ((way, seconds),) = limit.fastest([layer(*shape)], Capacity(117e9, [(1, 1e30)]), CACHE)
    assert way.name == name
    assert seconds == pytest.approx(milliseconds * 1e-3, rel=5e-3)


def test_weights_from_memory_decide_too() -> None:
    """38 MB of weights for F(4x4) take longer than the larger number of products of F(4x2)."""
    work = layer(512, 7, 512)
    (way, seconds), _ = limit.fastest([work, others(100 << 20)], ZEN4, CACHE)
    assert way.name == "F(4x2)"
    assert seconds == pytest.approx(0.870e-3, rel=1e-3)
    four = next(way for way in work.ways if way.name == "F(4x4)")
    assert four.weights / MEMORY == pytest.approx(1.0785e-3, rel=1e-3)
    whole = limit.limit([work.directly(), others(100 << 20)], ZEN4, CACHE)
    assert whole == pytest.approx(2 * 49 * 9 * 512 * 512 / 117e9 + (100 << 20) / MEMORY)


def test_activations_that_exceed_the_cache_are_read() -> None:
    work = limit.Work("pool", [limit.Way("direct", 1000, 0)], 40 << 20, 3)
    assert limit.limit([work], ZEN4, CACHE) == pytest.approx(3 * (40 << 20) / MEMORY)
    assert limit.limit([work], ZEN4, 64 << 20) == pytest.approx(1000 / 117e9)


@cauce.network
def small(image: nn.Tensor) -> nn.Tensor:
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 8, 3, padding=1, bias=False)))
    x = nn.conv2d(x, 8, 3, padding=1, groups=8, name="depthwise")
    x = nn.conv2d(x, 16, 3, stride=2, padding=1, name="strided")
    return nn.linear(nn.global_avg_pool(x), 5, name="classifier")


def test_the_layers_of_a_graph() -> None:
    from cauce.ir.pass_manager import run_passes
    from cauce.passes.pipelines import INFERENCE

    graph = small.init(image=(2, 3, 8, 8), seed=0).graph.copy()
    run_passes(graph, INFERENCE)
    works = limit.works_of(graph)
    first, relu, depthwise, strided, _, classifier, *none = works
    assert not none  # flattening is none
    tiles = [f"F({m}x{n})" for m, n in limit.TILES[1]]
    assert [way.name for way in first.ways] == ["direct", *tiles]
    assert first.ways[0] == limit.Way("direct", 2 * 2 * 8 * 64 * 27, 4 * 8 * 27)
    assert first.activations == 4 * (3 + 8) * 64
    assert (relu.ways, relu.activations) == ([limit.Way("direct", 2 * 8 * 64, 0)], 0)
    assert depthwise.ways == [limit.Way("direct", 2 * 2 * 8 * 64 * 9, 4 * 72)]
    tiles = [f"F({m}x{n})" for m, n in limit.TILES[2]]
    assert [way.name for way in strided.ways] == ["direct", *tiles]
    assert strided.ways[0] == limit.Way("direct", 2 * 2 * 16 * 16 * 72, 4 * 16 * 72)
    assert classifier.ways == [limit.Way("direct", 2 * 2 * 16 * 5, 4 * 16 * 5)]
    assert {work.images for work in works} == {2}


def test_a_larger_array_that_is_read_faster_counts_for_smaller_ones() -> None:
    capacity = Capacity(1.0, [(1, 5.0), (2, 9.0), (4, 3.0), (8, 2.0)])
    assert [capacity.rate(size) for size in (1, 2, 3, 4, 5, 8, 9)] == [9, 9, 3, 3, 2, 2, 2]


def test_the_loops_do_what_is_counted() -> None:
    """All numbers are read, and multiplications are as many as rounds, accumulators and lanes."""
    lanes, function = machine._kernels()
    steps = 5
    array = np.arange(steps * machine.UNROLLED * lanes, dtype=np.float32)
    assert function("read")(array.ctypes.data, steps) == array.sum()
    # x becomes x / 4 + 1 / 4: 1/4, 5/16, 21/64, 85/256 in four rounds.
    expected = ACCUMULATORS * lanes * 85 / 256
    assert function("multiply")(None, 4) == pytest.approx(expected)


def test_measured_rates_are_sensible() -> None:
    """Some bytes in a cycle: more than one in ten, fewer than a thousand."""
    for threads in (1, 2):
        assert 1e8 < machine.reading(threads, 1 << 20) < 1e13
