"""Decomposition: composite ops written as the ops they are made of."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Graph, Node, Op
from ..ir.errors import CauceError
from ..ir.pass_manager import Pass
from ..ir.rewrite import decompose

Predicate = Callable[[Node], bool]


def is_composite(node: Node) -> bool:
    """Whether the node's op is made of others."""
    return node.op.is_composite


def decompose_all(graph: Graph, selects: Predicate) -> bool:
    """Decompose the nodes that ``selects`` picks, and those that this brings forth, until none is
    left; returns whether there was one.

    Raises:
        UnsupportedOp: a primitive was picked.
    """
    changed = False
    while picked := [node for node in graph.nodes if selects(node)]:
        for node in picked:
            try:
                decompose(node)
            except CauceError as error:
                error.at(node.path, node.loc)
                raise
        changed = True
    return changed


class Decompose(Pass):
    """Replaces composites by primitives.

    Args:
        selects: which nodes: a predicate, or op classes; all composites by default.

    Raises:
        UnsupportedOp: it selects a primitive.
    """

    selects: Predicate | tuple[type[Op], ...] = is_composite

    name = "decompose"

    def run(self, graph: Graph) -> bool:
        selects = self.selects
        if isinstance(selects, tuple):
            classes = selects
            return decompose_all(graph, lambda node: isinstance(node.op, classes))
        return decompose_all(graph, selects)
