"""From a graph as users know it to one in which every op has native code."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Builder, Graph, Node, Op, Value
from ...ir.ops import activation, elementwise, reduce
from ...ir.ops.constant import size_as
from ...ir.rewrite import decompose_unless, substitute
from .code import EMITTERS


def lower(graph: Graph) -> Graph:
    """A copy of ``graph`` in which every op has an emitter.

    Composites without one are decomposed, and a few primitives are written as others.

    Raises:
        UnsupportedOp: an op that can be neither compiled nor decomposed.
    """
    graph = graph.copy()
    decompose_unless(
        graph,
        lambda node: type(node.op) in EMITTERS or type(node.op) in WRITTEN,
        "the llvm backend has no kernel",
        "add one in backends/llvm: @emits",
    )
    for node in graph.nodes:
        if type(node.op) in WRITTEN:
            substitute(node, (WRITTEN[type(node.op)](Builder.like(node, before=node), node),))
    return graph


def _mean(b: Builder, node: Node) -> Value:
    op = node.op
    assert isinstance(op, reduce.Mean)
    (x,) = node.operands
    total = b(reduce.Sum(op.axes, op.keepdims), x)
    return b(elementwise.Div(), total, size_as(b, op.count(x.type), x.type.dtype))


def _shifted(b: Builder, axis: int, x: Value) -> Value:
    return b(elementwise.Sub(), x, b(reduce.Max((axis,), keepdims=True), x))


def _softmax(b: Builder, node: Node) -> Value:
    op = node.op
    assert isinstance(op, activation.Softmax)
    powers = b(elementwise.Exp(), _shifted(b, op.axis, node.operands[0]))
    return b(elementwise.Div(), powers, b(reduce.Sum((op.axis,), keepdims=True), powers))


def _log_softmax(b: Builder, node: Node) -> Value:
    op = node.op
    assert isinstance(op, activation.LogSoftmax)
    shifted = _shifted(b, op.axis, node.operands[0])
    total = b(reduce.Sum((op.axis,), keepdims=True), b(elementwise.Exp(), shifted))
    return b(elementwise.Sub(), shifted, b(elementwise.Log(), total))


# Primitives that are written as others, which then fuse.
WRITTEN: dict[type[Op], Callable[[Builder, Node], Value]] = {
    reduce.Mean: _mean,
    activation.Softmax: _softmax,
    activation.LogSoftmax: _log_softmax,
}
