"""What the emitters take for granted about the layouts of a lowered graph."""

from __future__ import annotations

from ....ir import Graph, Node, Value
from ....ir.errors import VerifyError
from ....ir.layout import NO_HALO, Layout
from ....ir.ops import conv, linear
from ....ir.ops.fused import Kernel
from ....ir.ops.reorder import Reorder
from .kernels import anchor
from .layouts import CONVOLUTIONS, FRAMED, halo_read, layout_of

# Ops that read a weight in blocks, their second operand.
_WEIGHTY = (conv.Conv2d, conv.Conv2dBackwardData, linear.MatMul)


def check_layouts(graph: Graph) -> None:
    """Check the layouts of a lowered graph, each value and each read of one.

    What a caller sees lies in row order. Zeros lie around images of those orders alone that
    ``write_frame`` knows, and as many of them as a convolution reads. Blocks are made by a reorder,
    and read as the weight of a convolution or a product, by that op alone.

    Raises:
        VerifyError: a layout that an emitter would read, or write, wrongly. No source has any: it
            is a mistake of the lowering.
    """
    for source in graph.inputs:
        _need(_in_rows(source), source, "is an input, and not in row order")
    for node in graph.nodes:
        for value in node.results:
            layout = layout_of(value)
            framed = layout.halo == NO_HALO or layout.order in FRAMED
            _need(framed, value, "has zeros around it in an order in which none can be written")
            packed = not layout.block or isinstance(node.op, Reorder)
            _need(packed, value, "lies in blocks, and is not made by a reorder")
        _check_reads(node)
    for value in (*graph.outputs.values(), *graph.updates.values()):
        _need(_in_rows(value), value, "leaves the graph, and is not in row order")


def _check_reads(node: Node) -> None:
    inner = anchor(node)
    for place, value in enumerate(node.operands):
        if layout_of(value).block:
            fine = isinstance(inner.op, _WEIGHTY) and _is_weight_alone(node, place)
            _need(fine, value, f"lies in blocks, and {node.path} reads it not only as a weight")
    if isinstance(inner.op, CONVOLUTIONS):
        image, second = (node.operands[place] for place in inner.places[:2])
        pairs = zip(layout_of(image).halo, halo_read(inner.op, 0, second.type))
        enough = all(there >= read for there, read in pairs)
        _need(enough, image, f"has fewer zeros around it than {node.path} reads")


def _is_weight_alone(node: Node, place: int) -> bool:
    """Whether a node reads an operand as the weight of its op of weight, and as nothing else."""
    places = anchor(node).places
    if places[1] != place or places.count(place) > 1:
        return False
    return not isinstance(node.op, Kernel) or len(node.op.body.inputs[place].users) == 1


def _in_rows(value: Value) -> bool:
    rows = Layout.rows(value.type.rank)
    return layout_of(value).same_places(rows, value.type.shape)


def _need(fine: bool, value: Value, wrong: str) -> None:
    if not fine:
        raise VerifyError(
            f"%{value.name}: {value.type} {wrong}",
            fix="this is a mistake of cauce, please report it; backend='numpy' has no layouts",
            path=value.path,
            loc=value.loc,
        )
