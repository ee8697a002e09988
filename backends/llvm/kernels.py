"""Kernel nodes: an op of weight, a convolution say, and the elementwise ops around it.

What follows the sums, a bias, an activation, a residual, is computed while they are in registers;
so is what a reduction adds up, products say, which then are never in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from ...ir import Graph, Node, Op, Value
from ...ir.layout import Layout
from ...ir.ops import conv, linear, reduce
from ...ir.ops.fused import Kernel, enclose
from .code import EMITTERS, Access, Epilogue, NodeCode, Prologue, Shape, Stage, emits
from .emitter import V
from .maps import compute_nodes

# Ops whose emitters apply a prologue, too.
_REDUCTIONS = (reduce.Sum, reduce.Max)

# Ops whose emitters apply an epilogue.
ANCHORS = (conv.Conv2d, conv.Conv2dBackwardData, linear.MatMul, *_REDUCTIONS)


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
    weighty = _weighty(node.op)
    own = [value for value in weighty.operands if value in inputs]
    places = tuple(map(inputs.index, [*own, *_read(node.op, _before(node.op))]))
    return Anchor(weighty.op, weighty.path, places)


def _weighty(op: Kernel) -> Node:
    return next(inner for inner in op.body.nodes if isinstance(inner.op, ANCHORS))


def _before(op: Kernel) -> list[Node]:
    """The nodes that make the operands of the op of weight, in order."""
    needed, found = set(_weighty(op).operands), []
    for node in op.body.nodes_reversed:
        if node.result in needed:
            needed.update(node.operands)
            found.append(node)
    return found[::-1]


def _read(op: Kernel, nodes: Sequence[Node]) -> list[Value]:
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
    weighty = _weighty(node.op)
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
        if isinstance(node.op, _REDUCTIONS) and (maker := _only_for(graph, node)) is not None:
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


@emits(Kernel)
def kernel(code: NodeCode) -> None:
    """The op of weight, with the rest as its prologue and epilogue."""
    op = code.node.op
    assert isinstance(op, Kernel)
    places: dict[Value, int] = {value: place for place, value in enumerate(op.body.inputs)}
    weighty, before = _weighty(op), _before(op)
    after = [inner for inner in op.body.nodes if inner not in (*before, weighty)]
    further = _read(op, after)

    def arrays(values: Sequence[Value], space: Shape) -> tuple[Access, ...]:
        return tuple(
            code.operand_access(places[value]).over(value.type.shape, space) for value in values
        )

    def finish(stage: Stage, lanes: int, total: V, values: Sequence[V]) -> V:
        known: dict[Value, V] = {weighty.result: total, **dict(zip(further, values))}
        compute_nodes(stage, after, known, lanes)
        return known[op.output]

    inner = replace(
        code,
        node=weighty,
        accesses={
            **{value: code.operand_access(place) for value, place in places.items()},
            weighty.result: code.result_access(),
        },
        epilogue=Epilogue(arrays(further, op.output.type.shape), finish),
    )
    if isinstance(weighty.op, _REDUCTIONS):
        (operand,) = weighty.operands
        sources = _read(op, before) if before else [operand]

        def apply(stage: Stage, lanes: int, values: Sequence[V]) -> V:
            known: dict[Value, V] = dict(zip(sources, values))
            compute_nodes(stage, before, known, lanes)
            return known[operand]

        shape = operand.type.shape
        wide = [value for value in sources if value.type.shape == shape]
        layouts = [code.operand_types[places[value]].layout for value in wide]
        layout = next(iter(layouts), None) or Layout.rows(len(shape))
        inner.prologue = Prologue(arrays(sources, shape), layout.order, apply if before else None)
    EMITTERS[type(weighty.op)](inner)
