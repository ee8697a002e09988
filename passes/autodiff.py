"""Reverse-mode differentiation: one walk back through the graph that writes gradient nodes into it.

Griewank and Walther 2008, "Evaluating Derivatives", chapter 3. Regions and composite ops without a
gradient of their own are replaced by what they are made of first.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Graph, Literal, Node, Op, Value
from ..ir.errors import CauceError, GraphError, ShapeError, TypeMismatch
from ..ir.ops.constant import Constant
from ..ir.ops.elementwise import Add
from ..ir.rewrite import decompose
from .properties import is_dead


def gradients(graph: Graph, loss: Value, wrt: Sequence[Value]) -> list[Value | None]:
    """Write d loss / d value for every value of ``wrt`` into ``graph``.

    Gradients that a rule writes beside those asked for, and nothing reads, do not stay.

    Args:
        graph: the graph of ``loss``; gradient nodes are added at its end.
        loss: a floating-point scalar of the graph.
        wrt: values of the graph.

    Returns:
        For every value of ``wrt`` its gradient, with its type; None where ``loss`` does not
        depend on it in a differentiable way.

    Raises:
        ShapeError: ``loss`` is not a scalar.
        TypeMismatch: ``loss`` is not floating-point.
        UnsupportedOp: an op on the way has no gradient.
    """
    if loss.type.shape != ():
        raise ShapeError(
            f"the loss must be a scalar, %{loss.name} is {loss.type}",
            fix="reduce it with mean() or sum()",
            path=loss.path,
            loc=loss.loc,
        )
    if not loss.type.dtype.is_float:
        raise TypeMismatch(
            f"the loss must be floating-point, %{loss.name} is {loss.type}",
            fix="cast to f32 what it is computed from; what only counts has no gradient",
            path=loss.path,
            loc=loss.loc,
        )
    if not any(value is loss for value in graph.values):
        raise GraphError(
            f"%{loss.name} is not in graph {graph.name}", fix="take both from one graph"
        )
    on_path, loss, wrt = _expand(graph, loss, wrt)
    earlier = set(graph.nodes)
    b = Builder(graph, suffix="grad")
    grads: dict[Value, Value] = {}
    b.path, b.loc = loss.path, loss.loc
    grads[loss] = b(Constant(Literal(1.0, loss.type.dtype)))
    for node in on_path:
        dys = [grads.get(value) for value in node.results]
        if not any(dys):
            continue
        try:
            with b.at(node):
                for operand, grad in zip(node.operands, node.op.gradient(b, node, *dys)):
                    if grad is not None:
                        _accumulate(b, grads, operand, grad, node)
        except CauceError as error:
            error.at(node.path, node.loc)
            raise
    found = [grads.get(value) for value in wrt]
    for node in graph.nodes_reversed:
        if node not in earlier and is_dead(node) and not {*node.results} & {*found}:
            graph.erase(node)
    return found


def _accumulate(
    b: Builder, grads: dict[Value, Value], operand: Value, grad: Value, node: Node
) -> None:
    if grad.type != operand.type:
        raise GraphError(
            f"the gradient rule of {node.op.name} gives {grad.type} for an operand {operand.type}",
            path=node.path,
            loc=node.loc,
        )
    known = grads.get(operand)
    grads[operand] = grad if known is None else b(Add(), known, grad)


def _expand(
    graph: Graph, loss: Value, wrt: Sequence[Value]
) -> tuple[list[Node], Value, list[Value]]:
    """Decompose what must be; returns the nodes between ``wrt`` and the loss, last first.

    The loss and ``wrt`` may themselves be results of what is decomposed: temporary outputs follow
    them to their new values.
    """
    marks = {f"~followed {place}": value for place, value in enumerate((loss, *wrt))}
    graph.outputs.update(marks)
    try:
        while True:
            loss, *wrt = (graph.outputs[mark] for mark in marks)
            path = _path(graph, loss, wrt)
            without = [node for node in path if not _differentiates(node.op)]
            if not without:
                return path, loss, wrt
            for node in without:
                decompose(node)
    finally:
        for mark in marks:
            del graph.outputs[mark]


def _differentiates(op: Op) -> bool:
    """Whether the op answers for its gradient itself (a primitive without one says so there)."""
    return type(op).gradient is not Op.gradient or not op.is_composite or op.zero_gradient


def _path(graph: Graph, loss: Value, wrt: Sequence[Value]) -> list[Node]:
    """The nodes that depend on ``wrt`` and that ``loss`` depends on, last first."""
    active = set(wrt)
    for node in graph.nodes:
        if any(value in active for value in node.operands):
            active.update(node.results)
    needed = {loss}
    path = []
    for node in graph.nodes_reversed:
        if any(value in needed and value in active for value in node.results):
            path.append(node)
            needed.update(node.operands)
    return path
