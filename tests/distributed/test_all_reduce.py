"""Sums over ranks in a graph, and the ranks themselves."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import cauce
from cauce.ir import Builder, Graph, Literal, TensorType
from cauce.ir.communicator import evenly, starts
from cauce.ir.errors import DataError
from cauce.ir.ops.collective import AllReduce
from cauce.ir.ops.constant import Constant
from cauce.ir.ops.elementwise import Add, Mul
from cauce.ir.types import DType

from .ranks import ThreadRank, run_ranks

BACKENDS = ("numpy", "llvm")


def two_sums() -> Graph:
    """y = sum of x * x over ranks, z = sum of y + x."""
    graph = Graph("sums")
    x = graph.add_input("x", TensorType.make("f32", ("N", 3)))
    b = Builder(graph)
    y = b(AllReduce(), b(Mul(), x, x))
    graph.outputs = {"y": y, "z": b(AllReduce(), b(Add(), y, x))}
    return graph


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_rank_gets_the_sum_of_all(backend: str) -> None:
    arrays = np.random.default_rng(0).standard_normal((3, 4, 3)).astype(np.float32)

    def work(rank: ThreadRank) -> tuple[list[np.ndarray], list[int]]:
        run = cauce.compile(two_sums(), backend, threads=1 if backend == "llvm" else None)
        run.communicator = rank
        return list(run(arrays[rank.rank])), rank.messages

    squares = arrays * arrays
    y = squares[0] + squares[1] + squares[2]
    z = (y + arrays[0]) + (y + arrays[1]) + (y + arrays[2])
    for (own_y, own_z), messages in run_ranks(3, work):
        np.testing.assert_array_equal(own_y, y)
        np.testing.assert_array_equal(own_z, z)
        assert messages == [12, 12]


@pytest.mark.parametrize("backend", BACKENDS)
def test_for_one_rank_the_sum_is_what_is_summed(backend: str) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y, z = cauce.compile(two_sums(), backend)(x)
    np.testing.assert_array_equal(y, x * x)
    np.testing.assert_array_equal(z, x * x + x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sum_of_constants_and_parameters_is_not_taken_beforehand(backend: str) -> None:
    graph = Graph("fixed")
    w = graph.add_input("w", TensorType.make("f32", (2,)), cauce.ir.Role.PARAMETER)
    x = graph.add_input("x", TensorType.make("f32", (2,)))
    b = Builder(graph)
    one = b(Constant(Literal(np.ones(2, np.float32), DType.F32)))
    fixed = b(Add(), b(AllReduce(), b(Mul(), w, w)), b(AllReduce(), one))
    graph.outputs = {"y": b(Add(), fixed, x)}

    def work(rank: ThreadRank) -> np.ndarray:
        run = cauce.compile(graph, backend, threads=1 if backend == "llvm" else None)
        run.load_state_dict({"w": np.full(2, 2.0, np.float32)})
        run.communicator = rank
        return run(np.zeros(2, np.float32))

    for y in run_ranks(2, work):
        np.testing.assert_array_equal(y, [10, 10])


def test_native_code_runs_in_parts_around_each_sum() -> None:
    run = cauce.compile(two_sums(), "llvm")
    entry = run.program.callers[1].entry  # type: ignore[attr-defined]
    assert [reduction.end for reduction in entry.reductions] == [2, 4]
    profile = run.profile(np.ones((5, 3), np.float32))
    assert {row.op for row in profile} == {"mul", "all_reduce", "add"}


def test_an_executable_leaves_its_ranks_behind_when_it_is_pickled() -> None:
    def work(rank: ThreadRank) -> None:
        run = cauce.compile(two_sums(), "numpy")
        run.communicator = rank
        assert pickle.loads(pickle.dumps(run)).communicator is None

    run_ranks(1, work)


def test_what_the_first_rank_does_all_are_told() -> None:
    calls: list[int] = []

    def work(rank: ThreadRank) -> str:
        found = rank.on_first(lambda: calls.append(rank.rank) or "done")

        def fail() -> None:
            raise DataError("a disk that is full")

        with pytest.raises(DataError, match="full"):
            rank.on_first(fail)
        return found

    assert run_ranks(3, work) == ["done"] * 3
    assert calls == [0]


@pytest.mark.parametrize(("count", "parts"), [(10, 3), (2, 4), (0, 2), (7, 1)])
def test_shares_are_even_and_leave_nothing_out(count: int, parts: int) -> None:
    shares = evenly(count, parts)
    assert len(shares) == parts and sum(shares) == count and max(shares) - min(shares) <= 1
    assert starts(shares) == tuple(np.cumsum((0, *shares))[:-1])
