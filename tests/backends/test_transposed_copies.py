"""Copies that transpose arrays: whole squares in registers, with rests at both edges."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cauce
from cauce.backends.executable import Executable
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen.code import Access
from cauce.backends.llvm.codegen.kernels.transpose import find_transpose
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.schedule import tasks
from cauce.backends.llvm.target import Target
from cauce.ir import Builder, DType, Graph, TensorType, symbol
from cauce.ir.errors import AttributeMistake
from cauce.ir.ops.shape import Transpose
from tests.guarded import guarded


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small arrays are transposed in registers too."""
    monkeypatch.setattr(tasks, "_MANY", 0)


# One element, part of a vector, whole vectors, and a rest behind them, for 2 to 16 lanes.
SIZES = st.sampled_from([1, 2, 3, 5, 8, 15, 16, 17, 33, 48])
DTYPES = [DType.F32, DType.F64, DType.I32, DType.I64, DType.U8, DType.BOOL]


def graph_of(shape: tuple[int, ...], perm: tuple[int, ...], dtype: DType, free: bool) -> Graph:
    """A transpose; with symbols for the sizes of all axes but the first, where they are free."""
    sizes = [symbol(f"D{i}") if free and i else size for i, size in enumerate(shape)]
    graph = Graph("net")
    x = graph.add_input("x", TensorType(dtype, tuple(sizes)))
    graph.outputs = {"y": Builder(graph)(Transpose(perm), x)}
    return graph


def hold(shape: tuple[int, ...], perm: tuple[int, ...], dtype: DType, free: bool) -> None:
    x = (np.arange(prod(shape)) * 7 % 251).reshape(shape).astype(dtype.numpy)
    for target in (Target.host(), narrow()):
        run = Executable(compile_program(graph_of(shape, perm, dtype, free), target, threads=2))
        np.testing.assert_array_equal(run(**guarded({"x": x})), x.transpose(perm))


def narrow() -> Target:
    """Vectors of a few elements, where this machine has such."""
    for name in ("sse2", "neon"):
        try:
            return Target.host(name)
        except AttributeMistake:
            continue
    return Target.host()


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposes_move_every_element(dtype: DType) -> None:
    @settings(max_examples=max(4, settings.default.max_examples // 3))
    @given(st.data(), st.booleans())
    def check(data: st.DataObject, free: bool) -> None:
        shape = data.draw(st.lists(SIZES, min_size=2, max_size=4).filter(lambda s: prod(s) < 30000))
        hold(tuple(shape), tuple(data.draw(st.permutations(range(len(shape))))), dtype, free)

    check()


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize(
    "shape, perm",
    [
        ((16, 16), (1, 0)),
        ((64, 128), (1, 0)),  # whole squares, several runs
        ((35, 67), (1, 0)),  # a rest on both sides
        ((16, 3, 40), (2, 1, 0)),
        ((2, 5, 7, 33), (0, 3, 1, 2)),  # two axes that are one
        ((3, 20, 6, 7), (0, 2, 3, 1)),
        ((0, 20), (1, 0)),
        ((20, 0), (1, 0)),
    ],
)
def test_edges(shape: tuple[int, ...], perm: tuple[int, ...], free: bool) -> None:
    for dtype in (DType.F32, DType.F64):
        hold(shape, perm, dtype, free)


def test_weights_in_blocks_are_turned_too() -> None:
    """32 outputs for each block, and a rest of 5."""

    @cauce.network
    def net(x):
        return cauce.nn.linear(x, 69)

    model = net.init(x=("N", 50), seed=2)
    x = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32)
    held = model.state_dict()
    wanted = x @ held["linear1.weight"].T + held["linear1.bias"]
    np.testing.assert_allclose(cauce.compile(model, "llvm")(x), wanted, rtol=1e-4, atol=1e-5)
    text = build(cauce.compile(model, "llvm").graph, Target.named("avx2", "x86_64-linux")).text
    assert "shufflevector <8 x float> %" in text


def test_what_is_a_turn() -> None:
    def turn(space: tuple[int, ...], read: tuple[int, ...], written: tuple[int, ...]) -> object:
        source, result = (
            Access(slot, DType.F32, steps) for slot, steps in enumerate((read, written))
        )
        found = find_transpose(space, source, result, None)
        return found and (found.sizes, found.near, found.far)

    assert turn((20, 30), (1, 20), (30, 1)) == ((20, 30), 0, 1)
    assert turn((4, 5, 6), (1, 24, 4), (30, 6, 1)) == ((4, 30), 0, 1)
    assert turn((20, 30), (30, 1), (30, 1)) is None  # the same order
    assert turn((20, 30), (0, 2), (30, 1)) is None  # nothing of the source lies side by side
    assert turn((20, 30), (1, 20), (60, 2)) is None
