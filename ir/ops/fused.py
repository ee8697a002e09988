"""Region ops: a small graph computed as one. The meaning of a region is its body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple, TypeVar

from ..builder import Builder
from ..dims import Dim
from ..errors import AttributeMistake, ShapeError
from ..evaluate import evaluate
from ..graph import Graph, Node, Value
from ..op import Op, Types, Values, register
from ..types import Array, TensorType

RegionT = TypeVar("RegionT", bound="Region")


class Region(Op):
    """Base of region ops: y = the one output of ``body`` for these operands.

    A region has no gradient: autodiff inlines it first, which is its decomposition.
    """

    body: Graph

    def check(self) -> None:
        if len(self.body.outputs) != 1 or self.body.updates:
            raise AttributeMistake(f"{self.name}: the body must have one output and no updates")

    @property
    def output(self) -> Value:
        """The value that the body returns."""
        return next(iter(self.body.outputs.values()))

    def infer(self, *xs: TensorType) -> Types:
        wanted = [value.type for value in self.body.inputs]
        if list(xs) != wanted:
            raise ShapeError(
                f"{self.name}: the operands are {', '.join(map(str, xs))}, "
                f"the body takes {', '.join(map(str, wanted))}"
            )
        return self.output.type

    def reference(self, *xs: Array) -> Array:
        feeds = {
            value.name: x.astype(value.type.dtype.numpy, copy=False)  # f16 comes in f32
            for value, x in zip(self.body.inputs, xs)
        }
        (result,) = evaluate(self.body, feeds).outputs.values()
        return result

    def symbols(self) -> frozenset[str]:
        """The dimension symbols that the body takes from the graph around it.

        Operands tell the others. One of (H + 1)//2 rows does not tell H.
        """
        used = frozenset().union(*(node.op.symbols() for node in self.body.nodes))
        sizes = {str(dim) for value in self.body.inputs for dim in value.type.shape}
        return used - sizes

    def bind(self: RegionT, bindings: Mapping[str, int]) -> RegionT:
        if not self.symbols():
            return self
        body = self.body.copy()
        for node in body.nodes:
            node.op = node.op.bind(bindings)
        return replace(self, body=body)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        mapping: dict[Value, Value] = dict(zip(self.body.inputs, operands))
        b.graph.inline(self.body, mapping, before=b.before)
        return mapping[self.output]

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return sum(node.cost.flops for node in self.body.nodes)


@register
class Fused(Region):
    """y = the one output of ``body``, a chain of elementwise ops, computed in one go.

    Nothing but speed may depend on it.
    """

    name = "fused"
    operands = ("*xs",)
    elementwise = True


class KernelStage(NamedTuple):
    """One anchor op of a kernel with the elementwise nodes around it.

    Attributes:
        prologue: what makes the operands of the anchor, in order.
        anchor: a convolution, say.
        epilogue: what is made of its result, in order.
        places: which operands of the kernel the anchor reads, in its order, and behind them those
            that the prologue reads.
    """

    prologue: tuple[Node, ...]
    anchor: Node
    epilogue: tuple[Node, ...]
    places: tuple[int, ...]


@register
class Kernel(Region):
    """y = the one output of ``body``, which a backend compiles as one kernel.

    The body is a chain of stages, each of which the backend can hold in registers: a convolution
    and the elementwise ops behind it, say. A backend forms kernels when it lowers a graph.

    Attributes:
        anchors: where the anchors of the stages stand in the body. Before the first lies its
            prologue, behind each its epilogue.
    """

    name = "kernel"
    operands = ("*xs",)
    anchors: tuple[int, ...] = (0,)

    def check(self) -> None:
        super().check()
        count = sum(1 for _ in self.body.nodes)
        places = list(self.anchors)
        if not places or sorted(set(places)) != places or not 0 <= places[0] <= places[-1] < count:
            raise AttributeMistake(f"kernel: anchors are places among {count} nodes, got {places}")

    @cached_property
    def stages(self) -> tuple[KernelStage, ...]:
        """The stages, in order; the body of a kernel stays as it is."""
        nodes = list(self.body.nodes)
        inputs: dict[Value, int] = {value: place for place, value in enumerate(self.body.inputs)}
        found = []
        begins, ends = (0, *self.anchors[1:]), (*self.anchors[1:], len(nodes))
        for begin, anchor, end in zip(begins, self.anchors, ends):
            before = tuple(nodes[begin:anchor])
            own = [inputs[value] for value in nodes[anchor].operands if value in inputs]
            read = {value for node in before for value in node.operands}
            places = (*own, *(place for value, place in inputs.items() if value in read))
            found.append(KernelStage(before, nodes[anchor], tuple(nodes[anchor + 1 : end]), places))
        return tuple(found)


def enclose(
    members: Sequence[Node],
    region: Callable[[Graph], Region],
    inside: Sequence[Value] = (),
) -> Node:
    """Replace nodes by one region node in the place of the last, whose result it takes over.

    Args:
        members: in order; nothing but they may read the results of all but the last. Regions among
            them are taken apart.
        region: makes the op of the new node from the body.
        inside: constants that the body holds itself.

    Returns:
        The new node.
    """
    from ..rewrite import rewrite_node  # which a program that finds its code does without

    root = members[-1]
    values = dict.fromkeys(value for node in members for value in node.operands)
    own = {node.result for node in members}
    operands = [value for value in values if value not in own and value not in inside]
    body = Graph(root.path)
    known: dict[Value, Value] = {
        value: body.add_input(value.name, value.type) for value in operands
    }
    makers = [value.node for value in inside if value.node is not None]
    for node in (*makers, *members):
        inputs = [known[value] for value in node.operands]
        if isinstance(node.op, Region):
            inner: dict[Value, Value] = dict(zip(node.op.body.inputs, inputs))
            body.inline(node.op.body, inner)
            known[node.result] = inner[node.op.output]
        else:
            path, _, suffix = node.result.name.partition("~")
            copy = body.add_node(node.op, inputs, path=path, suffix=suffix, loc=node.loc)
            known[node.result] = copy.result
    output = known[root.result]
    body.outputs = {output.name: output}
    (node,) = rewrite_node(root, lambda b: b(region(body), *operands))
    return node
