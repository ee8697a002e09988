"""The op that moves an array in memory. It means nothing, so only backends write it."""

from __future__ import annotations

from ..builder import Builder
from ..graph import Node, Value
from ..op import Gradients, Op, Values, register
from ..types import Array, TensorType


@register
class Reorder(Op):
    """y = x, lying in memory as the layout on the type of y says."""

    name = "reorder"
    operands = ("x",)

    def infer(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: Array) -> Array:
        return x

    def decompose(self, b: Builder, *operands: Value) -> Values:
        return operands[0]

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (dy,)
