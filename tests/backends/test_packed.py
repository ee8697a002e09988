"""Packed formats: what a reorder writes is what ``pack`` says."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.target import Target
from cauce.ir import parse
from cauce.ir.errors import AttributeMistake
from cauce.ir.layout import Blocked, Layout, Strided, Transformed

from ..search.trial import compiling
from .winograd_cases import STRIDED, TILES, Case, Way, forced

# A weight and a matrix, of sizes that leave a rest.
SOURCE = """graph g(%x: f32[N,5,6,6], %m: f32[N,37]) -> (f32[N,{o},4,4], f32[N,{o}]) {{
  @w: f32[{o},5,3,3] parameter
  @a: f32[37,{o}] parameter
  %conv = conv2d(%x, @w) : f32[N,{o},4,4]
  %product = matmul(%m, @a) : f32[N,{o}]
  return %conv, %product
}}"""


@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "scalar"])
@pytest.mark.parametrize("outputs", [16, 20, 33, 48, 70])
def test_what_a_reorder_writes_is_what_pack_says(outputs: int, target: str) -> None:
    try:
        host = Target.host(target)
    except AttributeMistake as error:
        pytest.skip(str(error))
    program = compile_program(parse(SOURCE.format(o=outputs)), host)
    rng = np.random.default_rng(outputs)
    given = {
        "w": rng.standard_normal((outputs, 5, 3, 3), np.float32),
        "a": rng.standard_normal((37, outputs), np.float32),
    }
    arrays = program.prepare(given).arrays
    prepare, main = (caller.entry for caller in program.callers)
    slots = {place.name: place.slot for place in main.inputs}
    seen = set()
    for place in prepare.outputs:
        layout = place.type.layout
        if not isinstance(layout, Blocked):
            continue
        array = next(a for a in given.values() if a.shape == place.type.shape)
        memory = arrays[slots[place.name]].view(np.float32)
        used = layout.pack(np.ones_like(array)) == 1  # what fills up the last block is never read
        np.testing.assert_array_equal(memory[used], layout.pack(array)[used])
        seen.add(place.type.shape)
    assert len(seen) == 2


# Bytes of vectors, and channels that leave a rest of them.
@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "scalar"])
@pytest.mark.parametrize("backward, stride", [(False, 1), (True, 1), (False, 2)])
@pytest.mark.parametrize("tile", TILES)
def test_filters_are_transformed_as_pack_says(
    tile: tuple[int, int], backward: bool, stride: int, target: str
) -> None:
    try:
        host = Target.host(target)
    except AttributeMistake as error:
        pytest.skip(str(error))
    for filters in (16, 21, 50):
        case = Case(17, filters, 8, 8, backward=backward, stride=stride)
        graph = case.graph()
        with compiling(0):
            schedules = forced(graph, Way(tile, columns=2, vectors=1 + filters % 2), host)
            program = compile_program(graph, host, schedules=schedules)
        weight = case.feeds(filters)["w"]
        weight[0, 0], weight[1, 2] = 1e-39, 0  # what rounds to a denormal, and zeros
        arrays = program.prepare({**case.feeds(filters), "w": weight}).arrays
        prepare, main = (caller.entry for caller in program.callers)
        slots = {place.name: place.slot for place in main.inputs}
        ((layout, slot),) = (
            (place.type.layout, slots[place.name])
            for place in prepare.outputs
            if isinstance(place.type.layout, Transformed)
        )
        assert layout.tile == (tile if stride == 1 else STRIDED[tile])
        assert (layout.flip, layout.stride) == (backward, stride)
        # The steps in float64 may round otherwise: the last digit may differ, and zeros fill up
        # the last block.
        wanted, found = layout.pack(weight), arrays[slot].view(np.float32)
        assert found.shape == wanted.shape
        np.testing.assert_array_max_ulp(found, wanted, 1)


@pytest.mark.parametrize("layout", [Blocked((2, 3, 1, 0), 16), Blocked((0, 1), 8)])
def test_pack_has_every_element_once_in_blocks(layout: Blocked) -> None:
    shape = (5, 3, 2, 2)[: len(layout.order)]
    array = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    memory = layout.pack(array)
    assert memory.size == layout.size(shape)
    assert sorted(memory[memory > 0]) == sorted(array.ravel())
    steps, apart = layout.strides(shape), layout.block_stride(shape)
    for index in np.ndindex(shape):
        block, within = divmod(index[layout.order[-1]], layout.block)
        place = list(index)
        place[layout.order[-1]] = within
        at = block * apart + sum(step * i for step, i in zip(steps, place))
        assert memory[at] == array[index]


@pytest.mark.parametrize(
    "text",
    [
        "0,1,2",
        "0,2,1 halo 1,2",
        "0,2,3,4,1 halo 0,1,1,1,2,0 pad 16",
        "blocked 1,0 by 4",
        "winograd 2,3,1,0 tile 4,2 by 16",
        "winograd 2,3,0,1 tile 5,5 by 8 flip 1",
    ],
)
def test_halos_have_a_pair_for_each_spatial_axis(text: str) -> None:
    layout = Layout.read(text)
    assert layout.text() == text
    if isinstance(layout, Strided) and layout.halo:
        rank = len(layout.order)
        assert layout.fits(rank) and len(layout.halo) == rank - 2
        shape = tuple(range(3, 3 + rank))
        extents = layout.extents(shape)
        for axis, (before, after) in enumerate(layout.halo, 2):
            assert extents[axis] == shape[axis] + before + after
