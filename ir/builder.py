"""The builder: writes nodes into a graph, for gradients, decompositions, rewrites and the DSL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import GraphError
from .graph import Graph, Node, Value
from .location import Location
from .op import Op
from .tracebacks import user_facing


@user_facing
class Builder:
    """Writes nodes with one layer path, suffix and location, at one place of a graph.

    ``b(Relu(), x)`` adds a node and returns its result; ``b.results(op, ...)`` returns all of them.

    Args:
        graph: the graph to write into.
        before: the node to insert before; the end of the graph where None.
        path: the layer path of the new nodes; the op's name where None.
        suffix: what tells the new values apart from others with that path.
        loc: the source location of the new nodes.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        before: Node | None = None,
        path: str | None = None,
        suffix: str = "",
        loc: Location | None = None,
    ) -> None:
        self.graph = graph
        self.before = before
        self.path = path
        self.suffix = suffix
        self.loc = loc

    @staticmethod
    def like(node: Node, *, before: Node | None = None, suffix: str = "") -> Builder:
        """A builder whose nodes carry the path and the location of ``node``."""
        return Builder(node.graph, before=before, path=node.path, suffix=suffix, loc=node.loc)

    def results(self, op: Op, *operands: Value | None) -> tuple[Value, ...]:
        """Add a node; trailing operands that are None are left out. Returns all its results."""
        given = list(operands)
        while given and given[-1] is None:
            given.pop()
        values = [value for value in given if value is not None]
        if len(values) != len(given):
            raise GraphError(f"{op.name}: only trailing operands can be left out")
        node = self.graph.add_node(
            op, values, path=self.path, suffix=self.suffix, loc=self.loc, before=self.before
        )
        return node.results

    def __call__(self, op: Op, *operands: Value | None) -> Value:
        """Add a node and return its first result."""
        return self.results(op, *operands)[0]

    @contextmanager
    def at(self, node: Node, suffix: str | None = None) -> Iterator[Builder]:
        """Within the block, new nodes carry the path and the location of ``node``."""
        saved = (self.path, self.suffix, self.loc)
        self.path, self.loc = node.path, node.loc
        self.suffix = self.suffix if suffix is None else suffix
        try:
            yield self
        finally:
            self.path, self.suffix, self.loc = saved
