"""Concatenation without copies: parts that are written where they lie within the whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ....ir import Dim, Graph, Node, Value
from ....ir.ops.shape import Concat
from ..registry import order_of
from .kernels import anchor_of


class ConcatPart(NamedTuple):
    """Where a value lies in a concatenation: so many places along the axis of the whole."""

    whole: Value
    axis: int
    offset: Dim


def nest_concats(graph: Graph) -> None:
    """concat(a, b, c) = concat(concat(a, b), c) where concat(a, b) is there already.

    Each then lies within the next, as in a dense block, and none is copied.
    """
    known: dict[tuple[int, tuple[Value, ...]], Value] = {}
    for node, axis in _concats(graph):
        operands = node.operands
        for count in range(len(operands) - 1, 1, -1):
            inner = known.get((axis, operands[:count]))
            if inner is not None:
                node.operands = (inner, *operands[count:])
                break
        known[axis, operands] = node.result


def concat_roots(graph: Graph) -> dict[Value, Value]:
    """The outermost concatenation that each value lies in, if it is written there directly."""
    parts = concat_parts(graph)
    roots = {}
    for value in parts:
        root = value
        while root in parts:
            root = parts[root].whole
        roots[value] = root
    return roots


def concat_parts(graph: Graph) -> dict[Value, ConcatPart]:
    """The values that are written into the result of a concatenation, and no memory of their own.

    A value can lie in one place alone, so the first concatenation that can have it takes it.
    """
    parts: dict[Value, ConcatPart] = {}
    for node, axis in _concats(graph):
        if axis > 1:
            continue  # along rows or columns, the zeros around one part would lie in the next
        whole = node.result
        offset: Dim = 0
        for value in node.operands:
            made = value.node is not None and anchor_of(value.node).facts.writes_part
            once = sum(operand is value for operand in node.operands) == 1
            alike = order_of(value.type) == order_of(whole.type)
            if made and once and alike and value not in parts and not graph.leaves(value):
                parts[value] = ConcatPart(whole, axis, offset)
            offset = offset + value.type.shape[axis]
    return parts


def _concats(graph: Graph) -> Iterator[tuple[Node, int]]:
    """The concatenations, with their axes, counted from the first."""
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            yield node, node.op.axis % node.result.type.rank
