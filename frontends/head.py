"""The last layer with weights of a graph, and its types for another number of outputs."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import Graph, Input, Node, Role, TensorType, Value
from ..ir.ops.conv import Conv2d
from ..ir.ops.elementwise import Add
from ..ir.ops.linear import Linear, MatMul
from ..ir.ops.shape import Transpose


@dataclass(frozen=True)
class Head:
    """A layer: ``linear`` or ``conv2d``, or a matrix product, with a bias in it or added behind it.

    Attributes:
        weight: its weight.
        axis: the dimension of the weight that the outputs are in.
        bias: its bias, [outputs] or [1, ..., outputs]; None where it has none.
    """

    weight: Input
    axis: int
    bias: Input | None

    @property
    def fan_in(self) -> int:
        """How many inputs each output sums over."""
        size = self.weight.type.size
        outputs = self.weight.type.shape[self.axis]
        assert isinstance(size, int) and isinstance(outputs, int)
        return size // outputs

    def types(self, classes: int) -> dict[str, TensorType]:
        """The types of weight and bias for another number of outputs, by name."""
        own = {self.weight: self.axis}
        if self.bias is not None:
            own[self.bias] = self.bias.type.rank - 1
        return {
            value.name: value.type.with_shape(
                classes if place == axis else dim for place, dim in enumerate(value.type.shape)
            )
            for value, axis in own.items()
        }


def find_head(graph: Graph) -> Head | None:
    """The last layer with a weight that is a parameter; None where there is none."""
    for node in graph.nodes_reversed:
        if not isinstance(node.op, (Linear, Conv2d, MatMul)):
            continue
        weight, turned = _parameter(node.operands[1])
        if weight is None or weight.type.rank < 2:
            continue
        # Both linear and conv2d have the outputs first, and a matrix product last.
        axis = int(turned) != isinstance(node.op, MatMul)
        if len(node.operands) == 3:
            bias, _ = _parameter(node.operands[2])
            if bias is not None:
                return Head(weight, int(axis), bias)
        elif weight.type.rank == 2 or isinstance(node.op, Conv2d):
            added = None if isinstance(node.op, Conv2d) else _added(node)
            return Head(weight, int(axis), added)
    return None


def _parameter(value: Value) -> tuple[Input | None, bool]:
    """The parameter that a value is, and whether it is transposed; None where it is none."""
    turned = value.node is not None and value.node.op == Transpose((1, 0))
    if turned and value.node is not None:
        value = value.node.operands[0]
    owned = isinstance(value, Input) and value.role is Role.PARAMETER
    return (value if isinstance(value, Input) and owned else None), turned


def _added(node: Node) -> Input | None:
    """The bias that is added to what a node makes, along its last dimension."""
    outputs = node.result.type.shape[-1]
    for user in node.result.users:
        for value in user.operands if isinstance(user.op, Add) else ():
            bias, turned = _parameter(value)
            if bias is None or turned or bias.type.rank == 0:
                continue
            if bias.type.shape == (*(1,) * (bias.type.rank - 1), outputs):
                return bias
    return None
