"""How values lie in memory: puts a layout on every type, and a reorder where a reader needs one.

Images lie channels-last, so that the channels of a pixel fill vectors, with the zeros around them
that a padded convolution reads; weights lie in blocks, as a tile of a convolution reads them.
Everything that a caller sees lies in row order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ....ir import Builder, Graph, Node, Op, TensorType, Value
from ....ir.dims import sizes
from ....ir.layout import CHANNELS_LAST, NO_HALO, Layout, Order
from ....ir.ops import adaptive_pool, conv, linear, pool, shape
from ....ir.ops.reorder import Reorder
from ...split import early_values
from ..phases import reach
from ..schedule.tiles import vectors_of
from ..target import Target
from .kernels import anchor, own_weight

Halo = tuple[int, int, int, int]

# Weights [O, C, r, s]: outputs side by side for a convolution, inputs for its transpose.
OUTPUTS_LAST: Order = (2, 3, 1, 0)
INPUTS_LAST: Order = (2, 3, 0, 1)

# An image channel by channel, and the orders in which zeros can lie around one: ``write_frame``
# knows no others.
PLANAR: Order = (0, 1, 2, 3)
FRAMED = (CHANNELS_LAST, PLANAR)

CONVOLUTIONS = (conv.Conv2d, conv.Conv2dBackwardData, conv.Conv2dBackwardWeight)

_POOLS = (
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

# Ops whose result is an image, lying channels-last.
_IMAGES = (conv.Conv2d, conv.Conv2dBackwardData, *_POOLS)

# Ops whose result lies as their first operand does.
_FOLLOWING = (shape.Slice, shape.SliceBackward, shape.Flip, shape.Pad, shape.Concat)


def assign_layouts(graph: Graph, target: Target) -> None:
    """Lay out all values of a graph in which kernels are formed."""
    _reorder_weights(graph, target)
    for source in graph.inputs:
        _lay(source, Layout.rows(source.type.rank))
    for node in graph.nodes:
        for value in node.results:
            if value.type.layout is None:
                _lay(value, Layout(_order(node, value)))
    _reorder_images(graph, target)
    _add_halos(graph)
    _pad_channels(graph)
    for name, value in graph.outputs.items():
        graph.outputs[name] = _in_rows(graph, value)
    for source, value in graph.updates.items():
        graph.updates[source] = _in_rows(graph, value)


def layout_of(value: Value) -> Layout:
    """The layout of a value that has one."""
    assert value.type.layout is not None
    return value.type.layout


def _lay(value: Value, layout: Layout) -> None:
    value.type = replace(value.type, layout=layout)


# ---- weights -----------------------------------------------------------------------------------


def _reorder_weights(graph: Graph, target: Target) -> None:
    """Write a reorder before each convolution for its weight; equal ones are shared.

    So too for a matrix that a product meets again and again.
    """
    known: dict[tuple[Value, Layout], Value] = {}
    early = early_values(graph)
    for node in graph.nodes:
        inner = anchor(node)
        if isinstance(inner.op, (conv.Conv2d, conv.Conv2dBackwardData)):
            forward = isinstance(inner.op, conv.Conv2d)
            order = OUTPUTS_LAST if forward else INPUTS_LAST
            cut = inner.op.groups == 1
        elif isinstance(inner.op, linear.MatMul):
            matrix = node.operands[inner.places[1]]
            if matrix.type.rank != 2 or matrix not in early:
                continue
            order, cut = (0, 1), True
        else:
            continue
        place = own_weight(node)
        weight = node.operands[place]
        count, lanes = weight.type.shape[order[-1]], target.lanes(weight.type.dtype.itemsize)
        block = 0
        if cut and isinstance(count, int) and count >= lanes:
            block = lanes * vectors_of(count, lanes, target.registers)
        layout = Layout(order, block=block)
        if (weight, layout) not in known:
            known[weight, layout] = _reordered(node, weight, layout, "weight")
        _read_instead(node, place, known[weight, layout])


def _reordered(node: Node, value: Value, layout: Layout, suffix: str) -> Value:
    """A reorder of ``value``, before ``node``."""
    b = Builder.like(node, before=node, suffix=suffix)
    result = b(Reorder(), value)
    _lay(result, layout)
    return result


def _read_instead(node: Node, place: int, value: Value) -> None:
    operands = list(node.operands)
    operands[place] = value
    node.operands = tuple(operands)


# ---- order -------------------------------------------------------------------------------------


def _order(node: Node, value: Value) -> Order:
    rank = value.type.rank
    op = anchor(node).op
    if isinstance(op, _IMAGES):
        return CHANNELS_LAST
    if isinstance(op, shape.Transpose):
        # A view: the axes lie as they did, under other numbers.
        return tuple(op.perm.index(axis) for axis in layout_of(node.operands[0]).order)
    if isinstance(op, _FOLLOWING):
        return layout_of(node.operands[0]).order
    if isinstance(op, shape.Expand) and rank == 4:
        return CHANNELS_LAST
    if op.elementwise:
        for operand in node.operands:
            order = layout_of(operand).order
            if operand.type.shape == value.type.shape and order != Layout.rows(rank).order:
                return order
    return Layout.rows(rank).order


def _images_read(node: Node) -> Iterator[tuple[int, Value]]:
    """The operands that a node reads as images, with their places."""
    inner = anchor(node)
    if isinstance(inner.op, (conv.Conv2d, conv.Conv2dBackwardData)):
        yield inner.places[0], node.operands[inner.places[0]]
    elif isinstance(inner.op, (conv.Conv2dBackwardWeight, *_POOLS)):
        yield from ((place, node.operands[place]) for place in inner.places)


def _reorder_images(graph: Graph, target: Target) -> None:
    """Let images be read channels-last, unless a few channels are better read one by one."""
    known: dict[Value, Value] = {}
    wanted = Layout(CHANNELS_LAST)
    for node in graph.nodes:
        for place, value in list(_images_read(node)):
            channels, own = value.type.shape[1], layout_of(value)
            few = isinstance(channels, int) and 2 * channels <= target.lanes(4)
            planar = few and isinstance(anchor(node).op, conv.Conv2d)
            if (planar and own.order == PLANAR) or _same(value.type, own, wanted):
                continue
            if value not in known:
                known[value] = _reordered(node, value, wanted, "image")
            _read_instead(node, place, known[value])


def _same(type_: TensorType, a: Layout, b: Layout) -> bool:
    return a.same_places(b, type_.shape)


def _in_rows(graph: Graph, value: Value) -> Value:
    """A value that leaves the graph, in row order."""
    rows = Layout.rows(value.type.rank)
    if _same(value.type, layout_of(value), rows) and not _is_view(value):
        return value
    node = graph.add_node(Reorder(), (value,), path=value.path, suffix="rows", loc=value.loc)
    _lay(node.result, rows)
    return node.result


def _is_view(value: Value) -> bool:
    return value.node is not None and isinstance(value.node.op, shape.Transpose)


# ---- halos -------------------------------------------------------------------------------------


def halo_read(op: Op, place: int, weight: TensorType | None) -> Halo:
    """How many zeros around an operand, an image, an op reads."""
    if isinstance(op, (conv.Conv2d, conv.Conv2dBackwardWeight)) and place == 0:
        (top, bottom), (left, right) = op.padding
        return (top, bottom, left, right)
    if isinstance(op, conv.Conv2dBackwardData) and place == 0:
        assert weight is not None
        sides = [reach(op, axis, size) for axis, size in enumerate(sizes(weight.shape[2:]))]
        return (*sides[0], *sides[1])
    return NO_HALO


def _add_halos(graph: Graph) -> None:
    """Give images the zeros around them that their readers read.

    Parts of a concatenation lie within it, and so in its halo.
    """
    groups = _concatenated(graph)
    needs: dict[Value, Halo] = {}
    readers: dict[Value, list[tuple[Node, int]]] = {}
    for node in graph.nodes:
        inner = anchor(node)
        if not isinstance(inner.op, CONVOLUTIONS):
            continue
        weight = node.operands[inner.places[1]].type
        value = node.operands[inner.places[0]]
        halo = halo_read(inner.op, 0, weight)
        if halo != NO_HALO:
            root = groups.get(value, value)
            needs[root] = _largest(needs.get(root, NO_HALO), halo)
            readers.setdefault(value, []).append((node, inner.places[0]))
    for value, reading in readers.items():
        root = groups.get(value, value)
        if _can_have_halo(graph, root):
            for member in (root, *(part for part, whole in groups.items() if whole is root)):
                _lay(member, replace(layout_of(member), halo=needs[root]))
            continue
        # Another order is read as channels-last where an axis of size 1 makes them alike. With
        # zeros around it that axis is longer, and they no longer are.
        own = layout_of(value).order
        order = own if own in FRAMED else CHANNELS_LAST
        # Where the whole cannot have a halo its part is copied, with what is read of it.
        halo = needs[root] if root is value else _needed(reading)
        copy = _reordered(reading[0][0], value, Layout(order, halo), "framed")
        for node, place in reading:
            _read_instead(node, place, copy)


def _needed(reading: list[tuple[Node, int]]) -> Halo:
    halo = NO_HALO
    for node, _ in reading:
        inner = anchor(node)
        weight = node.operands[inner.places[1]].type
        halo = _largest(halo, halo_read(inner.op, 0, weight))
    return halo


def _largest(a: Halo, b: Halo) -> Halo:
    return (max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def _can_have_halo(graph: Graph, value: Value) -> bool:
    """Whether the node that makes a value can write it within zeros."""
    if value.node is None or graph.leaves(value):
        return False
    op = anchor(value.node).op
    writes = isinstance(op, (*_IMAGES, *_FOLLOWING, shape.Expand, Reorder)) or op.elementwise
    return writes and layout_of(value).order in FRAMED


def _pad_channels(graph: Graph) -> None:
    """Put a cache line between pixels that would lie a power of two apart."""
    groups = _concatenated(graph)
    for node in graph.nodes:
        for value in node.results:
            root = groups.get(value, value)
            channels, item = (root.type.shape[1:2] or (0,))[0], root.type.dtype.itemsize
            layout = layout_of(value)
            if layout.order != CHANNELS_LAST or not isinstance(channels, int) or not channels:
                continue
            if channels * item % _ALIKE == 0 and _can_have_halo(graph, root):
                _lay(value, replace(layout, pad=_LINE // item))


# Bytes apart from which on many pixels share few sets of a first-level cache, and a line of it.
_ALIKE = 2048
_LINE = 64


def _concatenated(graph: Graph) -> dict[Value, Value]:
    """The outermost concatenation that each value lies in, if it is written there directly."""
    places = concat_places(graph)
    roots = {}
    for value in places:
        root = value
        while root in places:
            root = places[root]
        roots[value] = root
    return roots


def concat_places(graph: Graph) -> dict[Value, Value]:
    """The values that are written into the result of a concatenation, and no memory of their own.

    A value can lie in one place alone, so the first concatenation that can have it takes it.
    """
    places: dict[Value, Value] = {}
    for node in graph.nodes:
        # Along rows or columns, the zeros around one part would lie in the next.
        if not isinstance(node.op, shape.Concat) or node.op.axis % node.result.type.rank > 1:
            continue
        whole = node.result
        for value in node.operands:
            made = value.node is not None and (
                isinstance(anchor(value.node).op, (*_IMAGES, shape.Concat))
                or anchor(value.node).op.elementwise
            )
            once = sum(operand is value for operand in node.operands) == 1
            alike = layout_of(value).order == layout_of(whole).order
            if made and once and alike and value not in places and not graph.leaves(value):
                places[value] = whole
    return places
