"""Export of what puts elements elsewhere."""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops import rearrange as ops
from .rules import SHORTS_IN_I32, exports
from .writer import Writer


def _in_opset_18(node: Node) -> bool:
    assert isinstance(node.op, ops.BorderPad)
    return node.op.mode != "wrap"


def _in_floats(node: Node) -> bool:
    return node.result.type.dtype in (DType.F32, DType.F64)


def _has_mode(node: Node) -> bool:
    assert isinstance(node.op, ops.SpaceToDepth)
    return _in_floats(node) and node.op.mode == "DCR"


@exports(ops.BorderPad, carriers=SHORTS_IN_I32, applies=_in_opset_18)
def _border_pad(w: Writer, op: ops.BorderPad, node: Node, x: str) -> str:
    if not op.pads:
        return w("Identity", x)
    borders = [before for before, _ in op.pads] + [after for _, after in op.pads]
    return w("Pad", x, w.ints(borders), mode=op.mode)


@exports(ops.Tile)
def _tile(w: Writer, op: ops.Tile, node: Node, x: str) -> str:
    return w("Tile", x, w.ints(op.repeats)) if op.repeats else w("Identity", x)


@exports(ops.DepthToSpace, applies=_in_floats)
def _depth_to_space(w: Writer, op: ops.DepthToSpace, node: Node, x: str) -> str:
    return w("DepthToSpace", x, blocksize=op.blocksize, mode=op.mode)


@exports(ops.SpaceToDepth, applies=_has_mode)
def _space_to_depth(w: Writer, op: ops.SpaceToDepth, node: Node, x: str) -> str:
    return w("SpaceToDepth", x, blocksize=op.blocksize)
