"""The region op: a small graph computed as one kernel. Its meaning is its body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..builder import Builder
from ..errors import AttributeMistake, ShapeError
from ..evaluate import evaluate
from ..graph import Graph, Value
from ..op import Cost, Op, Types, Values, bytes_moved, register
from ..types import Array, TensorType


@register
@dataclass(frozen=True)
class Fused(Op):
    """y = the one output of ``body`` for these operands, computed in one go.

    Fusion makes regions of elementwise chains; nothing but speed may depend on it. A region has
    no gradient: autodiff inlines it first, which is its decomposition.
    """

    body: Graph

    name = "fused"
    operands = ("*xs",)
    elementwise = True

    def check(self) -> None:
        if len(self.body.outputs) != 1 or self.body.updates:
            raise AttributeMistake("fused: the body must have one output and no updates")

    @property
    def output(self) -> Value:
        """The value that the body returns."""
        return next(iter(self.body.outputs.values()))

    def infer(self, *xs: TensorType) -> Types:
        wanted = [value.type for value in self.body.inputs]
        if list(xs) != wanted:
            raise ShapeError(
                f"fused: the operands are {', '.join(map(str, xs))}, "
                f"the body takes {', '.join(map(str, wanted))}"
            )
        return self.output.type

    def reference(self, *xs: Array) -> Array:
        feeds = {value.name: x for value, x in zip(self.body.inputs, xs)}
        (result,) = evaluate(self.body, feeds).outputs.values()
        return result

    def symbols(self) -> frozenset[str]:
        """The dimension symbols that the body takes from the graph around it."""
        used = frozenset().union(*(node.op.symbols() for node in self.body.nodes))
        return used - self.body.symbols()

    def bind(self, bindings: Mapping[str, int]) -> Fused:
        if not self.symbols():
            return self
        body = self.body.copy()
        for node in body.nodes:
            node.op = node.op.bind(bindings)
        return Fused(body)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        mapping: dict[Value, Value] = dict(zip(self.body.inputs, operands))
        b.graph.inline(self.body, mapping, before=b.before)
        return mapping[self.output]

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        flops = sum(
            node.op.cost([v.type for v in node.operands], [v.type for v in node.results]).flops
            for node in self.body.nodes
        )
        return Cost(flops, bytes_moved(operands, results))
