"""Export of matrix products."""

from __future__ import annotations

from ...ir import Node
from ...ir.ops.linear import Linear, MatMul
from .rules import exports, exports_as
from .writer import Writer

exports_as({MatMul: "MatMul"})


def _is_matrix(node: Node) -> bool:
    return node.operands[0].type.rank == 2


@exports(Linear, applies=_is_matrix)
def _linear(w: Writer, op: Linear, node: Node, x: str, weight: str, bias: str = "") -> str:
    return w("Gemm", x, weight, bias, transB=1)
