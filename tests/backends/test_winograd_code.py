"""Winograd's convolutions as assembly: what goes to the stack, for every kind of vectors.

The transforms of F(4x4) hold 36 values, and no processor has as many registers: some of them must
lie on the stack for a while. With stride 2 each axis is a loop, which spills nothing; nor do the
products, where the time goes.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product

import pytest

from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.schedule.winograd import Winograd

from .machine_code import computing_loops, functions, instructions, spills, stores
from .test_targets import TARGETS, Text, compiled
from .winograd_cases import STRIDED, TILES, Case

CASES = {
    "whole vectors": Case(64, 64, 14, 14),
    "odd channels": Case(37, 45, 9, 9, backward=True),
    "stride 2": Case(64, 64, 28, 28, stride=2),
}

# The most instructions of a transform with AVX-512 that move vectors to the stack or from there: of
# the input, which has 100, 190, 360 and 760 of them, and of the output, which has 50, 120, 220 and
# 460.
MOST = {(2, 2): (0, 0), (4, 2): (0, 0), (4, 4): (32, 16), (5, 5): (80, 64)}

# By stride, the tiles of each case.
TILED = [
    (case, STRIDED[tile] if CASES[case].stride == 2 else tile) for case in CASES for tile in TILES
]


@cache
def text_for(target: str, case: str, tile: tuple[int, int]) -> Text:
    """The code of a case, with the schedule of our choice for the tile."""
    graph, chosen = CASES[case].graph(), TARGETS[target]
    ((name, choices),) = lower(graph, chosen, precision="fast").choices.items()
    possible = [choice.schedule for choice in choices]
    (own,) = [s for s in possible if isinstance(s, Winograd) and s.tile == tile]
    return compiled(graph, chosen, schedules={name: own})


@pytest.mark.parametrize(
    "target, case, tile",
    [
        pytest.param(*own, marks=() if number % 3 == 0 else pytest.mark.slow)
        for number, own in enumerate((t, *tiled) for t, tiled in product(TARGETS, TILED))
    ],
)
def test_products_spill_nothing(target: str, case: str, tile: tuple[int, int]) -> None:
    layers = text_for(target, case, tile).layers
    found = [
        loop for bodies in layers.values() for body in bodies for loop in computing_loops(body)
    ]
    loops = [loop for loop in found if not stores(loop)]
    assert loops
    assert not [line for loop in loops for line in spills(loop)]


@pytest.mark.parametrize("case, tile", TILED)
def test_transforms_spill_little_with_avx512(case: str, tile: tuple[int, int]) -> None:
    bodies = functions(text_for("avx512", case, tile).assembly)
    for what, most in zip(("input", "output"), MOST[tile] if CASES[case].stride == 1 else (0, 0)):
        found = [
            body for name, body in bodies.items() if re.match(rf"of_(strided_)?{what}\.", name)
        ]
        assert found
        for body in found:
            assert len([line for line in spills(instructions(body)) if "mm" in line]) <= most


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
