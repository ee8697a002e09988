"""What graphs are made of: values, inputs with roles, and nodes."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from .errors import GraphError
from .location import Location
from .op import Cost, Op
from .types import TensorType

if TYPE_CHECKING:
    from .graph import Graph


class Role(enum.Enum):
    """What an input is for.

    Data of each call, a parameter that is trained, state that a run updates (running statistics),
    or a hyperparameter (a learning rate).

    Examples:
        >>> graph = models.lenet5.graph(image=("N", 1, 28, 28))
        >>> [value.name for value in graph.inputs_with(cauce.ir.Role.DATA)]
        ['image']
    """

    DATA = "data"
    PARAMETER = "parameter"
    STATE = "state"
    HYPERPARAMETER = "hyperparameter"


class Value:
    """A tensor in a graph: the result of a node, or an :class:`Input`.

    Attributes:
        name: unique in its graph; the part before ``~`` is the layer path.
        type: dtype and shape.
        node: the node whose result this is; None for an input.
        users: the nodes that read it, one entry for each operand place.

    Examples:
        >>> graph = models.lenet5.graph(image=("N", 1, 28, 28))
        >>> conv = graph.value("c1")
        >>> conv, conv.path, conv.node.op.name, [node.path for node in conv.users]
        (<%c1: f32[N,6,28,28]>, 'c1', 'conv2d', ['relu1'])
        >>> conv.loc is conv.node.loc
        True
    """

    __slots__ = ("name", "node", "type", "users")

    def __init__(self, name: str, type: TensorType, node: Node | None = None) -> None:
        self.name = name
        self.type = type
        self.node = node
        self.users: list[Node] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """A value travels as a part of its graph, which is flat there: see :mod:`.travel`."""
        if self.node is None:
            raise GraphError(f"%{self.name} is the result of no node")
        return value_of, (self.node.graph, self.name)

    @property
    def path(self) -> str:
        """The layer path: ``stage2.block1.conv1``."""
        return self.name.partition("~")[0]

    @property
    def loc(self) -> Location | None:
        """Where the user wrote the node that makes this value."""
        return self.node.loc if self.node else None

    def __repr__(self) -> str:
        return f"<%{self.name}: {self.type}>"


class Input(Value):
    """A value that comes from outside, of a shape and dtype.

    Attributes:
        role: a :class:`Role`.

    Args:
        name: unique in its graph; :meth:`Graph.add_input` makes one and checks it.
        type: dtype and shape.
        role: what it is for.

    Examples:
        >>> graph = models.lenet5.graph(image=("N", 1, 28, 28))
        >>> graph.value("image"), graph.value("c1.bias")
        (<%image: f32[N,1,28,28] data>, <@c1.bias: f32[6] parameter>)
    """

    __slots__ = ("role",)

    def __init__(self, name: str, type: TensorType, role: Role) -> None:
        super().__init__(name, type)
        self.role = role

    def __reduce__(self) -> tuple[Any, ...]:
        """As a part of the graph that reads it; alone where none does."""
        if self.users:
            return value_of, (self.users[0].graph, self.name)
        return Input, (self.name, self.type, self.role)

    def __repr__(self) -> str:
        sigil = "%" if self.role is Role.DATA else "@"
        return f"<{sigil}{self.name}: {self.type} {self.role.value}>"


class Node:
    """One application of an op. Nodes of a graph form a list in an order they can run in.

    :meth:`Graph.add_node` and :class:`Builder` make them; shapes and dtypes are inferred there.

    Attributes:
        graph: whose node it is.
        op: what it computes, with its attributes.
        results: its values.
        loc: where the user wrote it; None where that is not known.

    Args:
        graph: see above.
        op: see above.
        operands: the values that it reads.
        loc: see above.

    Examples:
        >>> graph = models.lenet5.graph(image=("N", 1, 28, 28))
        >>> relu = graph.value("relu1").node
        >>> relu, relu.operands, relu.result, relu.path
        (<%relu1 = relu(%c1)>, (<%c1: f32[N,6,28,28]>,), <%relu1: f32[N,6,28,28]>, 'relu1')
        >>> relu.cost.flops
        <dim 4704*N>
        >>> relu.replace_operand(0, graph.value("c1"))
    """

    __slots__ = ("_next", "_operands", "_prev", "graph", "loc", "op", "results")

    def __init__(self, graph: Graph, op: Op, operands: tuple[Value, ...], loc: Location | None):
        self.graph = graph
        self.op = op
        self.loc = loc
        self.results: tuple[Value, ...] = ()
        self._operands = operands
        self._prev: Node | None = None
        self._next: Node | None = None
        for operand in operands:
            operand.users.append(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return node_of, (self.graph, self.results[0].name)

    @property
    def operands(self) -> tuple[Value, ...]:
        """The values the node reads."""
        return self._operands

    @operands.setter
    def operands(self, operands: tuple[Value, ...]) -> None:
        for operand in self._operands:
            operand.users.remove(self)
        self._operands = operands
        for operand in operands:
            operand.users.append(self)

    @property
    def result(self) -> Value:
        """The only result.

        Raises:
            GraphError: the node has several.
        """
        if len(self.results) != 1:
            raise GraphError(f"{self.op.name} has {len(self.results)} results, not one")
        return self.results[0]

    @property
    def path(self) -> str:
        """The layer path of the node."""
        return self.results[0].path

    @property
    def cost(self) -> Cost:
        """Floating-point operations and bytes of one evaluation."""
        operands, results = (
            [value.type for value in values] for values in (self.operands, self.results)
        )
        return self.op.cost(operands, results)

    def replace_operand(self, place: int, value: Value) -> None:
        """Read ``value`` as the operand at a place."""
        self.operands = (*self._operands[:place], value, *self._operands[place + 1 :])

    def __repr__(self) -> str:
        results = ", ".join(f"%{value.name}" for value in self.results)
        operands = ", ".join(f"%{value.name}" for value in self.operands)
        return f"<{results} = {self.op.name}({operands})>"


def value_of(graph: Graph, name: str) -> Value:
    """The value of a graph with that name."""
    return graph.value(name)


def node_of(graph: Graph, name: str) -> Node:
    """The node of a graph whose result has that name."""
    node = graph.value(name).node
    assert node is not None, f"%{name} is an input"
    return node


def check_arity(op: Op, count: int) -> None:
    """Whether ``op`` takes ``count`` operands.

    Raises:
        GraphError: it does not.
    """
    least, most = op.arity()
    if count < least or (most is not None and count > most):
        several = f"{least} or more" if most is None else f"{least} to {most}"
        wanted = str(least) if most == least else several
        operands = "operand" if wanted == "1" else "operands"
        raise GraphError(
            f"{op.name} takes {wanted} {operands} ({', '.join(op.operands)}), got {count}",
            fix="give one value for each; those with ? may be left out, * stands for any number",
        )


def infer(op: Op, *types: TensorType) -> tuple[TensorType, ...]:
    """The result types of ``op``, always as a tuple."""
    result = op.infer(*types)
    return result if isinstance(result, tuple) else (result,)
