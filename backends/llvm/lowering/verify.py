"""The verifier of lowered graphs: what code generation takes for granted about layouts."""

from __future__ import annotations

from ....ir import Graph, Node, Value
from ....ir.errors import VerifyError
from ....ir.layout import Packed, Strided
from ....ir.ops.fused import Kernel
from ....ir.ops.reorder import Reorder
from .kernels import anchor_of
from .layouts import Schedules, halo_of, larger, layout_of, strided


def verify_layouts(graph: Graph, schedules: Schedules) -> None:
    """Check the layouts of a lowered graph, each value and each read of one.

    What a caller sees is row-major. A halo lies around images of those orders alone that its zeros
    can be written in, and has as many of them as are read. A packed value is made by a reorder, and
    read as the weight of an anchor that accepts its format, and as nothing else.

    Raises:
        VerifyError: a layout that would be read, or written, wrongly. No source has any: it is a
            mistake of the lowering.
    """
    for source in graph.inputs:
        _need(_is_row_major(source), source, "is an input, and not row-major")
    for node in graph.nodes:
        for value in node.results:
            layout = layout_of(value)
            if isinstance(layout, Packed):
                made = isinstance(node.op, Reorder)
                _need(made, value, "is packed, and not made by a reorder")
            elif isinstance(layout, Strided) and layout.halo:
                _need(layout.can_have_halo(), value, "has a halo in an order that can have none")
        _verify_reads(node, schedules)
    for value in (*graph.outputs.values(), *graph.updates.values()):
        _need(_is_row_major(value), value, "leaves the graph, and is not row-major")


def _verify_reads(node: Node, schedules: Schedules) -> None:
    anchor = anchor_of(node)
    for place, value in enumerate(node.operands):
        if isinstance(layout_of(value), Packed):
            fine = _is_weight_alone(node, place)
            _need(fine, value, f"is packed, and {node.path} reads it not only as a weight")
    halo = halo_of(node, schedules)
    if halo:
        image = node.operands[anchor.places[anchor.facts.images(anchor.op, anchor.types)[0]]]
        there = strided(image).halo or ((0, 0),) * len(halo)
        enough = larger(there, halo) == there
        _need(enough, image, f"has a smaller halo than {node.path} reads")


def _is_weight_alone(node: Node, place: int) -> bool:
    """Whether a node reads an operand as the weight of its anchor, and as nothing else."""
    anchor = anchor_of(node)
    weight = anchor.facts.weight(anchor.op, anchor.types) if anchor.facts.anchor else None
    if weight is None or not weight.packs or anchor.places[weight.place] != place:
        return False
    return isinstance(node.op, Kernel) and len(node.op.body.inputs[place].users) == 1


def _is_row_major(value: Value) -> bool:
    layout, rows = layout_of(value), Strided.row_major(value.type.rank)
    return isinstance(layout, Strided) and layout.same_places(rows, value.type.shape)


def _need(fine: bool, value: Value, wrong: str) -> None:
    if not fine:
        raise VerifyError(
            f"%{value.name}: {value.type} {wrong}",
            fix="this is a mistake of cauce, please report it; backend='numpy' has no layouts",
            path=value.path,
            loc=value.loc,
        )
