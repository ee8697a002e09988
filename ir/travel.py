"""Graphs as plain data, in which they are pickled: by tables, with numbers for values.

The nodes of a graph refer to one another, and pickle would follow these references as deep as the
graph is long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import TypeMismatch
from .node import Input, Node, Value

if TYPE_CHECKING:
    from .graph import Graph


def flat(graph: Graph) -> dict[str, Any]:
    """What :func:`rebuild` makes the same graph of: types with layouts, names and lines too.

    Raises:
        TypeMismatch: an op whose class has no place in a module, by which it would be found again.
    """
    for kind in {type(node.op) for node in graph.nodes}:
        if "<locals>" in kind.__qualname__:
            raise TypeMismatch(
                f"graph {graph.name} cannot be pickled: its op {kind.name} is defined within a "
                f"function, as {kind.__qualname__}",
                fix="define the class of the op at the level of a module",
            )
    number = {value: place for place, value in enumerate(graph.values)}
    nodes = [
        (
            node.op,
            [number[value] for value in node.operands],
            [(value.name, value.type) for value in node.results],
            node.loc,
        )
        for node in graph.nodes
    ]
    return {
        "name": graph.name,
        "inputs": [(value.name, value.type, value.role) for value in graph.inputs],
        "nodes": nodes,
        "outputs": {name: number[value] for name, value in graph.outputs.items()},
        "updates": {number[target]: number[value] for target, value in graph.updates.items()},
        "names": dict(graph._names),
    }


def rebuild(graph: Graph, state: Mapping[str, Any]) -> None:
    """Fill a new graph with what :func:`flat` gave of another."""
    type(graph).__init__(graph, state["name"])
    graph.inputs = [Input(*parts) for parts in state["inputs"]]
    values: list[Value] = [*graph.inputs]
    for op, operands, results, loc in state["nodes"]:
        node = Node(graph, op, tuple(values[place] for place in operands), loc)
        node.results = tuple(Value(name, type_, node) for name, type_ in results)
        graph._link(node, None)
        values += node.results
    graph.outputs = {name: values[place] for name, place in state["outputs"].items()}
    graph.updates = {
        graph.inputs[target]: values[place] for target, place in state["updates"].items()
    }
    graph._names = dict(state["names"])
