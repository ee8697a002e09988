"""Every op on every backend, held against the plain reference.

A backend comes in by one line in ``PROGRAMS``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings

from cauce.backends.contract import Program
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.numpy import NumpyProgram
from cauce.ir import DType, Graph, Op
from cauce.ir.evaluate import evaluate
from cauce.ir.ops.random import RandomUniform

from ..guarded import guarded
from .build import concrete, in_dtype, symbolic
from .sample import Sample, strategy
from .test_facets import assert_close, every_op

PROGRAMS: dict[str, Callable[[Graph], Program]] = {"numpy": NumpyProgram, "llvm": compile_program}
# Native code is compiled anew for each example: the fast tier takes fewer of them.
FEWER = {"llvm": 5}
# Relative to the greatest element of a result; both sides may sum in another order.
# A half is rounded by 2**-11 or 2**-8 at most, and to its neighbour where the sums differ at a tie.
TOLERANCE = {"f64": 1e-12, "f32": 1e-5, "f16": 2**-10, "bf16": 2**-7}
# Only what is loaded and stored is another than in f32: fewer examples, without symbols.
HALVES = ("f16", "bf16")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("backend", PROGRAMS)
@every_op
def test_backend_is_the_reference(op: type[Op], backend: str, dtype: str) -> None:
    half = dtype in HALVES
    if half and op is RandomUniform:
        pytest.skip("a half does not hold the bits that are drawn")
    fewer = FEWER.get(backend, 1) * (4 if half else 1)

    @settings(max_examples=max(2, settings.default.max_examples // fewer))
    @given(strategy(op))
    def check(drawn: Sample) -> None:
        sample = in_dtype(drawn, DType.of(dtype))
        for case in (concrete(sample), *(() if half else symbolic(sample))):
            graph, feeds = case.graph(), guarded(case.feeds(sample))
            kept = {name: array.copy() for name, array in feeds.items()}
            executable = Executable(PROGRAMS[backend](graph))
            results = executable(**feeds)
            wanted = evaluate(graph, feeds).outputs.values()
            arrays = results if isinstance(results, tuple) else (results,)
            for actual, reference in zip(arrays, wanted, strict=True):
                assert actual.dtype == reference.dtype
                assert_close(actual, reference, TOLERANCE[dtype])
            for name, array in kept.items():
                assert feeds[name].tobytes() == array.tobytes()

    check()
