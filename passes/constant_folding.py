"""Constant folding: what depends on constants alone is computed once, by the reference."""

from __future__ import annotations

from ..ir import Graph, Literal, Node, Value
from ..ir.dims import sizes
from ..ir.evaluate import evaluate_node
from ..ir.ops.constant import Constant
from ..ir.ops.fused import Fused
from ..ir.ops.random import RandomUniform
from ..ir.pass_manager import Pass
from ..ir.rewrite import rewrite_node
from .matching import array_of


class FoldConstants(Pass):
    """Replaces nodes whose operands are all constants by constants.

    Left alone: nodes with a symbol in their attributes; random draws, which stay draws though
    their key is known; sums over ranks; regions; and results of more than ``limit`` elements that
    are also larger than all operands together (an expanded scalar), which would only swell the
    graph.
    """

    limit: int = 2**20

    name = "fold_constants"

    def run(self, graph: Graph) -> bool:
        changed = False
        for node in graph.nodes:
            if self._folds(node):
                _fold(node)
                changed = True
        return changed

    def _folds(self, node: Node) -> bool:
        if isinstance(node.op, (Constant, RandomUniform, Fused)) or node.op.symbols():
            return False
        if node.op.collective:
            return False
        if any(array_of(value) is None for value in node.operands):
            return False
        size = sum(_elements(value) for value in node.results)
        return size <= max(self.limit, sum(_elements(value) for value in node.operands))


def _fold(node: Node) -> None:
    arrays = [array for value in node.operands if (array := array_of(value)) is not None]
    results = evaluate_node(node, arrays, {})
    literals = [Literal(array, value.type.dtype) for array, value in zip(results, node.results)]
    rewrite_node(node, lambda b: tuple(b(Constant(literal)) for literal in literals))


def _elements(value: Value) -> int:
    (elements,) = sizes((value.type.size,))
    return elements
