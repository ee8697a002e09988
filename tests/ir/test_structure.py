"""Keys of ops and graphs by what they compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cauce.ir import Builder, Graph, Literal, Op, TensorType
from cauce.ir.layout import CHANNELS_LAST, Strided
from cauce.ir.ops.activation import Clip, Relu
from cauce.ir.ops.constant import Constant
from cauce.ir.ops.elementwise import Add, Sub
from cauce.ir.ops.fused import Fused
from cauce.ir.structure import graph_structure, op_structure, type_structure

IMAGE = TensorType.make("f32", ("N", 3, 8, 8))


def body(
    *names: str, op: Op | None = None, swapped: bool = False, type_: TensorType = IMAGE
) -> Graph:
    """relu(x - y), whose values have names of their own."""
    graph = Graph(names[0])
    x, y = (graph.add_input(name, type_) for name in names[1:3])
    b = Builder(graph)
    b.path = names[3]
    graph.outputs["out"] = b(Relu(), b(op or Sub(), *((y, x) if swapped else (x, y))))
    return graph


PLAIN = body("g", "x", "y", "layer")


def test_names_have_no_part() -> None:
    other = body("h", "a", "b", "block.layer")
    assert graph_structure(other) == graph_structure(PLAIN)
    assert hash(op_structure(Fused(other))) == hash(op_structure(Fused(PLAIN)))


@pytest.mark.parametrize(
    "other",
    [
        body("g", "x", "y", "layer", op=Add()),
        body("g", "x", "y", "layer", swapped=True),
        body("g", "x", "y", "layer", type_=TensorType.make("f32", ("M", 3, 8, 8))),
        body("g", "x", "y", "layer", type_=TensorType.make("f64", ("N", 3, 8, 8))),
        body("g", "x", "y", "layer", type_=replace(IMAGE, layout=Strided(CHANNELS_LAST))),
    ],
    ids=["op", "operands", "symbol", "dtype", "layout"],
)
def test_what_is_computed_has(other: Graph) -> None:
    assert graph_structure(other) != graph_structure(PLAIN)
    assert op_structure(Fused(other)) != op_structure(Fused(PLAIN))


def test_an_output_further_up_is_another_graph() -> None:
    other = body("g", "x", "y", "layer")
    other.outputs = {"out": next(iter(other.nodes)).result}
    assert graph_structure(other) != graph_structure(PLAIN)


def test_attributes_are_compared_to_the_bit() -> None:
    assert op_structure(Clip(0.0, 1.0)) != op_structure(Clip(-0.0, 1.0))
    assert op_structure(Clip(0.0, 1.0)) == op_structure(Clip(0, 1))
    zero, minus = (Constant(Literal(np.float32(value))) for value in (0.0, -0.0))
    assert op_structure(zero) != op_structure(minus)


def test_layouts_tell_types_apart() -> None:
    lying = replace(IMAGE, layout=Strided(CHANNELS_LAST))
    assert lying == IMAGE
    assert type_structure(lying) != type_structure(IMAGE)
