"""Where the names of a file mean something: a graph, a branch within another one, a function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...ir.errors import DataError, GraphError, UnsupportedOp, shown
from ...ir.onnx.opsets import NEWEST, OWN_DOMAINS
from .rules import REFUSED, Known, Operand

_MOST_DIMENSIONS = 32  # what NumPy iterates over
DAMAGED = "the file is damaged: export it again"


class Scope:
    """The tensors that nodes can read by name.

    Args:
        file: the name of the file, for messages.
        opset: the version of ONNX's own operators.
        path: the layer path of the node whose graph or function this is; "" for the model's graph.
        outer: the scope around a branch, whose names can be read too.
        calls: the functions that are being entered, the outermost first.
    """

    def __init__(
        self,
        file: str,
        opset: int,
        path: str = "",
        outer: Scope | None = None,
        calls: tuple[tuple[str, ...], ...] = (),
    ) -> None:
        self.file, self.opset, self.path = file, opset, path
        self.outer, self.calls = outer, calls
        self.tensors: dict[str, Operand | None] = {}

    def within(self, name: str) -> str:
        """The name that a tensor or a layer of this scope has in the whole model."""
        return f"{self.path}.{name}" if self.path else name

    def define(self, name: str, operand: Operand | None) -> None:
        """Give a name its meaning; an operand that was left out has None.

        Raises:
            GraphError: it has one already.
            UnsupportedOp: it has more dimensions than NumPy iterates over.
        """
        if name in self.tensors:
            raise GraphError(f"{self.file} defines the tensor {shown(name)} twice", fix=DAMAGED)
        if isinstance(operand, Known) and not operand.name:
            operand = replace(operand, name=self.within(name))
        rank = _rank(operand)
        if rank > _MOST_DIMENSIONS:
            raise UnsupportedOp(
                f"the tensor {shown(name)} has {rank} dimensions, of at most {_MOST_DIMENSIONS}",
                fix="reshape it to fewer where the model is made",
            )
        self.tensors[name] = operand

    def find(self, name: str, reader: str) -> Operand | None:
        """What a name means here.

        Raises:
            GraphError: nothing.
        """
        scope: Scope | None = self
        while scope is not None:
            if name in scope.tensors:
                return scope.tensors[name]
            scope = scope.outer
        raise GraphError(
            f"{reader} reads the tensor {shown(name)}, which nothing before it makes",
            fix=f"{DAMAGED}; nodes must come after what they read",
        )


def _rank(operand: Operand | None) -> int:
    if operand is None or operand is REFUSED:
        return 0
    return len(operand.shape) if isinstance(operand, Known) else operand.type.rank


def opset_of(entries: Iterable[Any], otherwise: int, file: str) -> int:
    """The version of ONNX's own operators among the opset imports of a model or a function.

    Raises:
        DataError: two versions.
        UnsupportedOp: one that is newer than cauce, whose operators may mean something else.
    """
    versions = {int(entry.version) for entry in entries if entry.domain in OWN_DOMAINS}
    if len(versions) > 1:
        raise DataError(
            f"{file} is of the opsets {', '.join(map(str, sorted(versions)))} at once", fix=DAMAGED
        )
    opset = max(versions, default=otherwise)
    if not 1 <= opset <= NEWEST:
        raise UnsupportedOp(
            f"{file} is of opset {opset}, and cauce knows 1 to {NEWEST}",
            fix="export it for an older opset, or onnx.version_converter.convert_version makes "
            "one of it",
        )
    return opset


def key_of(node: Any) -> tuple[str, ...]:
    """What a node calls: domain, name and overload."""
    return (node.domain if node.domain not in OWN_DOMAINS else "", node.op_type, node.overload)


def functions_of(proto: Any) -> dict[tuple[str, ...], Any]:
    """The functions of a model by what calls them."""
    return {
        (f.domain if f.domain not in OWN_DOMAINS else "", f.name, f.overload): f
        for f in proto.functions
    }


def bound(function: Any, node: Any) -> list[Any]:
    """The nodes of a function, with the attributes of the node that calls it.

    An attribute that refers to one of the function's is that of the caller, else the default, and
    left out where there is neither.
    """
    given = {entry.name: entry for entry in (*function.attribute_proto, *node.attribute)}
    return [_bound(inner, given) for inner in function.node]


def _bound(node: Any, given: Mapping[str, Any]) -> Any:
    if not any(entry.ref_attr_name or graphs_of(entry) for entry in node.attribute):
        return node
    copy = type(node)()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for entry in node.attribute:
        meant = given.get(entry.ref_attr_name) if entry.ref_attr_name else entry
        if meant is None:
            continue
        copy.attribute.add().CopyFrom(meant)
        copy.attribute[-1].name = entry.name
        for graph in graphs_of(copy.attribute[-1]):
            nodes = [_bound(inner, given) for inner in graph.node]
            del graph.node[:]
            graph.node.extend(nodes)
    return copy


def graphs_of(entry: Any) -> Sequence[Any]:
    """The graphs that an attribute is."""
    return [entry.g] if entry.HasField("g") else list(entry.graphs)
