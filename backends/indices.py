"""Indices among the inputs of a graph, labels above all, which must lie in range.

Native code has no means to complain while it runs, so what a caller gives is checked before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..ir import Array, Dim, Graph, Node, Value
from ..ir.dims import sizes, substitute
from ..ir.errors import CauceError
from ..ir.ops.shape import Expand, Flatten, Reshape, Transpose, check_indices
from .contract import CALLED

# What only moves the indices about.
_MOVES = (Expand, Flatten, Reshape, Transpose)


class IndexInput(NamedTuple):
    """An input that a node takes as indices.

    Attributes:
        place: among the inputs that a caller gives each time.
        node: what takes it.
        size: how many there are to choose among.
    """

    place: int
    node: Node
    size: Dim


def index_inputs(graph: Graph) -> list[IndexInput]:
    """The inputs of a graph that are indices, of those that a caller gives each time."""
    found = []
    called = [value for value in graph.inputs if value.role in CALLED]
    places: dict[Value, int] = {value: place for place, value in enumerate(called)}
    for node in graph.nodes:
        for operand, size in node.op.indices(*(v.type for v in node.operands)).items():
            value = node.operands[operand]
            while value.node is not None and isinstance(value.node.op, _MOVES):
                (value,) = value.node.operands
            if value in places:
                found.append(IndexInput(places[value], node, size))
    return found


def check_index_inputs(
    indices: Sequence[IndexInput], arrays: Sequence[Array], dims: Mapping[str, int]
) -> None:
    """Raise ShapeError where an index is out of range, with the node and its line."""
    for place, node, size in indices:
        (count,) = sizes((substitute(size, dims),))
        try:
            check_indices(arrays[place], count)
        except CauceError as error:
            error.at(node.path, node.loc)
            raise
