"""From a graph as users know it to one in which every op has native code."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Builder, Graph, Node, Op, Value
from ...ir.errors import UnsupportedOp
from ...ir.ops import activation, elementwise, reduce
from ...ir.ops.constant import size_as
from ...ir.rewrite import decompose, substitute
from .code import EMITTERS


def lower(graph: Graph) -> Graph:
    """A copy of ``graph`` in which every op has an emitter.

    Composites without one are decomposed, and a few primitives are written as others.

    Raises:
        UnsupportedOp: an op that can be neither compiled nor decomposed.
    """
    graph = graph.copy()
    pending = [node for node in graph.nodes if not _known(node)]
    while pending:
        for node in pending:
            if type(node.op) in WRITTEN:
                substitute(node, (WRITTEN[type(node.op)](Builder.like(node, before=node), node),))
            elif node.op.is_composite:
                decompose(node)
            else:
                raise UnsupportedOp(
                    f"the llvm backend has no kernel for {node.op.name}",
                    fix="give it a decompose into other ops, or add one in backends/llvm: "
                    f"@emits({type(node.op).__name__})",
                    path=node.path,
                    loc=node.loc,
                )
        pending = [node for node in graph.nodes if not _known(node)]
    return graph


def _known(node: Node) -> bool:
    return type(node.op) in EMITTERS


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
