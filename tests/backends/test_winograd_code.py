"""Winograd's convolutions as assembly: what goes to the stack, for every kind of vectors.

The transforms of F(4x4) hold 36 values, and no processor has as many registers: some of them must
lie on the stack for a while. The products, where the time goes, spill nothing.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest

from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.schedule.winograd import Winograd
from cauce.ir.winograd import products

from .machine_code import computing_loops, spills, stores
from .test_targets import TARGETS, compiled
from .winograd_cases import STRIDED, TILES, Case

CASES = {
    "whole vectors": Case(64, 64, 14, 14),
    "odd channels": Case(37, 45, 9, 9, backward=True),
    "stride 2": Case(64, 64, 28, 28, stride=2),
}

# The most instructions of a transform with AVX-512 that go to the stack: of the input, which has
# 60, 140, 310 and 630 of them, and of the output, which has 50, 110, 230 and 460.
MOST = {(2, 2): (0, 2), (4, 2): (4, 4), (4, 4): (32, 20), (5, 5): (110, 72)}
STRIDED_MOST = {(2, 2): (0, 2), (4, 2): (44, 4), (3, 3): (40, 4), (4, 4): (124, 52)}

# By stride, the tiles of each case.
TILED = [
    (case, STRIDED[tile] if CASES[case].stride == 2 else tile) for case in CASES for tile in TILES
]


@cache
def loops_for(target: str, case: str, tile: tuple[int, int]) -> list[list[str]]:
    """The innermost loops that compute, with the schedule of our choice for the tile."""
    graph, chosen = CASES[case].graph(), TARGETS[target]
    ((name, choices),) = lower(graph, chosen, precision="fast").choices.items()
    possible = [choice.schedule for choice in choices]
    (own,) = [s for s in possible if isinstance(s, Winograd) and s.tile == tile]
    layers = compiled(graph, chosen, schedules={name: own}).layers
    return [loop for bodies in layers.values() for body in bodies for loop in computing_loops(body)]


@pytest.mark.parametrize(
    "target, case, tile",
    [
        pytest.param(*own, marks=() if number % 3 == 0 else pytest.mark.slow)
        for number, own in enumerate((t, *tiled) for t, tiled in product(TARGETS, TILED))
    ],
)
def test_products_spill_nothing(target: str, case: str, tile: tuple[int, int]) -> None:
    loops = [loop for loop in loops_for(target, case, tile) if not stores(loop)]
    assert loops
    assert not [line for loop in loops for line in spills(loop)]


@pytest.mark.parametrize("case, tile", TILED)
def test_transforms_spill_little_with_avx512(case: str, tile: tuple[int, int]) -> None:
    m, n = tile
    stride = CASES[case].stride
    points = products(tile, stride)
    loops = loops_for("avx512", case, tile)
    into = [loop for loop in loops if len(stores(loop)) == points]
    out_of = [loop for loop in loops if len(stores(loop)) == m * n]
    assert into and out_of
    for loops, most in zip((into, out_of), (MOST if stride == 1 else STRIDED_MOST)[tile]):
        assert max(len(spills(loop)) for loop in loops) <= most


def test_stores_are_told_from_loads_and_from_the_stack() -> None:
    loop = """
        vmovups\t(%rax,%rcx,4), %zmm0
        vmovups\t%zmm0, -128(%rsp)
        vmovups\t%zmm0, 64(%rax,%rcx,4)
        movss\t%xmm1, (%rdi)
        vmovaps\t%zmm0, %zmm1
        stp\tq0, q1, [sp, #16]
        stp\tq0, q1, [x1]
        ldr\tq0, [x0]
    """
    found = stores([line.strip() for line in loop.strip().splitlines()])
    assert [line.split("\t")[1] for line in found] == [
        "%zmm0, 64(%rax,%rcx,4)",
        "%xmm1, (%rdi)",
        "q0, q1, [x1]",
    ]
