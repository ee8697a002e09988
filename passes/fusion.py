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

from dataclasses import dataclass

from ..ir import Graph, Node, Value
from ..ir.ops.fused import Fused
from ..ir.pass_manager import Pass
from ..ir.rewrite import rewrite_node
from .decompose import decompose_all, is_composite
from .matching import array_of
from .properties import holds_region, without_regions


@dataclass(frozen=True)
class InlineRegions(Pass):
    """Undoes fusion: puts what a region is made of in its place.

    Raises:
        UnsupportedOp: a region that has no decomposition.
    """

    name = "inline_regions"
    ensures = (without_regions,)

    def run(self, graph: Graph) -> bool:
        return decompose_all(graph, holds_region)


@dataclass(frozen=True)
class FuseElementwise(Pass):
    """Puts connected elementwise nodes into ``fused`` nodes; regions that are there grow.

    Constants of one element move into the regions that read them.
    """

    name = "fuse_elementwise"

    def run(self, graph: Graph) -> bool:
        regions = _regions(graph)
        for root, members in regions.items():
            _fuse(root, [*reversed(members)])
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


def _fuse(root: Node, members: list[Node]) -> None:
    """Replace ``members``, in order, by one node."""
    values = dict.fromkeys(value for node in members for value in node.operands)
    own = {node.result for node in members}
    constants = [value for value in values if _is_scalar(value)]
    operands = [value for value in values if value not in own and not _is_scalar(value)]
    body = Graph(root.path)
    inside: dict[Value, Value] = {
        value: body.add_input(value.name, value.type) for value in operands
    }
    makers = [value.node for value in constants if value.node is not None]
    for node in (*makers, *members):
        inputs = [inside[value] for value in node.operands]
        if isinstance(node.op, Fused):
            inner: dict[Value, Value] = dict(zip(node.op.body.inputs, inputs))
            body.inline(node.op.body, inner)
            inside[node.result] = inner[node.op.output]
        else:
            path, _, suffix = node.result.name.partition("~")
            copy = body.add_node(node.op, inputs, path=path, suffix=suffix, loc=node.loc)
            inside[node.result] = copy.result
    output = inside[root.result]
    body.outputs = {output.name: output}
    decompose_all(body, is_composite)
    rewrite_node(root, lambda b: b(Fused(body), *operands))


def _is_scalar(value: Value) -> bool:
    array = array_of(value)
    return array is not None and array.size == 1
