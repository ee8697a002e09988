"""Common subexpressions: equal ops of equal operands are computed once."""

from __future__ import annotations

from collections.abc import Hashable

from ..ir import Graph, Node
from ..ir.ops.elementwise import (
    Add,
    Equal,
    LogicalAnd,
    LogicalOr,
    LogicalXor,
    Maximum,
    Minimum,
    Mul,
)
from ..ir.pass_manager import Pass
from ..ir.structure import op_structure

COMMUTATIVE = (Add, Mul, Maximum, Minimum, Equal, LogicalAnd, LogicalOr, LogicalXor)


class EliminateCommon(Pass):
    """Lets later nodes with the same op and operands read the results of the first.

    Draws are functions of key and stream, so equal ones are merged too.
    """

    name = "eliminate_common"

    def run(self, graph: Graph) -> bool:
        changed = False
        known: dict[Hashable, Node] = {}
        for node in graph.nodes:
            first = known.setdefault(_key(node), node)
            if first is not node:
                for old, new in zip(node.results, first.results):
                    graph.replace(old, new)
                graph.erase(node)
                changed = True
        return changed


def _key(node: Node) -> Hashable:
    operands = [id(value) for value in node.operands]
    if isinstance(node.op, COMMUTATIVE):
        operands.sort()
    return (op_structure(node.op), *operands)
