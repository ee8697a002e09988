"""How values lie in memory: the order of their axes, outermost first.

Images lie channels-last, so that the channels of a pixel fill vectors; weights lie as the kernel
that reads them wants it. Everything that a caller sees lies in row order.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Builder, Dim, Graph, Node, Op, TensorType, Value
from ...ir.dims import product
from ...ir.op import Values
from ...ir.ops import adaptive_pool, conv, pool, shape
from ...ir.types import Array
from .target import Target

Order = tuple[int, ...]

CHANNELS_LAST: Order = (0, 2, 3, 1)
# Weights [O, C, r, s]: outputs side by side for a convolution, inputs for its transpose.
OUTPUTS_LAST: Order = (2, 3, 1, 0)
INPUTS_LAST: Order = (2, 3, 0, 1)


@dataclass(frozen=True)
class Reorder(Op):
    """y = x, lying in memory with its axes in another order, outermost first.

    With a ``block``, the innermost axis is cut into blocks of that many elements, and the blocks
    lie outermost: what a tile of a convolution reads of the weight is then one run of memory.
    """

    order: tuple[int, ...]
    block: int = 0

    name = "reorder"

    def infer(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: Array) -> Array:
        return x

    def decompose(self, b: Builder, *operands: Value) -> Values:
        return operands[0]


def row_order(rank: int) -> Order:
    """The order in which the last axis is innermost."""
    return tuple(range(rank))


def strides(sizes: tuple[Dim, ...], order: Order) -> tuple[Dim, ...]:
    """The distance, in elements, of neighbours along each axis."""
    found: dict[int, Dim] = {}
    for place, axis in enumerate(order):
        found[axis] = product(tuple(sizes[inner] for inner in order[place + 1 :]))
    return tuple(found[axis] for axis in range(len(sizes)))


def blocked_strides(
    sizes: tuple[Dim, ...], order: Order, block: int
) -> tuple[tuple[Dim, ...], Dim]:
    """The strides along each axis, within a block of the innermost, and from block to block."""
    found: dict[int, Dim] = {order[-1]: 1}
    step: Dim = block
    for axis in reversed(order[:-1]):
        found[axis] = step
        step = step * sizes[axis]
    return tuple(found[axis] for axis in range(len(sizes))), step


def same_place(sizes: tuple[Dim, ...], a: Order, b: Order) -> bool:
    """Whether every element lies at the same place in both orders."""
    pairs = zip(sizes, strides(sizes, a), strides(sizes, b))
    return all(size == 1 or one == other for size, one, other in pairs)


_IMAGES = (
    conv.Conv2d,
    conv.Conv2dBackwardData,
    pool.MaxPool2d,
    pool.MaxPool2dSelect,
    pool.MaxPool2dBackward,
    pool.AvgPool2d,
    pool.AvgPool2dBackward,
    adaptive_pool.AdaptiveMaxPool2d,
    adaptive_pool.AdaptiveMaxPool2dSelect,
    adaptive_pool.AdaptiveMaxPool2dBackward,
    adaptive_pool.AdaptiveAvgPool2d,
    adaptive_pool.AdaptiveAvgPool2dBackward,
)


# Ops whose result lies as their first operand does.
_FOLLOWING = (shape.Slice, shape.SliceBackward, shape.Pad, shape.Concat)


def want_weights(graph: Graph, target: Target) -> None:
    """Write a reorder before each convolution for its weight; equal ones are shared."""
    known: dict[tuple[Value, Reorder], Value] = {}
    for node in graph.nodes:
        if not isinstance(node.op, (conv.Conv2d, conv.Conv2dBackwardData)):
            continue
        weight = node.operands[1]
        forward = isinstance(node.op, conv.Conv2d)
        count = weight.type.shape[0 if forward else 1]
        pair = 2 * target.lanes(weight.type.dtype.itemsize)
        even = node.op.groups == 1 and isinstance(count, int) and count % pair == 0
        op = Reorder(OUTPUTS_LAST if forward else INPUTS_LAST, pair if even else 0)
        if (weight, op) not in known:
            b = Builder.like(node, before=node, suffix="weight")
            known[weight, op] = b(op, weight)
        operands = list(node.operands)
        operands[1] = known[weight, op]
        node.operands = tuple(operands)


def choose_orders(graph: Graph) -> dict[str, Order]:
    """The order of every value of a lowered graph, by name."""
    orders: dict[str, Order] = {}
    leaving = {id(value) for value in (*graph.outputs.values(), *graph.updates.values())}
    for source in graph.inputs:
        orders[source.name] = row_order(source.type.rank)
    for node in graph.nodes:
        for value in node.results:
            order = _order_of(node, value, orders)
            outside = id(value) in leaving
            orders[value.name] = row_order(value.type.rank) if outside else order
    return orders


def choose_blocks(graph: Graph) -> dict[str, int]:
    """The size of the blocks of values that lie in blocks, by name."""
    reorders = (node for node in graph.nodes if isinstance(node.op, Reorder))
    return {
        node.result.name: node.op.block
        for node in reorders
        if isinstance(node.op, Reorder) and node.op.block
    }


def _order_of(node: Node, value: Value, orders: dict[str, Order]) -> Order:
    if isinstance(node.op, Reorder):
        return node.op.order
    if isinstance(node.op, _IMAGES):
        return CHANNELS_LAST
    if isinstance(node.op, _FOLLOWING):
        return orders[node.operands[0].name]
    if node.op.elementwise:
        for operand in node.operands:
            if operand.type.shape == value.type.shape:
                order = orders[operand.name]
                if order != row_order(len(order)):
                    return order
    return row_order(value.type.rank)
