"""The gradient of an op as text: the nodes that its rule writes, or what it is made of."""

from __future__ import annotations

from collections.abc import Sequence

from .builder import Builder
from .errors import CauceError
from .graph import Graph, Node, Value
from .op import Op
from .text import print_node, ref
from .types import TensorType


def gradient_text(op: Op, types: Sequence[TensorType]) -> str:
    """How the gradient of the operands of an op is computed from that of its results.

    Args:
        op: the op.
        types: of its operands.

    Returns:
        Lines of the text form: the nodes, then a line for each operand that has a gradient. Where
        an op is differentiated through what it is made of, that; where it has none, why.

    >>> from .ops.activation import Relu
    >>> from .types import DType
    >>> print(gradient_text(Relu(), [TensorType(DType.F32, (8,))]))
    %constant = constant() value=dense(f32[], [0.0]) : f32[]
    %less_equal = less_equal(%y, %constant) : bool[8]
    %where = where(%less_equal, %constant, %dy) : f32[8]
    dx: %where
    """
    if op.zero_gradient:
        return "zero wherever there is one"
    graph = Graph(op.name)
    operands = [graph.add_input(name, type_) for name, type_ in zip(_names(op, len(types)), types)]
    try:
        node = graph.add_node(op, operands, names=_results(op))
        if type(op).gradient is Op.gradient and op.is_composite:
            return _decomposed(graph, node)
        return _ruled(graph, node)
    except CauceError as error:
        return error.what


def _names(op: Op, count: int) -> list[str]:
    """A name for each operand; those of a list are numbered."""
    names: list[str] = []
    for name in op.operands:
        if name.startswith("*"):
            names += [f"{name[1:]}{place}" for place in range(count - len(names))]
        else:
            names.append(name.rstrip("?"))
    return names[:count]


def _results(op: Op) -> tuple[str, ...]:
    taken = {name.strip("*?") for name in op.operands}
    return tuple(f"{name}'" if name in taken else name for name in op.results)


def _ruled(graph: Graph, node: Node) -> str:
    """What the rule of an op writes."""
    dys = [
        graph.add_input(f"d{value.name}", value.type) if value.type.dtype.is_float else None
        for value in node.results
    ]
    if not any(dys):
        return "none: its results are not floating-point"
    b = Builder(graph)
    found = list(zip(node.operands, node.op.gradient(b, node, *dys)))
    written = [other for other in graph.nodes if other is not node]
    lines = [print_node(other, locations=False) for other in written]
    lines += [_given(operand, gradient) for operand, gradient in found]
    return "\n".join(lines)


def _given(operand: Value, gradient: Value | None) -> str:
    return f"d{operand.name}: {'none' if gradient is None else ref(gradient)}"


def _decomposed(graph: Graph, node: Node) -> str:
    """What a composite is made of, whose parts are differentiated."""
    b = Builder(graph)
    made = node.op.decompose(b, *node.operands)
    values = made if isinstance(made, tuple) else (made,)
    lines = [print_node(other, locations=False) for other in graph.nodes if other is not node]
    lines += [f"{result.name}: {ref(value)}" for result, value in zip(node.results, values)]
    return "\n".join(["by the gradients of what it is made of:", *lines])
