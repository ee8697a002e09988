"""Graphs: typed values in SSA form, the nodes that compute them, inputs with roles, updates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .dims import symbols
from .errors import CauceError, GraphError, did_you_mean
from .location import Location
from .node import Input as Input
from .node import Node as Node
from .node import Role as Role
from .node import Value as Value
from .node import check_arity as check_arity
from .node import infer as infer
from .op import Op
from .tracebacks import user_facing
from .types import Array, TensorType

if TYPE_CHECKING:
    import networkx


class Graph:
    """A network, or any other computation, as a list of nodes.

    Every value has a type: a dtype and a shape of ints and symbols.

    Attributes:
        name: what the graph is called.
        inputs: values from outside, in calling order.
        outputs: values that leave, in order, each with its name.
        updates: the new value of an input (a parameter or state) that is replaced in place when
            the graph has run: an alias pair.

    Examples:
        >>> from cauce.ir import Role, TensorType
        >>> from cauce.ir.ops.activation import Relu
        >>> graph = cauce.Graph("tiny")
        >>> x = graph.add_input("x", TensorType.make("f32", ("N", 3)))
        >>> node = graph.add_node(Relu(), [x], path="relu1")
        >>> graph.outputs["y"] = node.results[0]
        >>> print(graph)
        graph tiny(%x: f32[N,3]) -> f32[N,3] {
          %relu1 = relu(%x) : f32[N,3]
          return y=%relu1
        }
        >>> graph.value("relu1") is node.results[0], graph.leaves(node.results[0])
        (True, True)
        >>> list(graph.nodes) == list(graph.nodes_reversed) == [node], graph.is_free("x")
        (True, False)
        >>> [value.name for value in graph.values]
        ['x', 'relu1']
        >>> graph.inputs_with(Role.DATA) == [x], graph.symbols(), graph.unique_name("relu1", "grad")
        (True, frozenset({'N'}), 'relu1~grad')
        >>> twin = graph.copy(types={"x": TensorType.make("f32", (2, 3))})
        >>> graph.same_as(twin), graph.diff(graph.copy())
        (False, '')
        >>> second = graph.add_node(Relu(), [x], path="relu2", before=node)
        >>> graph.move(second, before=node)
        >>> graph.replace(node.results[0], second.results[0])
        >>> graph.erase(node)
        >>> graph.rename(second.results[0], "y")
        >>> spare = graph.add_input("spare", TensorType.make("f32", ()))
        >>> graph.remove_input(spare)
        >>> graph.inline(twin, {twin.inputs[0]: x})
        >>> graph.verify()
        >>> print(graph.to_text(locations=False))
        graph tiny(%x: f32[N,3]) -> f32[N,3] {
          %y = relu(%x) : f32[N,3]
          %relu1 = relu(%x) : f32[N,3]
          return %y
        }
        >>> graph.constants(), sorted(graph.to_networkx())
        ({}, ['relu1', 'x', 'y'])
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs: list[Input] = []
        self.outputs: dict[str, Value] = {}
        self.updates: dict[Input, Value] = {}
        self._first: Node | None = None
        self._last: Node | None = None
        self._names: dict[str, int] = {}

    # ---- reading -------------------------------------------------------------------------------

    @property
    def nodes(self) -> Iterator[Node]:
        """The nodes in order; a node may be erased while it is the current one."""
        node = self._first
        while node is not None:
            following = node._next
            yield node
            node = following

    @property
    def nodes_reversed(self) -> Iterator[Node]:
        """The nodes, last first; a node may be erased while it is the current one."""
        node = self._last
        while node is not None:
            preceding = node._prev
            yield node
            node = preceding

    @property
    def values(self) -> Iterator[Value]:
        """All values: inputs, then results in order."""
        yield from self.inputs
        for node in self.nodes:
            yield from node.results

    def inputs_with(self, *roles: Role) -> list[Input]:
        """The inputs that have one of the roles."""
        return [value for value in self.inputs if value.role in roles]

    @user_facing
    def value(self, name: str) -> Value:
        """The value called ``name``.

        Raises:
            GraphError: there is none.
        """
        for value in self.values:
            if value.name == name:
                return value
        raise GraphError(
            f"graph {self.name} has no value called {name!r}",
            fix=did_you_mean(
                name, (value.name for value in self.values), "print the graph to see its values"
            ),
        )

    def symbols(self) -> frozenset[str]:
        """The names of the dimension symbols in the types of the inputs."""
        dims = (dim for value in self.inputs for dim in value.type.shape)
        return frozenset().union(*(symbols(dim) for dim in dims))

    def leaves(self, value: Value) -> bool:
        """Whether ``value`` is an output or an update."""
        outputs = any(output is value for output in self.outputs.values())
        return outputs or any(update is value for update in self.updates.values())

    # ---- writing -------------------------------------------------------------------------------

    def unique_name(self, path: str, suffix: str = "") -> str:
        """A value name that is free: ``path``, or ``path~suffix``, with a number where needed."""
        base = f"{path}~{suffix}" if suffix else path
        count = self._names.get(base)
        if count is None:
            self._names[base] = 1
            return base
        while True:
            name = f"{base}{count}" if suffix else f"{base}~{count}"
            count += 1
            if name not in self._names:
                self._names[base] = count
                self._names[name] = 1
                return name

    def is_free(self, name: str) -> bool:
        """Whether no value has this name."""
        return name not in self._names

    @user_facing
    def add_input(self, name: str, type: TensorType, role: Role = Role.DATA) -> Input:
        """A new input.

        Raises:
            GraphError: the name is taken.
        """
        if name in self._names:
            raise GraphError(
                f"graph {self.name} has a value called {name!r} already",
                fix="give each input and each layer a name of its own",
            )
        value = Input(self.unique_name(name), type, role)
        self.inputs.append(value)
        return value

    @user_facing
    def add_node(
        self,
        op: Op,
        operands: Iterable[Value],
        *,
        path: str | None = None,
        suffix: str = "",
        names: tuple[str, ...] | None = None,
        types: tuple[TensorType, ...] | None = None,
        loc: Location | None = None,
        before: Node | None = None,
    ) -> Node:
        """Add a node at the end, or before another, and infer the types of its results.

        Args:
            op: the op with its attributes.
            operands: values of this graph.
            path: the layer path; the op's name where None.
            suffix: what tells apart several values with the same path (``grad``).
            names: the exact names of the results, instead of path and suffix.
            types: of the results, with layouts, where a node is copied: inferred where None.
            loc: where the user wrote it.
            before: the node to insert before.

        Raises:
            GraphError: a wrong number of operands.
            ShapeError, TypeMismatch: the operands do not fit the op.
        """
        operands = tuple(operands)
        path = op.name if path is None else path
        try:
            check_arity(op, len(operands))
            types = types or infer(op, *(value.type for value in operands))
        except CauceError as error:
            error.at(names[0].partition("~")[0] if names else path, loc)
            raise
        if names is None:
            names = self._result_names(op, path, suffix)
        else:
            for name in names:
                if name in self._names or names.count(name) > 1:
                    raise GraphError(f"graph {self.name} has a value called {name!r} already")
            self._names.update(dict.fromkeys(names, 1))
        node = Node(self, op, operands, loc)
        node.results = tuple(Value(name, type_, node) for name, type_ in zip(names, types))
        self._link(node, before)
        return node

    def _result_names(self, op: Op, path: str, suffix: str) -> tuple[str, ...]:
        names = [self.unique_name(path, suffix)]
        for result in op.results[1:]:
            names.append(self.unique_name(path, f"{suffix}.{result}" if suffix else result))
        return tuple(names)

    def _link(self, node: Node, before: Node | None) -> None:
        after = self._last if before is None else before._prev
        node._prev, node._next = after, before
        if after is None:
            self._first = node
        else:
            after._next = node
        if before is None:
            self._last = node
        else:
            before._prev = node

    def _unlink(self, node: Node) -> None:
        if node._prev is None:
            self._first = node._next
        else:
            node._prev._next = node._next
        if node._next is None:
            self._last = node._prev
        else:
            node._next._prev = node._prev

    @user_facing
    def erase(self, node: Node) -> None:
        """Remove a node that nothing reads.

        Raises:
            GraphError: something still reads one of its results.
        """
        for value in node.results:
            if value.users or self.leaves(value):
                raise GraphError(f"%{value.name} cannot be erased: it is still used")
        node.operands = ()
        self._unlink(node)
        for value in node.results:
            del self._names[value.name]

    def move(self, node: Node, before: Node) -> None:
        """Let a node come right before another; the order must stay one that they can run in."""
        self._unlink(node)
        self._link(node, before)

    def replace(self, old: Value, new: Value) -> None:
        """Let everything that reads ``old`` read ``new``: nodes, outputs and updates."""
        for user in dict.fromkeys(old.users):
            user.operands = tuple(new if value is old else value for value in user.operands)
        for name, value in self.outputs.items():
            if value is old:
                self.outputs[name] = new
        for target, value in self.updates.items():
            if value is old:
                self.updates[target] = new

    def take_over(self, old: Value, new: Value) -> None:
        """Let ``old``, with its name and readers, be the result of the node that makes ``new``.

        ``new`` is gone afterwards, and the node that made ``old`` has one result less.

        Examples:
            >>> text = "graph g(%x: f32[N]) -> f32[N] { %a = relu(%x) : f32[N] "
            >>> graph = cauce.parse(text + "%b = abs(%x) : f32[N] return %a }")
            >>> graph.take_over(graph.value("a"), graph.value("b"))
            >>> graph.outputs["a"].node.op.name, graph.is_free("b")
            ('abs', True)
        """
        self.replace(new, old)
        maker, former = new.node, old.node
        assert maker is not None and former is not None
        maker.results = tuple(old if value is new else value for value in maker.results)
        former.results = tuple(value for value in former.results if value is not old)
        old.node = maker
        del self._names[new.name]

    @user_facing
    def remove_input(self, value: Input) -> None:
        """Remove an input that nothing reads.

        Raises:
            GraphError: something still reads it, or it is updated.
        """
        if value.users or value in self.updates or self.leaves(value):
            raise GraphError(f"input {value.name} cannot be removed: it is still used")
        self.inputs.remove(value)
        del self._names[value.name]

    @user_facing
    def rename(self, value: Value, name: str) -> None:
        """Give a value another name.

        Raises:
            GraphError: the name is taken.
        """
        if name in self._names:
            raise GraphError(f"graph {self.name} has a value called {name!r} already")
        del self._names[value.name]
        self._names[name] = 1
        value.name = name

    # ---- whole graphs --------------------------------------------------------------------------

    @user_facing
    def copy(self, name: str | None = None, types: Mapping[str, TensorType] | None = None) -> Graph:
        """A copy that shares ops, types and constants, but no value or node.

        Args:
            name: of the copy; the same where None.
            types: new types for some of the inputs, by name; all results are inferred from them.
                Without, all types stay, with the layouts on them.

        Raises:
            ShapeError, TypeMismatch: the new types do not fit an op.
        """
        types = types or {}
        twin = Graph(self.name if name is None else name)
        mapping: dict[Value, Value] = {
            value: twin.add_input(value.name, types.get(value.name, value.type), value.role)
            for value in self.inputs
        }
        twin.inline(self, mapping, keep_names=True, keep_types=not types)
        twin.outputs = {name: mapping[value] for name, value in self.outputs.items()}
        for target, value in self.updates.items():
            twin_target = mapping[target]
            assert isinstance(twin_target, Input)
            twin.updates[twin_target] = mapping[value]
        return twin

    def __copy__(self) -> Graph:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        from .travel import flat

        return flat(self)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        from .travel import rebuild

        rebuild(self, state)

    def inline(
        self,
        body: Graph,
        mapping: dict[Value, Value],
        *,
        before: Node | None = None,
        keep_names: bool = False,
        keep_types: bool = False,
    ) -> None:
        """Copy the nodes of ``body`` into this graph; ``mapping`` gives its inputs, and is filled.

        Names that are taken get a number; with ``keep_names`` a taken name is an error. Types are
        inferred, without layouts; with ``keep_types`` they are those of the body.
        """
        for node in body.nodes:
            names = tuple(value.name for value in node.results)
            if not keep_names:
                names = tuple(
                    self.unique_name(*value.name.partition("~")[::2]) for value in node.results
                )
                for name in names:
                    del self._names[name]
            twin = self.add_node(
                node.op,
                (mapping[value] for value in node.operands),
                names=names,
                types=tuple([value.type for value in node.results]) if keep_types else None,
                loc=node.loc,
                before=before,
            )
            mapping.update(zip(node.results, twin.results))

    def constants(self) -> dict[str, Array]:
        """The constants too large to be printed, by digest; the side file of the text form."""
        from .text import large_constants

        return large_constants(self)

    def to_text(self, locations: bool = True) -> str:
        """The text form; ``parse`` reads it back."""
        from .text import print_graph

        return print_graph(self, locations=locations)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<graph {self.name}: {sum(1 for _ in self.nodes)} nodes>"

    def _repr_html_(self) -> str | None:
        """The graph for a notebook, to be looked at."""
        from .display import html_of

        return html_of("graph", self)

    def diff(self, other: Graph) -> str:
        """What ``other`` has otherwise, as a unified diff of the text forms without locations.

        Empty where both graphs are the same.
        """
        import difflib

        mine = self.to_text(locations=False).splitlines()
        theirs = other.to_text(locations=False).splitlines()
        return "\n".join(difflib.unified_diff(mine, theirs, self.name, other.name, lineterm=""))

    def same_as(self, other: Graph) -> bool:
        """Whether both graphs have the same text form, source locations aside."""
        return self.to_text(locations=False) == other.to_text(locations=False)

    def verify(self) -> None:
        """Check everything that can be wrong; see :func:`cauce.ir.verify.verify`."""
        from .verify import verify

        verify(self)

    def to_networkx(self) -> networkx.MultiDiGraph[Any]:
        """The graph as networkx sees it: nodes are value names, edges go from operand to result.

        Node attributes: ``type``, ``op`` (None for inputs) and ``role`` (None for results).
        """
        import networkx

        graph: networkx.MultiDiGraph[Any] = networkx.MultiDiGraph(name=self.name)
        for source in self.inputs:
            graph.add_node(source.name, type=source.type, op=None, role=source.role)
        for node in self.nodes:
            for value in node.results:
                graph.add_node(value.name, type=value.type, op=node.op, role=None)
                for place, operand in enumerate(node.operands):
                    graph.add_edge(operand.name, value.name, operand=place)
        return graph
