"""Kernel nodes: an op of weight, a convolution say, and the elementwise ops behind it.

What follows the sums, a bias, an activation, a residual, is computed while they are in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...ir import Graph, Node, Op, Value
from ...ir.ops import conv, linear
from ...ir.ops.fused import Kernel, enclose
from .code import EMITTERS, Access, Epilogue, NodeCode, Stage, emits
from .emitter import V
from .maps import compute_nodes

# Ops whose emitters apply an epilogue.
ANCHORS = (conv.Conv2d, conv.Conv2dBackwardData, linear.MatMul)


@dataclass(frozen=True)
class Anchor:
    """The op of weight of a node, its layer, and which operand of the node each of its own is."""

    op: Op
    path: str
    places: tuple[int, ...]


def anchor(node: Node) -> Anchor:
    """What a node does beside elementwise ops; the node's own op where it is no kernel."""
    if not isinstance(node.op, Kernel):
        return Anchor(node.op, node.path, tuple(range(len(node.operands))))
    inputs: list[Value] = list(node.op.body.inputs)
    weighty = _weighty(node.op)
    places = tuple(inputs.index(value) for value in weighty.operands)
    return Anchor(weighty.op, weighty.path, places)


def _weighty(op: Kernel) -> Node:
    return next(inner for inner in op.body.nodes if isinstance(inner.op, ANCHORS))


def form_kernels(graph: Graph) -> None:
    """Put each op of weight into a kernel with the elementwise ops that alone read it."""
    for node in [node for node in graph.nodes if isinstance(node.op, ANCHORS)]:
        members = [node]
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


@emits(Kernel)
def kernel(code: NodeCode) -> None:
    """The op of weight, with the rest as its epilogue."""
    op = code.node.op
    assert isinstance(op, Kernel)
    body = op.body
    weighty = _weighty(op)
    rest = [inner for inner in body.nodes if inner is not weighty]
    outer: dict[Value, Access] = {
        value: code.operand_access(place) for place, value in enumerate(body.inputs)
    }
    shape = op.output.type.shape
    read = {value for inner in rest for value in inner.operands}
    further = [value for value in body.inputs if value in read]

    def apply(stage: Stage, lanes: int, total: V, values: Sequence[V]) -> V:
        known: dict[Value, V] = {weighty.result: total, **dict(zip(further, values))}
        compute_nodes(stage, rest, known, lanes)
        return known[op.output]

    epilogue = Epilogue(
        tuple(outer[value].over(value.type.shape, shape) for value in further), apply
    )
    inner = replace(
        code,
        node=weighty,
        accesses={**outer, weighty.result: code.result_access()},
        epilogue=epilogue,
    )
    EMITTERS[type(weighty.op)](inner)
