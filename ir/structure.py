"""What an op or a graph computes, without its names: equal keys compute the same bits."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from .graph import Graph
from .types import TensorType

if TYPE_CHECKING:
    from .node import Value
    from .op import Op


def op_structure(op: Op) -> Hashable:
    """A key of an op by its class and its attributes, to the bit.

    Equality of ops finds 0.0 and -0.0 equal, and NaN unequal to itself; this does not. A region is
    told by what its body computes.
    """
    return (type(op), *(_attribute(value) for _, value in op.attributes()))


def type_structure(type_: TensorType) -> Hashable:
    """A key of a type that tells layouts apart, too."""
    return (type_.dtype, type_.shape, type_.layout)


def graph_structure(graph: Graph) -> Hashable:
    """A key of a graph by its nodes, types and outputs; names, layers and lines have no part."""
    places: dict[Value, int] = {}
    parts: list[Hashable] = []
    for source in graph.inputs:
        places[source] = len(places)
        parts.append(type_structure(source.type))
    for node in graph.nodes:
        for value in node.results:
            places[value] = len(places)
        operands = tuple(places[value] for value in node.operands)
        results = tuple(type_structure(value.type) for value in node.results)
        parts.append((op_structure(node.op), operands, results))
    outputs = tuple(places[value] for value in graph.outputs.values())
    updates = tuple((places[target], places[value]) for target, value in graph.updates.items())
    return (tuple(parts), outputs, updates)


def _attribute(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(map(_attribute, value))
    if isinstance(value, float):
        return value.hex()
    key: Hashable = graph_structure(value) if isinstance(value, Graph) else value
    return key
