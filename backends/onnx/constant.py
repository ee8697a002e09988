"""Export of constants and of dimensions as values."""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops.constant import Constant, DimSize
from .rules import exports
from .writer import Writer


@exports(Constant, carriers={})
def _constant(w: Writer, op: Constant, node: Node) -> str:
    return w.constant(op.value, op.value.dtype, name=node.result.name)


@exports(DimSize, carriers={})
def _dim(w: Writer, op: DimSize, node: Node) -> str:
    if isinstance(op.size, int):
        return w.constant(op.size, DType.I64)
    return w("Squeeze", w.size(op.size), w.ints([0]))
