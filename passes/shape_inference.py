"""Shape inference over a whole graph, and sizes put in the place of symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir import Graph, Op, TensorType
from ..ir.errors import AttributeMistake, CauceError, GraphError
from ..ir.graph import infer
from ..ir.pass_manager import Pass


class InferShapes(Pass):
    """Infers the types of all results again, after the types of inputs have changed.

    A region takes the types of its operands for its inputs.

    Raises:
        ShapeError, TypeMismatch: the new types do not fit an op.
    """

    name = "infer_shapes"

    def run(self, graph: Graph) -> bool:
        return _infer_all(graph, {})


class Specialize(Pass):
    """Puts sizes in the place of symbols: in the types of inputs, in attributes and in regions.

    Args:
        sizes: by the names of the symbols, ``{"H": 224, "W": 224}``.

    Raises:
        GraphError: the graph has no such symbol.
        AttributeMistake: a size below 1.
        ShapeError: the sizes do not fit an op.
    """

    sizes: Mapping[str, int]

    name = "specialize"

    def run(self, graph: Graph) -> bool:
        unknown = [name for name in self.sizes if name not in graph.symbols()]
        if unknown:
            raise GraphError(
                f"{graph.name} has no dimension called {', '.join(unknown)}",
                fix=f"its symbols are {', '.join(sorted(graph.symbols())) or 'none'}",
            )
        wrong = {name: size for name, size in self.sizes.items() if size < 1}
        if wrong:
            raise AttributeMistake(f"sizes must be at least 1, got {wrong}")
        for value in graph.inputs:
            value.type = value.type.bind(self.sizes)
        _infer_all(graph, self.sizes)
        return bool(self.sizes)


def _infer_all(graph: Graph, sizes: Mapping[str, int]) -> bool:
    """Bind the symbols in all ops, and infer all types; returns whether a type changed."""
    changed = False
    for node in graph.nodes:
        operands = [value.type for value in node.operands]
        try:
            node.op = _bound(node.op, operands, sizes)
            types = infer(node.op, *operands)
        except CauceError as error:
            error.at(node.path, node.loc)
            raise
        for value, type_ in zip(node.results, types):
            changed |= value.type != type_
            value.type = type_
    return changed


def _bound(op: Op, operands: Sequence[TensorType], sizes: Mapping[str, int]) -> Op:
    """The op with sizes for symbols, and with regions that take ``operands``.

    Regions are shared by copies of a graph, so they are copied, never changed.
    """
    regions = {
        name: _retyped(value, operands, sizes)
        for name, value in op.attributes()
        if isinstance(value, Graph)
    }
    return op.bind(sizes).with_attributes(**regions) if regions else op.bind(sizes)


def _retyped(body: Graph, operands: Sequence[TensorType], sizes: Mapping[str, int]) -> Graph:
    """A region with inputs of the types ``operands``; the same one where nothing changes."""
    twin = body.copy()
    for value, type_ in zip(twin.inputs, operands, strict=True):
        value.type = type_
    _infer_all(twin, sizes)
    return body if twin.same_as(body) else twin
