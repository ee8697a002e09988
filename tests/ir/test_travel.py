"""Graphs, ops, types and errors, pickled and copied: what comes out is what went in."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cauce
from cauce.backends.llvm.driver import compile_program
from cauce.ir import Builder, DType, Graph, TensorType, errors, evaluate
from cauce.ir.dims import symbol
from cauce.ir.literal import Literal
from cauce.ir.location import Frame, Location
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.elementwise import Add, Neg

from ..api.nets import small


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])


def chain(length: int) -> Graph:
    graph = Graph("chain")
    value = graph.add_input("x", TensorType.make("f32", ("N", 2)))
    for _ in range(length):
        value = graph.add_node(Neg(), [value], path="neg").result
    graph.outputs["y"] = value
    return graph


@COPIES
def test_a_graph_is_the_same_with_names_lines_and_updates(copied: Callable[[Any], Any]) -> None:
    model = small.init(image=("N", 1, 6, 6))
    graph = cauce.TrainStep(model, "cross_entropy", cauce.Adam(0.01), backend="numpy").graph
    before = graph.to_text()
    twin = copied(graph)
    twin.verify()
    assert twin.to_text() == before and "nets.py:" in before and "update" in before
    assert [value.role for value in twin.inputs] == [value.role for value in graph.inputs]
    Builder(twin)(Neg(), twin.inputs[0])  # it has nodes of its own
    assert graph.to_text() == before != twin.to_text()


def test_the_layouts_of_a_lowered_graph_travel() -> None:
    graph = compile_program(small.init(image=(2, 1, 6, 6)).graph).listing.build.lowered.graph
    laid = [str(value.type) for value in graph.values]
    twin = pickled(graph)
    assert [str(value.type) for value in twin.values] == laid
    assert any(value.type.layout is not None for value in twin.values)


def test_names_go_on_where_they_were() -> None:
    graph = chain(3)
    twin = pickled(graph)
    assert twin.unique_name("neg") == graph.unique_name("neg")


@COPIES
def test_a_graph_may_be_long(copied: Callable[[Any], Any]) -> None:
    graph = copied(chain(5_000))
    x = np.array([[1, -2]], np.float32)
    np.testing.assert_array_equal(evaluate(graph, {"x": x}).outputs["y"], x)


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_values_and_nodes_stay_with_their_graph(copied: Callable[[Any], Any]) -> None:
    graph = chain(2)
    last = graph.outputs["y"]
    twin, value, node, source = copied((graph, last, last.node, graph.inputs[0]))
    assert value is twin.outputs["y"] and node is value.node and node.graph is twin
    assert source is twin.inputs[0] is not graph.inputs[0]


def test_an_input_that_nothing_reads_travels_alone() -> None:
    graph = Graph("idle")
    value = graph.add_input("x", TensorType.make("f32", (2,)))
    twin = pickled(value)
    assert (twin.name, twin.type, twin.role) == (value.name, value.type, value.role)


def test_dimensions_are_found_in_a_process_that_hashes_otherwise() -> None:
    size = (symbol("H") - 1) // 2 + symbol("N")
    hash(size)  # which it keeps
    code = (
        "import pickle, sys; from cauce.ir.dims import symbol\n"
        f"size = pickle.loads({pickle.dumps(size)!r})\n"
        "print({(symbol('H') - 1) // 2 + symbol('N'): 'found'}.get(size))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
        )
        assert done.stdout.split() == ["found"], done.stderr


@COPIES
@pytest.mark.parametrize("dtype", [DType.F32, DType.BF16, DType.I64])
def test_a_literal_stays_read_only(copied: Callable[[Any], Any], dtype: DType) -> None:
    literal = Literal([[1.0, 2.0]], dtype)
    twin = copied(literal)
    assert twin == literal and twin.dtype is dtype and not twin.array.flags.writeable


def test_an_op_of_a_function_says_where_to_define_it() -> None:
    class Own(Relu):
        name = "own_relu_of_a_function"

    graph = chain(1)
    graph.outputs["y"] = graph.add_node(Own(), [graph.outputs["y"]]).result
    with pytest.raises(errors.TypeMismatch, match=r"its op own_relu_of_a_function .*\n.*module"):
        pickle.dumps(graph)
    assert copy.deepcopy(graph).same_as(graph)


def every_error() -> list[errors.CauceError]:
    """One of each class, with all that it may say."""
    made: list[errors.CauceError] = []
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.CauceError):
            parts = (2, 3, "text") if kind is errors.ParseError else ()
            error = kind("what", *parts, fix="the fix")
            error.at("layer1", Location((Frame("net.py", 3),)))
            error.add_note("a note")
            made.append(error)
    return made


@COPIES
@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_an_error_says_the_same(copied: Callable[[Any], Any], error: errors.CauceError) -> None:
    twin = copied(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error) and twin.path == "layer1"
    assert twin.__notes__ == ["a note"] and (twin.fix, twin.loc) == (error.fix, error.loc)


def test_an_op_is_the_same() -> None:
    assert pickled(Add()) == Add() and hash(pickled(Add())) == hash(Add())
