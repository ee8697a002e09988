"""From any graph to one of NumPy kernels: composites taken apart, and rules of this backend."""

from __future__ import annotations

from ...ir import Builder, Graph, Value
from ...ir.halves import widen_halves
from ...ir.ops.linear import MatMul, swap_last, swaps_last
from ...ir.ops.shape import Transpose
from ...ir.rewrite import Match, OpPattern, Rule, Var, apply_rules, decompose_unless
from .kernels import KERNELS


class TransposedProduct(Rule):
    """transpose(a @ b) = transpose(b) @ transpose(a)

    A transpose is a view that BLAS reads as it is, but a transposed product met by an untransposed
    array, as the gradient of a weight is by the weight, makes NumPy cross memory the slow way.
    """

    pattern = OpPattern(
        Transpose, OpPattern(MatMul, Var("a"), Var("b"), name="product"), name="transpose"
    )
    alone = ("product",)

    def check(self, match: Match) -> str | None:
        swapped = swaps_last(match.op("transpose", Transpose))
        return None if swapped else "it moves other axes than the last two"

    def replace(self, b: Builder, match: Match) -> Value:
        return b(MatMul(), swap_last(b, match["b"]), swap_last(b, match["a"]))


RULES = (TransposedProduct(),)


def lower(graph: Graph) -> Graph:
    """A copy of ``graph`` in which every op has a NumPy kernel: others are decomposed.

    Raises:
        UnsupportedOp: a primitive without a kernel.
    """
    graph = graph.copy()
    # What a composite is made of must not round halves: its kernel would not.
    widen_halves(graph, lambda node: type(node.op) not in KERNELS)
    decompose_unless(
        graph,
        lambda node: type(node.op) in KERNELS,
        "the numpy backend has no kernel",
        lambda op: f"add one in backends/numpy: @kernel({type(op).__name__})",
    )
    apply_rules(graph, RULES)
    return graph
