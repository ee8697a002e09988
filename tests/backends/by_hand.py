"""Native code in f64, to be held against what NumPy makes of the same arrays."""

from __future__ import annotations

import numpy as np

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.ir import Array, parse
from cauce.ir.pass_manager import run_passes
from cauce.passes.pipelines import PRIMITIVES, TRAINING


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def near(found: Array, wanted: Array) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)


def native(text: str, **feeds: Array) -> dict[str, Array]:
    """What native code gives for a graph, in f64, the same with and without the passes."""
    found = []
    for passes in ((), (*TRAINING, *PRIMITIVES)):
        graph = parse(text)
        run_passes(graph, passes)
        executable = Executable(compile_program(graph), feeds)
        found.append(executable.run({v.name: feeds[v.name] for v in executable.inputs}))
    for name, array in found[0].items():
        near(found[1][name], array)
    return found[1]


def convolved(x: Array, w: Array) -> Array:
    """The sum over channels and 3 x 3 taps, with padding 1."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwrs,ocrs->nohw", windows, w)
