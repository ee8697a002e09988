"""The op that moves an array in memory. It means nothing, so only backends write it."""

from __future__ import annotations

from dataclasses import replace

from ..builder import Builder
from ..errors import ShapeError
from ..graph import Node, Value
from ..layout import Layout
from ..op import Gradients, Op, Values, register
from ..types import Array, TensorType


@register
class Reorder(Op):
    """y = x, lying in memory as ``layout`` says."""

    name = "reorder"
    exact = True
    operands = ("x",)
    layout: Layout

    def infer(self, x: TensorType) -> TensorType:
        if not self.layout.fits(x.rank):
            raise ShapeError(f"the layout {self.layout} does not fit {x.rank} dimensions")
        return replace(x, layout=self.layout)

    def reference(self, x: Array) -> Array:
        return x

    def decompose(self, b: Builder, *operands: Value) -> Values:
        return operands[0]

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (dy,)
