"""Indices out of range are an error on every backend, and leave the state as it was."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce.ir import Builder, Graph, TensorType
from cauce.ir.errors import ShapeError
from cauce.ir.ops.shape import Gather, GatherBackward, OneHot, Reshape

from .nets import batch, small

BACKENDS = ("numpy", "llvm")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_wrong_label_ends_a_step_before_it_changes_anything(backend: str, wrong: int) -> None:
    step = cauce.TrainStep(
        small.init(image=("N", 1, 6, 6)), "cross_entropy", cauce.SGD(0.1), backend=backend
    )
    state = step.init()
    before = state.read()
    feeds = batch(4)
    feeds["target"] = np.array([0, 2, wrong, 1])
    with pytest.raises(ShapeError, match=f"index {wrong} is out of range for size 3"):
        step(state, feeds)
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, before[name])


def chosen(op: Gather | GatherBackward | OneHot, moved: bool) -> Graph:
    """A graph whose indices are an input, [N, 2], or are made of it by moving it about."""
    graph = Graph("chosen")
    x = graph.add_input("x", TensorType.make("f32", (5, 4) if type(op) is Gather else ("N", 2, 4)))
    indices = graph.add_input("indices", TensorType.make("i32", ("N", 2)))
    b = Builder(graph)
    if moved:
        indices = b(
            Reshape((*indices.type.shape[:1], 2)), b(Reshape((2, *indices.type.shape[:1])), indices)
        )
    graph.outputs["y"] = b(op, indices) if isinstance(op, OneHot) else b(op, x, indices)
    return graph


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("op", [Gather(), GatherBackward(5), OneHot(5)], ids=lambda op: op.name)
def test_indices_that_are_given_are_checked(
    op: Gather | GatherBackward | OneHot, moved: bool, backend: str
) -> None:
    run = cauce.compile(chosen(op, moved), backend)
    x = np.ones((5, 4) if type(op) is Gather else (2, 2, 4), np.float32)
    indices = np.array([[0, 4], [3, 1]], np.int32)
    assert np.isfinite(run(x=x, indices=indices)).all()
    for wrong in (5, -1):
        with pytest.raises(ShapeError, match=f"index {wrong} is out of range for size 5"):
            run(x=x, indices=np.where(indices == 3, wrong, indices).astype(np.int32))
