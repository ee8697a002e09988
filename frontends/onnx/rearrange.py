"""Import of what puts elements elsewhere."""

from __future__ import annotations

from ...ir import Dim
from ...ir.ops.rearrange import DepthToSpace, SpaceToDepth, Tile
from ...ir.ops.reduce import normalize_axis
from .call import Call
from .rules import Made, imports


@imports("Tile")
def _tile(n: Call) -> Made:
    """Tile-1: how often, along one axis; 6: how often along each."""
    x = n.value(0)
    repeats: tuple[Dim, ...]
    if n.opset < 6:
        (count,), (axis,) = n.dims(1, "tiles"), n.integers(2, "axis")
        axis = normalize_axis(axis, x.type.rank, "Tile")
        repeats = tuple(count if i == axis else 1 for i in range(x.type.rank))
    else:
        repeats = n.dims(1, "repeats")
    return n.b(Tile(repeats), x)


@imports("DepthToSpace")
def _depth_to_space(n: Call) -> Made:
    """DepthToSpace-1; 11: mode."""
    return n.b(DepthToSpace(n.integer("blocksize", 0), n.text("mode", "DCR")), n.value(0))


@imports("SpaceToDepth")
def _space_to_depth(n: Call) -> Made:
    """SpaceToDepth-1; 28: mode."""
    return n.b(SpaceToDepth(n.integer("blocksize", 0), n.text("mode", "DCR")), n.value(0))
