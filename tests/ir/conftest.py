"""Two small graphs."""

from __future__ import annotations

import pytest

from cauce.ir import (
    Graph,
    Node,
    Role,
    TensorType,
    verify,
)
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.elementwise import Add, Neg
from cauce.ir.ops.linear import Linear
from cauce.ir.ops.normalize import BatchNormTrain


@pytest.fixture
def small() -> Graph:
    """``y = relu(x @ w.T) + x``, with an update of w."""
    graph = Graph("small")
    x = graph.add_input("x", TensorType.make("f32", ("N", 3)))
    w = graph.add_input("fc.weight", TensorType.make("f32", (3, 3)), Role.PARAMETER)
    fc = graph.add_node(Linear(), (x, w), path="fc").result
    act = graph.add_node(Relu(), (fc,), path="act").result
    y = graph.add_node(Add(), (act, x), path="y").result
    new = graph.add_node(Neg(), (w,), path="fc", suffix="new").result
    graph.outputs = {"y": y}
    graph.updates = {w: new}
    verify(graph)
    return graph


@pytest.fixture
def normalized() -> tuple[Graph, Node]:
    graph = Graph("normalized")
    x = graph.add_input("x", TensorType.make("f64", ("N", 2, 3, 3)))
    gamma, beta = (graph.add_input(n, TensorType.make("f64", (2,))) for n in ("gamma", "beta"))
    return graph, graph.add_node(BatchNormTrain(), (x, gamma, beta), path="bn")
