"""Dead code: nodes whose results nothing reads."""

from __future__ import annotations

from ..ir import Graph
from ..ir.pass_manager import Pass
from .properties import is_dead, no_dead_code


class EliminateDead(Pass):
    """Erases nodes that neither an output nor an update depends on.

    Inputs stay, read or not: data because callers pass it, parameters and state because their
    names are those of the saved weights.
    """

    name = "eliminate_dead"
    ensures = (no_dead_code,)

    def run(self, graph: Graph) -> bool:
        changed = False
        for node in graph.nodes_reversed:
            if is_dead(node):
                graph.erase(node)
                changed = True
        return changed
