"""Export of elements taken and put by their indices, the greatest ones, triangles and counts."""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops import indexing as ops
from .reduce import HALF, ordered
from .rules import BF16_IN_F32, HALVES_IN_F32, SHORTS_IN_I32, exports
from .writer import Writer

_SMALL = dict.fromkeys((DType.I8, DType.I16, DType.U8, DType.U16), DType.I32)
_WHOLE = dict.fromkeys((*_SMALL, DType.I32, DType.U32, DType.U64), DType.I64)


@exports(ops.GatherElements, carriers={})
def _gather_elements(w: Writer, op: ops.GatherElements, node: Node, x: str, indices: str) -> str:
    return w("GatherElements", x, as_indices(w, node, indices), axis=op.axis)


@exports(ops.ScatterElements, carriers={**HALVES_IN_F32, **SHORTS_IN_I32})
def _scatter_elements(
    w: Writer, op: ops.ScatterElements, node: Node, x: str, indices: str, updates: str
) -> str:
    places = as_indices(w, node, indices)
    return w("ScatterElements", x, places, updates, axis=op.axis, reduction=op.reduction)


@exports(ops.GatherNd, carriers=BF16_IN_F32)
def _gather_nd(w: Writer, op: ops.GatherNd, node: Node, x: str, indices: str) -> str:
    return w("GatherND", x, w.cast(indices, DType.I64), batch_dims=op.batch_dims)


@exports(ops.ScatterNd, carriers={**HALVES_IN_F32, **SHORTS_IN_I32})
def _scatter_nd(
    w: Writer, op: ops.ScatterNd, node: Node, x: str, indices: str, updates: str
) -> str:
    return w("ScatterND", x, w.cast(indices, DType.I64), updates, reduction=op.reduction)


@exports(ops.TopK, carriers={**BF16_IN_F32, **_SMALL, DType.U32: DType.I64})
def _topk(w: Writer, op: ops.TopK, node: Node, x: str) -> tuple[str, str]:
    is_u64 = node.operands[0].type.dtype is DType.U64
    values, indices = w.results(
        *(2, "TopK", ordered(w, x) if is_u64 else x, w.ints([op.k])),
        axis=op.axis,
        largest=int(op.largest),
        sorted=1,
    )
    if is_u64:
        values = w("Add", w.cast(values, DType.U64), w.constant(HALF, DType.U64))
    return values, indices


@exports(ops.Trilu, carriers={**HALVES_IN_F32, **_WHOLE})
def _trilu(w: Writer, op: ops.Trilu, node: Node, x: str) -> str:
    return w("Trilu", x, w.constant(op.diagonal, DType.I64), upper=int(op.upper))


@exports(ops.Arange, carriers={})
def _arange(w: Writer, op: ops.Arange, node: Node) -> str:
    return w.cast(w.range(op.size), op.dtype)


def as_indices(w: Writer, node: Node, indices: str) -> str:
    """The second operand of ``node`` in a dtype that ONNX takes for indices."""
    known = node.operands[1].type.dtype in (DType.I32, DType.I64)
    return indices if known else w.cast(indices, DType.I64)
