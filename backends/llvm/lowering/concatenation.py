"""Concatenation without copies: parts that are written where they lie within the whole."""

from __future__ import annotations

from ....ir import Graph, Value
from ....ir.ops import shape
from ..registry import order_of
from .kernels import anchor_of


def nest_concats(graph: Graph) -> None:
    """concat(a, b, c) = concat(concat(a, b), c) where concat(a, b) is there already.

    Each then lies within the next, as in a dense block, and none is copied.
    """
    known: dict[tuple[int, tuple[Value, ...]], Value] = {}
    for node in graph.nodes:
        if not isinstance(node.op, shape.Concat):
            continue
        axis, operands = node.op.axis % node.result.type.rank, node.operands
        for count in range(len(operands) - 1, 1, -1):
            inner = known.get((axis, operands[:count]))
            if inner is not None:
                node.operands = (inner, *operands[count:])
                break
        known[axis, operands] = node.result


def concat_roots(graph: Graph) -> dict[Value, Value]:
    """The outermost concatenation that each value lies in, if it is written there directly."""
    places = concat_places(graph)
    roots = {}
    for value in places:
        root = value
        while root in places:
            root = places[root]
        roots[value] = root
    return roots


def concat_places(graph: Graph) -> dict[Value, Value]:
    """The values that are written into the result of a concatenation, and no memory of their own.

    A value can lie in one place alone, so the first concatenation that can have it takes it.
    """
    places: dict[Value, Value] = {}
    for node in graph.nodes:
        # Along rows or columns, the zeros around one part would lie in the next.
        if not isinstance(node.op, shape.Concat) or node.op.axis % node.result.type.rank > 1:
            continue
        whole = node.result
        for value in node.operands:
            made = value.node is not None and anchor_of(value.node).facts.writes_part
            once = sum(operand is value for operand in node.operands) == 1
            alike = order_of(value.type) == order_of(whole.type)
            if made and once and alike and value not in places and not graph.leaves(value):
                places[value] = whole
    return places
