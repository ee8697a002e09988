"""Running one op on arrays: as it is, decomposed down to primitives, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from cauce.ir import Array, Builder, Graph, Op, TensorType, Value, evaluate, verify
from cauce.ir.ops.elementwise import Add, Mul
from cauce.ir.ops.reduce import Sum
from cauce.ir.rewrite import decompose
from cauce.passes.autodiff import gradients


def graph_on(op: Op, types: Sequence[TensorType]) -> Graph:
    """A graph of ``op`` on inputs ``x0``, ``x1``, ..., with all its results as outputs."""
    graph = Graph()
    inputs = [graph.add_input(f"x{i}", type_) for i, type_ in enumerate(types)]
    graph.outputs = {value.name: value for value in Builder(graph).results(op, *inputs)}
    return graph


def run_graph(graph: Graph, operands: Sequence[Array]) -> list[Array]:
    """The outputs of a graph, verified first, whose inputs are ``operands`` in order."""
    verify(graph)
    feeds = {value.name: operand for value, operand in zip(graph.inputs, operands, strict=True)}
    return list(evaluate(graph, feeds).outputs.values())


def run(op: Op, *operands: Array) -> list[Array]:
    """The results of ``op`` by its reference."""
    return run_graph(graph_on(op, [TensorType.of(x) for x in operands]), operands)


def run_primitives(op: Op, *operands: Array) -> list[Array]:
    """The results of ``op`` by the references of the primitives it is made of."""
    graph = graph_on(op, [TensorType.of(x) for x in operands])
    while composites := [node for node in graph.nodes if node.op.is_composite]:
        for node in composites:
            decompose(node)
    return run_graph(graph, operands)


def add_gradients(graph: Graph, chosen: Sequence[bool]) -> list[Value | None]:
    """Replace the outputs by d (sum over the chosen outputs of output * dy) / d input, if any.

    Every dy is a new input at the end. Returns the gradient of each of the old inputs.
    """
    inputs, b, terms = list(graph.inputs), Builder(graph), []
    for value, take in zip(graph.outputs.values(), chosen, strict=True):
        if take:
            dy = graph.add_input(f"dy{len(graph.inputs)}", value.type)
            terms.append(b(Sum(), b(Mul(), value, dy)))
    loss = reduce(lambda left, right: b(Add(), left, right), terms)
    grads = gradients(graph, loss, inputs)
    graph.outputs = {f"grad{i}": grad for i, grad in enumerate(grads) if grad is not None}
    return grads


def run_gradients(
    op: Op, operands: Sequence[Array], dys: Sequence[Array | None]
) -> list[Array | None]:
    """d (sum over results of result * dy) / d operand for each; None where there is none."""
    graph = graph_on(op, [TensorType.of(x) for x in operands])
    grads = add_gradients(graph, [dy is not None for dy in dys])
    arrays = iter(run_graph(graph, [*operands, *(dy for dy in dys if dy is not None)]))
    return [None if grad is None else next(arrays) for grad in grads]
