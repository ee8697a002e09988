"""Fusion of elementwise ops into regions, each computed in one pass over memory.

A region grows from its last node, the root, towards the operands: a node joins the region that
holds *all* of its readers. So a region has one output, nothing is computed twice, and no path
leaves a region and comes back (a reader outside would have kept the node out): there are no cycles.
Among regions with these properties they are the largest.

All nodes of a region have the shape of its root. A node that is broadcast within it (per-channel
vectors, say) stays outside, where it is computed once for each of its own elements. Composites
(dropout, say) are decomposed inside: a backend that knows the primitives knows every region.
"""

from __future__ import annotations

from ..ir import Graph, Node, Value
from ..ir.ops.activation import Relu
from ..ir.ops.elementwise import (
    Abs,
    Add,
    Cast,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    LogicalNot,
    Mul,
    Neg,
    Sub,
)
from ..ir.ops.fused import Fused, enclose
from ..ir.ops.reduce import Mean, Sum
from ..ir.pass_manager import Pass
from .decompose import decompose_all, is_composite
from .matching import array_of
from .properties import holds_region, without_regions


class InlineRegions(Pass):
    """Undoes fusion: puts what a region is made of in its place.

    Raises:
        UnsupportedOp: a region that has no decomposition.
    """

    name = "inline_regions"
    ensures = (without_regions,)

    def run(self, graph: Graph) -> bool:
        return decompose_all(graph, holds_region)


class RecomputeCheap(Pass):
    """Gives each reader of a cheap node a node of its own, so that it can join the reader's region.

    Cheap is arithmetic on one full-size operand, beside scalars and what is broadcast: who reads
    the operand in place of the result reads no more memory. All readers must be elementwise, or
    reductions, or the result would be in memory anyway.

    Args:
        most: no node is written more often than that.
    """

    most: int = 3

    name = "recompute_cheap"

    def run(self, graph: Graph) -> bool:
        changed = False
        for node in graph.nodes_reversed:
            if not _is_cheap(node) or graph.leaves(node.result):
                continue
            readers = list(dict.fromkeys(node.result.users))
            fit = all(
                reader.op.elementwise or isinstance(reader.op, (Mean, Sum)) for reader in readers
            )
            if not fit or not 1 < len(readers) <= self.most:
                continue
            for reader in readers[1:]:
                path, _, suffix = node.result.name.partition("~")
                twin = graph.add_node(
                    node.op, node.operands, path=path, suffix=suffix, loc=node.loc, before=node
                )
                reader.operands = tuple(
                    twin.result if value is node.result else value for value in reader.operands
                )
            changed = True
        return changed


_CHEAP = (Add, Sub, Mul, Neg, Abs, Cast, Greater, GreaterEqual, Less, LessEqual, LogicalNot, Relu)


def _is_cheap(node: Node) -> bool:
    if not isinstance(node.op, _CHEAP) or _narrows(node):
        return False
    shape = node.result.type.shape
    return sum(value.type.shape == shape for value in dict.fromkeys(node.operands)) == 1


def _narrows(node: Node) -> bool:
    """Whether the operand takes more memory than the result, as of a cast to a half."""
    wider, result = node.operands[0].type.dtype, node.result.type.dtype
    return isinstance(node.op, Cast) and wider.itemsize > result.itemsize


class FuseElementwise(Pass):
    """Puts connected elementwise nodes into ``fused`` nodes; regions that are there grow.

    Constants of one element move into the regions that read them.
    """

    name = "fuse_elementwise"

    def run(self, graph: Graph) -> bool:
        regions = _regions(graph)
        for members in regions.values():
            _fuse([*reversed(members)])
        return bool(regions)


def _regions(graph: Graph) -> dict[Node, list[Node]]:
    """The regions of two nodes and more: members by root, the root first, last node first."""
    root_of: dict[Node, Node] = {}
    members: dict[Node, list[Node]] = {}
    for node in graph.nodes_reversed:
        if not node.op.elementwise or len(node.results) != 1:
            continue
        value = node.result
        roots = {root_of.get(user) for user in value.users}
        root = roots.pop() if len(roots) == 1 and not graph.leaves(value) else None
        if root is None or root.result.type.shape != value.type.shape:
            root = node
        root_of[node] = root
        members.setdefault(root, []).append(node)
    return {root: nodes for root, nodes in members.items() if len(nodes) > 1}


def _fuse(members: list[Node]) -> None:
    """Replace ``members``, in order, by one node."""
    values = dict.fromkeys(value for node in members for value in node.operands)

    def region(body: Graph) -> Fused:
        decompose_all(body, is_composite)
        return Fused(body)

    enclose(members, region, [value for value in values if _is_scalar(value)])


def _is_scalar(value: Value) -> bool:
    array = array_of(value)
    return array is not None and array.size == 1
