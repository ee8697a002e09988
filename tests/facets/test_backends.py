"""Every op on every backend, held against the plain reference.

A backend comes in by one line in ``PROGRAMS``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

from cauce.backends.contract import Program
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.numpy import NumpyProgram
from cauce.ir import DType, Graph, Op
from cauce.ir.errors import UnsupportedOp
from cauce.ir.evaluate import evaluate

from ..guarded import guarded
from .build import concrete, in_f32, symbolic
from .sample import Sample, strategy
from .test_facets import assert_close, every_op

PROGRAMS: dict[str, Callable[[Graph], Program]] = {"numpy": NumpyProgram, "llvm": compile_program}
# Native code is compiled anew for each example: the fast tier takes fewer of them.
FEWER = {"llvm": 5}
# Dtypes that a backend refuses, by a clear error.
UNKNOWN = {"llvm": {DType.F16, DType.BF16}}
# Relative to the greatest element of a result; both sides may sum in another order.
TOLERANCE = {"f64": 1e-12, "f32": 1e-5}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("backend", PROGRAMS)
@every_op
def test_backend_is_the_reference(op: type[Op], backend: str, dtype: str) -> None:
    @settings(max_examples=max(2, settings.default.max_examples // FEWER.get(backend, 1)))
    @given(strategy(op))
    def check(drawn: Sample) -> None:
        sample = drawn if dtype == "f64" else in_f32(drawn)
        for case in (concrete(sample), *symbolic(sample)):
            graph, feeds = case.graph(), guarded(case.feeds(sample))
            kept = {name: array.copy() for name, array in feeds.items()}
            if any(value.type.dtype in UNKNOWN.get(backend, ()) for value in graph.values):
                with pytest.raises(UnsupportedOp, match="does not know"):
                    PROGRAMS[backend](graph)
                continue
            executable = Executable(PROGRAMS[backend](graph))
            results = executable(**feeds)
            wanted = evaluate(graph, feeds).outputs.values()
            arrays = results if isinstance(results, tuple) else (results,)
            for actual, reference in zip(arrays, wanted, strict=True):
                assert actual.dtype == reference.dtype
                assert_close(actual, reference, TOLERANCE[dtype])
            for name, array in kept.items():
                np.testing.assert_array_equal(feeds[name], array)

    check()
