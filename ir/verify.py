"""The verifier: everything that can be wrong in a graph, found and named."""

from __future__ import annotations

from .dims import symbols
from .errors import CauceError, VerifyError
from .graph import Graph, Input, Node, Role, Value, check_arity, infer
from .op import is_registered
from .tracebacks import user_facing


@user_facing
def verify(graph: Graph, outer_symbols: frozenset[str] = frozenset()) -> None:
    """Check names, operands, order, types, symbols, outputs, updates and regions.

    Types, with dtypes and shapes, must be those that the ops infer.

    Args:
        graph: what to check.
        outer_symbols: dimension symbols known from the graph around a region.

    Raises:
        VerifyError: the first thing found wrong, with its node, its line and both types.

    Examples:
        >>> graph = models.lenet5.graph(image=("N", 1, 28, 28))
        >>> cauce.verify(graph)
    """
    known_symbols = outer_symbols | graph.symbols()
    defined: set[int] = set()
    names: set[str] = set()

    def define(value: Value) -> None:
        if value.name in names:
            raise VerifyError(f"two values are called {value.name!r}", path=value.path)
        names.add(value.name)
        defined.add(id(value))

    for source in graph.inputs:
        if source.node is not None:
            raise VerifyError(f"input {source.name} is also the result of a node", path=source.path)
        define(source)
    users: dict[int, list[Node]] = {}
    for node in graph.nodes:
        try:
            _verify_node(graph, node, defined, known_symbols)
        except CauceError as error:
            error.at(node.path, node.loc)
            raise
        for operand in node.operands:
            users.setdefault(id(operand), []).append(node)
        for value in node.results:
            define(value)
    for value in graph.values:
        if sorted(map(id, value.users)) != sorted(map(id, users.get(id(value), []))):
            raise VerifyError(
                f"%{value.name}: its list of users is not what the nodes read",
                path=value.path,
                loc=value.loc,
            )
    _verify_ends(graph, defined)


def _verify_node(graph: Graph, node: Node, defined: set[int], known: frozenset[str]) -> None:
    op = node.op
    if not is_registered(op):
        raise VerifyError(f"op {op.name} is not registered", fix="decorate its class: @register")
    if node.graph is not graph:
        raise VerifyError(f"{op.name} belongs to another graph")
    check_arity(op, len(node.operands))
    for operand in node.operands:
        if id(operand) not in defined:
            raise VerifyError(f"{op.name} reads %{operand.name}, which is not defined before it")
    unknown = op.symbols() - known
    if unknown:
        raise VerifyError(
            f"{op.name} uses the dimension {', '.join(sorted(unknown))}, which no input has",
            fix=f"the inputs have {', '.join(sorted(known)) or 'sizes in numbers alone'}",
        )
    for region in op.regions():
        verify(region, known)
    types = infer(op, *(value.type for value in node.operands))
    if len(types) != len(node.results) or len(types) != len(op.results):
        raise VerifyError(f"{op.name} has {len(node.results)} results, its types are {len(types)}")
    for value, type_ in zip(node.results, types):
        if value.node is not node:
            raise VerifyError(f"%{value.name} does not point back to {op.name}")
        if value.type != type_:
            raise VerifyError(f"%{value.name} is {value.type}, but {op.name} gives {type_}")
        unknown = frozenset().union(*(symbols(dim) for dim in type_.shape)) - known
        if unknown:
            raise VerifyError(f"%{value.name}: no input has dimension {', '.join(sorted(unknown))}")


def _verify_ends(graph: Graph, defined: set[int]) -> None:
    for name, value in graph.outputs.items():
        if id(value) not in defined:
            raise VerifyError(f"output {name} is %{value.name}, which is not in the graph")
    for target, value in graph.updates.items():
        if not isinstance(target, Input) or id(target) not in defined:
            raise VerifyError(f"update of {target.name}, which is not an input of the graph")
        if target.role not in (Role.PARAMETER, Role.STATE):
            raise VerifyError(
                f"update of {target.name}, which is {target.role.value}",
                fix="only parameters and state can be updated",
            )
        if id(value) not in defined:
            raise VerifyError(f"update of {target.name} with %{value.name}, not in the graph")
        if value.type != target.type:
            raise VerifyError(
                f"update of {target.name}: it is {target.type}, its new value is {value.type}",
                path=value.path,
                loc=value.loc,
            )
