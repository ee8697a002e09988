"""The plan of three networks as text: what is decided of a graph, and where it all lies.

The golden file names a case after what it shows; the first line of a plan, which tells of the
machine, is left out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.target import Target
from cauce.ir import parse
from cauce.ir.errors import AttributeMistake

from ..passes.golden import Case, agree, read

GOLDEN = Path(__file__).parent / "golden" / "plans.txt"


@pytest.mark.parametrize("case", list(read(GOLDEN)), ids=lambda case: case.id)
def test_plan(case: Case, accept: bool) -> None:
    try:
        Target.host("avx2")
    except AttributeMistake:
        pytest.skip("this machine has no AVX2, and the code of a plan is loaded to show it")
    graph = parse(case.before)
    agree(case, "before", str(graph), accept)  # written as the text form is printed
    program = compile_program(graph, Target.named("avx2", "x86_64-linux"), threads=1)
    head, _, plan = program.listing.plan({"N": 2}).partition("\n\n")
    assert head.startswith("target: avx2 (generic), caches taken to be ")
    agree(case, "after", plan.rstrip(), accept)
