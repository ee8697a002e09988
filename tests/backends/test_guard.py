"""Native code stays within its arrays and reads nothing before it was written.

The slow tier runs the tests of ops and networks once more in the test mode of
:mod:`cauce.backends.llvm.memory`, in processes of their own: a wrong address ends them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.registry import _REGISTRY, ElementwiseFacts, Registration
from cauce.backends.llvm.runtime.memory import (
    GUARD,
    SIDES,
    Arena,
    ArenaSlice,
    aligned,
    aligned_copy,
    empty,
    guard,
)
from cauce.ir import Array, Builder, DType, Graph, TensorType
from cauce.ir.errors import AttributeMistake
from cauce.ir.ops.activation import Relu, Tanh

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made by mprotect")


def run(side: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with this side of arrays guarded."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, GUARD: side},
        capture_output=True,
        text=True,
        timeout=3000,
    )


# ---- the mode itself ---------------------------------------------------------------------------

# Doubles element number ``place`` of an array.
KERNEL = """
define void @double(ptr %x, i64 %place) {
  %at = getelementptr float, ptr %x, i64 %place
  %old = load float, ptr %at, align 4
  %new = fadd float %old, %old
  store float %new, ptr %at, align 4
  ret void
}
"""


def main(count: int, *places: int) -> None:
    """Run the kernel on these elements: what a test starts as a process of its own."""
    import ctypes

    from cauce.backends.llvm.codegen.assemble import compile_text
    from cauce.backends.llvm.runtime.library import Library
    from cauce.backends.llvm.target import Target

    target = Target.host()
    library = Library(compile_text(KERNEL, target), target)
    double = library.function("double", ctypes.c_void_p, ctypes.c_int64)
    array = aligned_copy(np.ones(count, np.float32))
    for place in places:
        double(array.ctypes.data, place)
        print(array.sum(), flush=True)


# Less than a page, and a page exactly.
@pytest.mark.parametrize("count", [5, 1024])
@pytest.mark.parametrize("side", SIDES)
def test_one_element_too_far_ends_the_process(side: str, count: int) -> None:
    outside = -1 if side == "begin" else count
    places = map(str, (0, count - 1, outside))
    done = run(side, "-m", __name__, str(count), *places)
    assert done.returncode == -signal.SIGSEGV, done.stderr
    assert [float(line) for line in done.stdout.split()] == [count + 1, count + 2]


@pytest.mark.parametrize("side", SIDES)
def test_memory_is_poisoned(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUARD, side)
    for dtype in (DType.F32, DType.F64):
        array = empty((3, 700), dtype, side)
        assert array.shape == (3, 700) and np.isnan(array).all()
    assert (empty((5,), DType.I64, side) == -1).all()
    assert empty((0, 3), DType.F32, side).size == 0 and empty((), DType.F32, side).shape == ()


@pytest.mark.parametrize("side", SIDES)
def test_buffers_of_an_arena_lie_apart(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = (ArenaSlice(3, 0, 100), ArenaSlice(5, 128, 60), ArenaSlice(9, 0, 64))
    packed = Arena(pieces, 192).table(10)
    assert packed[5] - packed[3] == 128 and packed[9] == packed[3] and packed[3] % 64 == 0
    monkeypatch.setenv(GUARD, side)
    places = sorted(Arena(pieces, 192).table(10)[[3, 5, 9]])
    assert all(after - before > 4096 for before, after in pairwise(places))


def test_an_unknown_side_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUARD, "both")
    with pytest.raises(AttributeMistake, match=r"CAUCE_GUARD .* got 'both'"):
        aligned(8, guard())
    monkeypatch.setenv(GUARD, "")
    assert aligned(8, guard()).ctypes.data % 64 == 0


def tanh_of_relu() -> Graph:
    graph = Graph("net")
    x = graph.add_input("x", TensorType(DType.F32, (7,)))
    b = Builder(graph)
    graph.outputs = {"y": b(Tanh(), b(Relu(), x))}
    return graph


@pytest.mark.parametrize("side", SIDES)
def test_what_is_read_before_it_was_written_comes_out(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cauce.backends.executable import Executable

    monkeypatch.setenv(GUARD, side)
    x = np.arange(-3, 4, dtype=np.float32)

    def result() -> Array:
        array = Executable(compile_program(tanh_of_relu()))(x)
        assert isinstance(array, np.ndarray)
        return array

    np.testing.assert_allclose(result(), np.tanh(np.maximum(x, 0)), rtol=1e-6)
    monkeypatch.setitem(_REGISTRY, Relu, Registration(ElementwiseFacts(), lambda code: None))
    assert np.isnan(result()).all()


# ---- everything in this mode -------------------------------------------------------------------

GROUPS = {
    "ops in f32": ("tests/facets/test_backends.py", "llvm-f32 or f32-llvm"),
    "ops in f64": ("tests/facets/test_backends.py", "llvm-f64 or f64-llvm"),
    "random networks": ("tests/backends/test_random_networks.py", "llvm"),
    "networks": ("tests/backends/test_llvm.py", ""),
    "training": ("tests/backends/test_native_training.py", ""),
    "shapes": ("tests/backends/test_awkward_shapes.py", ""),
    "reductions": ("tests/backends/test_reductions.py", ""),
    "pools": ("tests/backends/test_pooling.py", ""),
    "batches": ("tests/backends/test_batches.py", ""),
    "winograd": ("tests/backends/test_winograd.py", ""),
    "turns": ("tests/backends/test_transposed_copies.py", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("group", GROUPS)
def test_native_code_stays_within_its_memory(group: str, side: str) -> None:
    file, chosen = GROUPS[group]
    options = ("-v", "-p", "no:cacheprovider", "-m", "not slow", "-k", chosen)
    done = run(side, "-m", "pytest", file, *options)
    lines = done.stdout.strip().splitlines()
    if done.returncode < 0:
        pytest.fail(f"{signal.Signals(-done.returncode).name} in {lines[-1]}\n{done.stderr}")
    assert done.returncode == 0, done.stdout
    assert " passed" in lines[-1]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
