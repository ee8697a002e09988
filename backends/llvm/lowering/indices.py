"""Which values are indices, and in what order a graph runs that has some.

A call that finds a wrong index leaves all as it was. So what indices are computed from comes first,
and no parameter or state is overwritten before the last check (``buffers.py``).
"""

from __future__ import annotations

from ....ir import Dim, Graph, Node, Value


def index_operands(node: Node) -> dict[Value, Dim]:
    """The operands that a node takes as indices, each with the size that they choose among."""
    found = node.op.indices(*(value.type for value in node.operands))
    return {node.operands[place]: size for place, size in found.items()}


def last_check(graph: Graph) -> Node | None:
    """The last node of which a result is taken as indices; the checks are done right after it."""
    read = {value for node in graph.nodes for value in index_operands(node)}
    makers = (node for node in graph.nodes_reversed if read.intersection(node.results))
    return next(makers, None)


def put_indices_first(graph: Graph) -> None:
    """Move what indices are computed from before all else, where anything is updated."""
    if not graph.updates:
        return
    needed = {value for node in graph.nodes for value in index_operands(node)}
    for node in graph.nodes_reversed:
        if needed.intersection(node.results):
            needed.update(node.operands)
    later: Node | None = None
    for node in graph.nodes:
        if not needed.intersection(node.results):
            later = later or node
        elif later is not None:
            graph.move(node, later)
