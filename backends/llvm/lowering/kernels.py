"""Kernel nodes: an op of weight, a convolution say, and the elementwise ops around it.

What follows the sums, a bias, an activation, a residual, is computed while they are in registers;
so is what a reduction adds up, products say, which then are never in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from ....ir import Graph, Node, Op, Value
from ....ir.ops import conv, linear, reduce
from ....ir.ops.fused import Kernel, enclose

# Ops whose emitters apply a prologue, too.
REDUCTIONS = (reduce.Sum, reduce.Max)

# Ops whose emitters apply an epilogue.
ANCHORS = (conv.Conv2d, conv.Conv2dBackwardData, linear.MatMul, *REDUCTIONS)


@dataclass(frozen=True)
class Anchor:
    """What a node does beside elementwise ops.

    Attributes:
        op: the op of weight.
        path: its layer.
        places: which operand of the node each of its own is; for an operand that is computed on the
            fly, those that it is computed from.
    """

    op: Op
    path: str
    places: tuple[int, ...]


def anchor(node: Node) -> Anchor:
    """What a node does beside elementwise ops; the node's own op where it is no kernel."""
    if not isinstance(node.op, Kernel):
        return Anchor(node.op, node.path, tuple(range(len(node.operands))))
    inputs: list[Value] = list(node.op.body.inputs)
    weighty = weighty_of(node.op)
    own = [value for value in weighty.operands if value in inputs]
    places = tuple(map(inputs.index, [*own, *inputs_read(node.op, prologue_of(node.op))]))
    return Anchor(weighty.op, weighty.path, places)


def weighty_of(op: Kernel) -> Node:
    return next(inner for inner in op.body.nodes if isinstance(inner.op, ANCHORS))


def prologue_of(op: Kernel) -> list[Node]:
    """The nodes that make the operands of the op of weight, in order."""
    needed, found = set(weighty_of(op).operands), []
    for node in op.body.nodes_reversed:
        if node.result in needed:
            needed.update(node.operands)
            found.append(node)
    return found[::-1]


def inputs_read(op: Kernel, nodes: Sequence[Node]) -> list[Value]:
    """The inputs of a body that some of its nodes read."""
    read = {value for node in nodes for value in node.operands}
    return [value for value in op.body.inputs if value in read]


def own_weight(node: Node) -> int:
    """The place of the weight of a convolution or a product, as which alone its operand is read.

    A weight is packed for the op of weight. A kernel that reads it as anything else too, x @ w + w
    say, gets it twice, so that the others find it as it was.
    """
    place = anchor(node).places[1]
    if not isinstance(node.op, Kernel) or len(node.op.body.inputs[place].users) == 1:
        return place
    body = node.op.body.copy()
    weight = body.inputs[place]
    taken = {value.name for value in body.values}
    names = (f"{weight.name}~{number}" for number in count(2))
    twin = body.add_input(next(name for name in names if name not in taken), weight.type)
    node.op = Kernel(body)
    weighty = weighty_of(node.op)
    x, _, *rest = weighty.operands
    weighty.operands = (x, twin, *rest)
    node.operands = (*node.operands, node.operands[place])
    return len(node.operands) - 1


def form_kernels(graph: Graph) -> None:
    """Put each op of weight into a kernel with the elementwise ops that alone read it.

    So too with what makes the operand of a reduction, if nothing else reads that.
    """
    for node in [node for node in graph.nodes if isinstance(node.op, ANCHORS)]:
        members = [node]
        if isinstance(node.op, REDUCTIONS) and (maker := _only_for(graph, node)) is not None:
            members.insert(0, maker)
        while (reader := _only_reader(graph, members[-1].result)) is not None:
            members.append(reader)
        if len(members) > 1:
            enclose(members, Kernel)


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
