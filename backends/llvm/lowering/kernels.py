"""Kernel nodes: an anchor op, a convolution say, and the elementwise ops around it.

What follows the sums, a bias, an activation, a residual, is computed while they are in registers;
so is what a reduction adds up, which then is never in memory.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import NamedTuple

from ....ir import Graph, Node, Op, TensorType, Value
from ....ir.ops.fused import Kernel, enclose
from ..registry import Facts, facts_of


class Anchor(NamedTuple):
    """What a node does beside elementwise ops.

    Attributes:
        op: the anchor of a kernel; the node's own op where it is none.
        path: its layer.
        places: which operand of the node each of its own is; for an operand that a prologue
            computes, those that it is computed from.
        types: of the operands at these places.
        result: the type of what it computes.
    """

    op: Op
    path: str
    places: tuple[int, ...]
    types: tuple[TensorType, ...]
    result: TensorType

    @property
    def facts(self) -> Facts:
        """What the backend knows of it."""
        return facts_of(self.op)


def anchor_of(node: Node) -> Anchor:
    """What a node does beside elementwise ops; a kernel knows it."""
    anchor, places = node, tuple(range(len(node.operands)))
    if isinstance(node.op, Kernel):
        (stage,) = node.op.stages
        anchor, places = stage.anchor, stage.places
    types = tuple(node.operands[place].type for place in places)
    return Anchor(anchor.op, anchor.path, places, types, node.results[0].type)


def form_kernels(graph: Graph) -> None:
    """Put each anchor into a kernel with the elementwise ops that alone read it.

    So too with what makes the operand of an anchor that takes a prologue, if nothing else reads
    that.
    """
    for node in [node for node in graph.nodes if facts_of(node.op).anchor]:
        facts, members = facts_of(node.op), [node]
        if facts.prologue and (maker := _only_for(graph, node)) is not None:
            members.insert(0, maker)
        while facts.epilogue and (reader := _only_reader(graph, members[-1].result)) is not None:
            members.append(reader)
        _read_weight_alone(enclose(members, partial(_kernel, node.op, node.path)))


def _kernel(op: Op, path: str, body: Graph) -> Kernel:
    """The kernel with this anchor."""
    nodes = enumerate(body.nodes)
    anchor = next(place for place, node in nodes if node.op is op and node.path == path)
    return Kernel(body, (anchor,))


def _only_reader(graph: Graph, value: Value) -> Node | None:
    """The elementwise node that reads ``value``, if nothing else does, nor is it spread out."""
    readers = set(value.users)
    if len(readers) != 1 or graph.leaves(value):
        return None
    (reader,) = readers
    alike = reader.op.elementwise and reader.result.type.shape == value.type.shape
    return reader if alike else None


def _only_for(graph: Graph, node: Node) -> Node | None:
    """The elementwise node that makes the operand of a reduction, if nothing else reads that."""
    (value,) = node.operands
    alone = set(value.users) == {node} and not graph.leaves(value)
    return value.node if alone and value.node is not None and value.node.op.elementwise else None


def _read_weight_alone(node: Node) -> None:
    """Give a kernel its weight twice where it reads it as anything else too, as x @ w + w does.

    The weight is packed for the anchor; the others find it as it was.
    """
    anchor = anchor_of(node)
    weight = anchor.facts.weight(anchor.op, anchor.types)
    if weight is None:
        return
    assert isinstance(node.op, Kernel)
    place = anchor.places[weight.place]
    if len(node.op.body.inputs[place].users) == 1:
        return
    body = node.op.body.copy()
    value = body.inputs[place]
    taken = {known.name for known in body.values}
    names = (f"{value.name}~{number}" for number in count(2))
    twin = body.add_input(next(name for name in names if name not in taken), value.type)
    (stage,) = Kernel(body, node.op.anchors).stages
    stage.anchor.replace_operand(weight.place, twin)
    node.op = Kernel(body, node.op.anchors)
    node.operands = (*node.operands, node.operands[place])
