"""What is computed from parameters alone is there when the rest of the graph reads it."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.ir import Builder, DType, Graph, Op, Role, TensorType, Value, evaluate
from cauce.ir.layout import Strided
from cauce.ir.ops.elementwise import Add
from cauce.ir.ops.reduce import Max, Sum
from cauce.ir.ops.reorder import Reorder
from cauce.ir.ops.shape import Concat, Flatten, Pad, Slice, Transpose

from ..guarded import guarded

SHAPES = [
    ((1, 1), (1, 0)),
    ((1, 3), (1, 0)),
    ((3, 1), (1, 0)),
    ((5, 3), (1, 0)),
    ((17, 33), (1, 0)),
    ((2, 3, 4), (2, 0, 1)),
    ((2, 3, 4, 5), (0, 3, 1, 2)),
    ((2, 1, 4, 5), (0, 2, 3, 1)),
]
shapes = pytest.mark.parametrize("shape, perm", SHAPES)


def turned_parameter(shape: tuple[int, ...], perm: tuple[int, ...]) -> tuple[Graph, Value]:
    graph = Graph("net")
    p = graph.add_input("p", TensorType(DType.F32, shape), Role.PARAMETER)
    return graph, Builder(graph)(Transpose(perm), p)


def hold(graph: Graph) -> None:
    """Native code gives what the reference does, bit by bit."""
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.integers(-9, 9, value.type.shape).astype(np.float32)
        for value in graph.inputs
    }
    executable = Executable(compile_program(graph))
    executable.load_state_dict(guarded(feeds))
    found = executable.run(guarded({value.name: feeds[value.name] for value in executable.inputs}))
    for name, wanted in evaluate(graph, feeds).outputs.items():
        np.testing.assert_array_equal(found[name], wanted)


@shapes
@pytest.mark.parametrize("op", [Add(), Concat(0), Concat(1)], ids=str)
def test_a_turned_parameter_beside_data(
    op: Op, shape: tuple[int, ...], perm: tuple[int, ...]
) -> None:
    graph, turned = turned_parameter(shape, perm)
    x = graph.add_input("x", turned.type)
    b = Builder(graph)
    graph.outputs = {"y": b(op, turned, x), "z": b(op, x, turned)}
    hold(graph)


@shapes
def test_what_is_made_of_a_turned_parameter(shape: tuple[int, ...], perm: tuple[int, ...]) -> None:
    """Views of it, and what reads it alone: data is met behind them, and they are outputs."""
    for ops in (
        (Flatten(),),
        (Sum((0,)),),
        (Max((1,), True),),
        (Slice((0,), (0,), (1,)),),
        (Pad(((1, 0),) * len(shape), 0.0),),
        (Reorder(Strided(perm)),),
        (Transpose(perm),),
        (Flatten(), Transpose((1, 0))),
    ):
        graph, value = turned_parameter(shape, perm)
        b = Builder(graph)
        for op in ops:
            value = b(op, value)
        x = graph.add_input("x", value.type)
        graph.outputs = {"y": b(Add(), value, x), "itself": value}
        hold(graph)
