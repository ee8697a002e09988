"""Lowering: the same graph, of ops and dtypes that the export has rules for."""

from __future__ import annotations

from ...ir import Builder, Graph, Node, Value
from ...ir.onnx.opsets import OPSET
from ...ir.ops.elementwise import Cast
from ...ir.rewrite import decompose_unless, substitute
from .rules import RULES


def lower(graph: Graph, opset: int = OPSET) -> Graph:
    """A copy of ``graph`` in which every op has a rule, and takes the dtypes of its operands.

    Composites without a rule are decomposed, and what nothing reads is left out; where a rule does
    not take a dtype, another carries the values into the op and out of it.

    Raises:
        UnsupportedOp: a primitive without a rule.
    """
    graph = graph.copy()
    decompose_unless(
        graph,
        lambda node: _has_rule(node, opset),
        "the ONNX export has no rule",
        lambda op: f"add one in backends/onnx: @exports({type(op).__name__})",
    )
    for node in graph.nodes_reversed:
        if not any(value.users or graph.leaves(value) for value in node.results):
            graph.erase(node)
    for node in graph.nodes:
        _carry(node)
    return graph


def _has_rule(node: Node, opset: int) -> bool:
    rule = RULES.get(type(node.op))
    return rule is not None and rule.since <= opset and rule.applies(node)


def _carry(node: Node) -> None:
    """Cast the operands whose dtype the rule does not take, and the results back."""
    carriers = RULES[type(node.op)].carriers
    if not any(value.type.dtype in carriers for value in node.operands):
        return
    b = Builder.like(node, before=node, suffix="carried")

    def carried(value: Value) -> Value:
        carrier = carriers.get(value.type.dtype)
        return value if carrier is None else b(Cast(carrier), value)

    results = b.results(node.op, *map(carried, node.operands))
    back = [
        new if new.type == old.type else b(Cast(old.type.dtype), new)
        for new, old in zip(results, node.results)
    ]
    substitute(node, tuple(back))
