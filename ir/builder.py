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

    Types, with shapes and dtypes, are those that the ops infer.

    Raises:
        GraphError: by a call: a wrong number of operands.
        ShapeError, TypeMismatch: by a call: operands that do not fit the op.

    Examples:
        >>> from cauce.ir import Builder, TensorType
        >>> from cauce.ir.ops.activation import Relu
        >>> from cauce.ir.ops.elementwise import Add
        >>> graph = cauce.Graph("tiny")
        >>> x = graph.add_input("x", TensorType.make("f32", ("N", 3)))
        >>> b = Builder(graph, path="block1")
        >>> y = b(Add(), x, b(Relu(), x))
        >>> with b.at(y.node, suffix="again"):
        ...     (z,) = b.results(Relu(), y)
        >>> graph.outputs["z"] = Builder.like(z.node, suffix="last")(Relu(), z)
        >>> print(graph)
        graph tiny(%x: f32[N,3]) -> f32[N,3] {
          %block1 = relu(%x) : f32[N,3]
          %block1~1 = add(%x, %block1) : f32[N,3]
          %block1~again = relu(%block1~1) : f32[N,3]
          %block1~last = relu(%block1~again) : f32[N,3]
          return z=%block1~last
        }
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
        """Add a node; trailing operands that are None are left out. Returns all its results.

        Raises:
            GraphError: a wrong number of operands, or None before one that is given.
            ShapeError, TypeMismatch: operands that do not fit the op.
        """
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
        """Within the block, new nodes carry the path and the location of ``node``.

        Args:
            node: which one.
            suffix: instead of the one that the builder has.
        """
        saved = (self.path, self.suffix, self.loc)
        self.path, self.loc = node.path, node.loc
        self.suffix = self.suffix if suffix is None else suffix
        try:
            yield self
        finally:
            self.path, self.suffix, self.loc = saved
