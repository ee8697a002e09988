"""Common subexpressions: equal ops of equal operands are computed once."""

from __future__ import annotations

from collections.abc import Hashable

from ..ir import Graph, Node, Op
from ..ir.ops.elementwise import Add, Equal, LogicalAnd, LogicalOr, Maximum, Minimum, Mul
from ..ir.pass_manager import Pass

COMMUTATIVE = (Add, Mul, Maximum, Minimum, Equal, LogicalAnd, LogicalOr)


class EliminateCommon(Pass):
    """Lets later nodes with the same op and operands read the results of the first.

    Draws are functions of key and stream, so equal ones are merged too. Regions are compared by
    identity, not by their contents.
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
    return (_exact(node.op), *operands)


def _exact(op: Op) -> Hashable:
    """The op as a key that tells 0.0 from -0.0, which compare equal, and finds NaN equal to NaN."""
    return (type(op), *(_exact_attribute(value) for _, value in op.attributes()))


def _exact_attribute(value: Hashable) -> Hashable:
    if isinstance(value, tuple):
        return tuple(map(_exact_attribute, value))
    return value.hex() if isinstance(value, float) else value
