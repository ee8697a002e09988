"""Splits a graph into what depends on fixed parameters alone, run once, and the rest."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import Graph, Input, Node, Role, Value
from .contract import Interface


@dataclass
class Split:
    """The two halves of a graph.

    Attributes:
        prepare: fixed parameters in, packed values out (folded weights, say).
        main: packed values, state, hyperparameters and data in; outputs and updates out.
        packed: the inputs of ``main`` that ``prepare`` gives, by the name of its output.
    """

    prepare: Graph
    main: Graph
    packed: list[str]


def split(graph: Graph) -> Split:
    """Split ``graph``, which is left as it is."""
    prepacked = prepacked_values(graph)
    prepare = Graph(f"{graph.name}.prepare")
    before: dict[Value, Value] = {
        value: prepare.add_input(value.name, value.type, value.role)
        for value in Interface.of(graph).fixed
    }
    main = Graph(graph.name)
    after: dict[Value, Value] = {}
    for source in graph.inputs:
        if source not in before:
            after[source] = main.add_input(source.name, source.type, source.role)
    packed: list[str] = []

    def cross(value: Value) -> Value:
        """The value in ``main``: packed where ``prepare`` computes it."""
        if value not in after:
            prepare.outputs[value.name] = before[value]
            packed.append(value.name)
            after[value] = main.add_input(value.name, value.type, Role.PARAMETER)
        return after[value]

    def copy(node: Node, half: Graph, known: dict[Value, Value], operands: list[Value]) -> None:
        names, types = zip(*((value.name, value.type) for value in node.results))
        twin = half.add_node(node.op, operands, names=names, types=types, loc=node.loc)
        known.update(zip(node.results, twin.results))

    for node in graph.nodes:
        constant = not node.operands
        shared = constant and any(user.results[0] in prepacked for user in node.results[0].users)
        if shared or node.results[0] in prepacked:
            copy(node, prepare, before, [before[value] for value in node.operands])
        if constant or node.results[0] not in prepacked:
            copy(node, main, after, [cross(value) for value in node.operands])
    main.outputs = {name: cross(value) for name, value in graph.outputs.items()}
    for target, value in graph.updates.items():
        place = after[target]
        assert isinstance(place, Input)
        main.updates[place] = cross(value)
    return Split(prepare, main, packed)


def prepacked_values(graph: Graph) -> set[Value]:
    """Values that depend on fixed parameters and constants alone, on no dimension and no rank."""
    prepacked: set[Value] = set(Interface.of(graph).fixed)
    for node in graph.nodes:
        known = all(value in prepacked or _is_constant(value) for value in node.operands)
        bound = node.op.symbols() or node.op.collective
        if known and node.operands and not bound:
            prepacked.update(node.results)
    return prepacked


def _is_constant(value: Value) -> bool:
    return value.node is not None and not value.node.operands and not value.node.op.symbols()
