"""Properties that passes require or ensure: None where one holds, else the reason why not."""

from __future__ import annotations

from ..ir import Graph, Input, Node, Role, Value
from ..ir.ops.normalize import BatchNormTrain
from ..ir.ops.random import Dropout


def no_dead_code(graph: Graph) -> str | None:
    """Of every node at least one result is read, or leaves the graph."""
    for node in graph.nodes:
        if is_dead(node):
            return f"nothing reads %{node.results[0].name}"
    return None


def is_dead(node: Node) -> bool:
    """Whether nothing reads the results of ``node``, and none leaves the graph."""
    return not any(value.users or node.graph.leaves(value) for value in node.results)


def without_regions(graph: Graph) -> str | None:
    """No node holds a region."""
    for node in graph.nodes:
        if holds_region(node):
            return f"%{node.results[0].name} is the result of a region"
    return None


def holds_region(node: Node) -> bool:
    """Whether an attribute of the node's op is a graph."""
    return bool(node.op.regions())


def inference_only(graph: Graph) -> str | None:
    """No op behaves as it does in training alone."""
    for node in graph.nodes:
        if isinstance(node.op, (BatchNormTrain, Dropout)):
            return f"%{node.results[0].name} is the result of {node.op.name}"
    return None


def depends_on_data(*values: Value) -> bool:
    """Whether one of ``values`` is computed from data or hyperparameters."""
    seen: set[Value] = set()
    pending = list(values)
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        if isinstance(value, Input) and value.role in (Role.DATA, Role.HYPERPARAMETER):
            return True
        pending += value.node.operands if value.node else ()
    return False
