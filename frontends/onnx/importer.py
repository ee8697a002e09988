"""From an ONNX model to a :class:`Model` of cauce."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np

from ...ir import (
    Array,
    Builder,
    DType,
    Graph,
    Input,
    Literal,
    Location,
    Role,
    TensorType,
    Value,
    verify,
)
from ...ir.errors import CauceError, GraphError, UnsupportedOp, shown
from ...ir.evaluate import evaluate
from ...ir.location import Frame
from ...ir.onnx.metadata import CONSTANTS, constants_of, read_metadata
from ...ir.onnx.tensors import Place
from ...ir.ops.constant import Constant
from ...ir.ops.random import KEY
from ...ir.rewrite import erase_unread
from ...ir.unknown import Unknown
from ..model import CONSTANT
from . import families as families
from .call import Call, Training, written
from .definitions import definition
from .missing import Refusals, inferred
from .names import FreeNames, layer_path
from .reading import Opened, inputs_of
from .rules import FOLDS, REFUSED, RULES, Known, Operand
from .scope import DAMAGED, Scope, bound, functions_of, graphs_of, key_of, opset_of

_LONGEST = 200  # characters of a layer path in a location
# Of lists together, which may be as many elements in the result.
_MOST_FOLDED = 2**18
# Results of at most so many elements are computed while importing.
_SMALL = 2**12
# At most so many nodes come out of functions and branches, which may call one another.
_MOST_ENTERED = 2**14
# What Python and NumPy raise where a file gives an operator what it cannot have.
_DAMAGE = (ValueError, TypeError, IndexError, KeyError, ArithmeticError, AttributeError)


@dataclass(frozen=True)
class Imported:
    """A network as its file has it.

    Attributes:
        graph: in inference form, but for dropout, which stands where the file has it.
        values: the weights, the statistics of batch norms, and the random key of dropout.
        places: where in files those values lie that are as they are there.
        training: what the file says of training.
        metadata: what the file says of itself.
    """

    graph: Graph
    values: dict[str, Array]
    places: dict[str, Place]
    training: Training
    metadata: dict[str, str]


class OnnxFile:
    """An ONNX file that was read, to be imported once, or anew for each size that matters.

    ``cauce.load_onnx`` makes models of what is imported, and says the rest.

    Args:
        opened: the file.

    Raises:
        DataError: no ONNX model, or a damaged one.
    """

    def __init__(self, opened: Opened) -> None:
        self.proto, self.decode, self.name = opened.proto, opened.decode, opened.name

    @cached_property
    def stored(self) -> list[Known]:
        """Its initializers, which are decoded once."""
        found = []
        constants = constants_of(self.metadata, self.name)
        for tensor in self.proto.graph.initializer:
            stored = tensor.name not in constants
            found.append(Known(tensor.name, *self.decode.placed(tensor), stored=stored))
        for sparse in self.proto.graph.sparse_initializer:
            found.append(Known(sparse.values.name, *self.decode.sparse(sparse), stored=True))
        return found

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What it says of itself."""
        return read_metadata(self.proto)

    def interface(self, inputs: object) -> tuple[str, list[Input], list[str]]:
        """The name of the network, its inputs as given (see :meth:`imported`), and its outputs."""
        begun = _Import(self, inputs)
        begun.refusals.raise_all()
        graph = begun.graph
        outputs = [output.name for output in self.proto.graph.output]
        return graph.name, graph.inputs_with(Role.DATA), outputs

    def imported(self, inputs: object = None) -> Imported:
        """The network, with the shapes, types and elements of inputs that are given by name.

        Raises:
            Unknown: a size, or the elements of an input, must be given too.
        """
        return _Import(self, inputs).all()


class _Import:
    """One model while it is imported."""

    def __init__(self, file: OnnxFile, inputs: object) -> None:
        proto, name = file.proto, file.name
        self._proto = proto
        self._functions = functions_of(proto)
        self._root = Scope(name, opset_of(proto.opset_import, 1, name))
        self.refusals = Refusals(proto, name, {*RULES, *FOLDS}, self._functions)
        self.refusals.check(proto.graph.node, self._root)
        self._checked: set[str] = set()
        self._decode, self._metadata = file.decode, dict(file.metadata)
        self._metadata.pop(CONSTANTS, None)  # which it may have no more when it is written again
        self._values: dict[str, Array] = {}
        self._places: dict[str, Place] = {}
        self._weights: dict[str, Value] = {}
        self._entered = 0
        # What becomes a weight keeps its name, whatever node comes before it.
        stored = [n.output for n in proto.graph.node if n.op_type in ("Constant", "Identity")]
        self._reserved = {name for names in stored for name in names}
        tensors = self._root.tensors
        self._free_path = FreeNames(lambda name: name in tensors or name in self._reserved)
        self._free_stand_in = FreeNames(lambda name: not self.graph.is_free(name))
        self._training = Training()
        self.graph = Graph(proto.graph.name or os.path.splitext(name)[0])
        for known in file.stored:
            self._root.define(known.name, known)
        types, given = inputs_of(proto.graph, set(self._root.tensors), inputs)
        for name, type_ in types.items():
            self._root.define(name, self.graph.add_input(name, type_))
        for known in given:
            self._root.define(known.name, known)

    def all(self) -> Imported:
        """The whole of it."""
        graph = self._proto.graph
        self._nodes(self._root, graph.node)
        self.refusals.raise_all()
        for output, found in zip(graph.output, self._results(self._root, graph)):
            value = self._output(found) if isinstance(found, Known) else found
            self.graph.outputs[output.name] = value
        for node in self.graph.nodes_reversed:
            erase_unread(node)
        for value in self.graph.inputs_with(Role.PARAMETER, Role.STATE):
            if not value.users and not self.graph.leaves(value) and value.name != KEY:
                self.graph.remove_input(value)
                del self._values[value.name]
                self._places.pop(value.name, None)
        if self._training.dropouts:
            self._values[KEY] = np.zeros(2, np.uint32)
        verify(self.graph)
        training, metadata = self._training, self._metadata
        return Imported(self.graph, self._values, self._places, training, metadata)

    def _check(self, scope: Scope, nodes: Sequence[Any], path: str) -> None:
        """List what a graph of the node at ``path`` lacks, once however often it is entered."""
        if path not in self._checked:
            self._checked.add(path)
            self.refusals.check(nodes, scope)

    # ---- tensors -------------------------------------------------------------------------------

    def _weight(self, known: Known, role: Role) -> Value:
        """The input of the graph that a weight is, one for all that read it."""
        if known.name not in self._weights:
            name = known.name
            while name.startswith(CONSTANT) or name in (KEY, "") or not self.graph.is_free(name):
                name = f"_{name}"
            type_ = TensorType(known.dtype, known.shape)
            self._weights[known.name] = self.graph.add_input(name, type_, role)
            self._values[name] = known.held
            if known.place is not None:
                self._places[name] = known.place
        return self._weights[known.name]

    def _output(self, known: Known) -> Value:
        path = known.name.replace("~", "_")
        if known.symbolic:
            return written(Builder(self.graph, path=path), known)
        node = self.graph.add_node(Constant(Literal(known.array, known.dtype)), (), path=path)
        return node.result

    # ---- graphs within it ----------------------------------------------------------------------

    def _nodes(self, scope: Scope, nodes: Sequence[Any]) -> None:
        """Import the nodes of a graph or of a function, whose inputs are defined."""
        for place, node in enumerate(nodes):
            self._import(scope, node, place)

    def _results(self, scope: Scope, graph: Any) -> tuple[Operand, ...]:
        return self._outputs(scope, [output.name for output in graph.output])

    def _outputs(self, scope: Scope, names: Sequence[str]) -> tuple[Operand, ...]:
        found = []
        for name in names:
            operand = scope.find(name, f"the output {shown(name)}")
            if operand is None:
                raise GraphError(f"the output {shown(name)} was left out", fix=DAMAGED)
            found.append(operand)
        return tuple(found)

    def _enter(
        self, outer: Scope, path: str, graph: Any, operands: Sequence[Operand | None], suffix: str
    ) -> tuple[Operand, ...]:
        """Import the graph that is an attribute of the node at ``path``."""
        scope = Scope(outer.file, outer.opset, path + suffix, outer, outer.calls)
        self._count(scope, graph.node)
        self._check(scope, graph.node, path)
        for tensor in graph.initializer:
            scope.define(tensor.name, Known("", *self._decode.placed(tensor), stored=True))
        for value, operand in zip(graph.input, operands, strict=True):
            scope.define(value.name, operand)
        self._nodes(scope, graph.node)
        return self._results(scope, graph)

    def _call_function(
        self, outer: Scope, path: str, node: Any, function: Any, operands: Sequence[Operand | None]
    ) -> tuple[Operand | None, ...]:
        """Import the nodes of a function in the place of the node that calls it."""
        key = key_of(node)
        if key in outer.calls:
            raise GraphError(f"the function {shown(key[1])} calls itself", fix=DAMAGED)
        opset = opset_of(function.opset_import, outer.opset, outer.file)
        scope = Scope(outer.file, opset, path, calls=(*outer.calls, key))
        nodes = bound(function, node)
        self._count(scope, nodes)
        if key not in self._functions:  # those of the model are checked with what calls them
            self._check(scope, nodes, path)
        given, taken = len(operands), len(function.input)
        if given > taken:
            what = f"the function {shown(key[1])} has {taken} inputs, not {given}"
            raise GraphError(what, fix=DAMAGED)
        for place, name in enumerate(function.input):
            scope.define(name, operands[place] if place < given else None)
        self._nodes(scope, nodes)
        wanted = [name for name, kept in zip(function.output, node.output) if kept]
        made = iter(self._outputs(scope, wanted))
        return tuple(next(made) if kept else None for kept in node.output)

    def _count(self, scope: Scope, nodes: Sequence[Any]) -> None:
        """Hold the nodes of functions and branches, which may call others, within bounds."""
        self._entered += 1 + len(nodes)
        if self._entered > _MOST_ENTERED:
            raise GraphError(
                f"functions and repeated graphs make more than {_MOST_ENTERED} nodes",
                fix="export the model in parts, or with fewer steps",
                path=scope.path,
            )

    # ---- nodes ---------------------------------------------------------------------------------

    def _import(self, scope: Scope, proto: Any, place: int) -> None:
        label = proto.name or f"{proto.op_type}_{place}"
        path = self._free_path(scope.within(layer_path(label)))
        where = f"{scope.file} {proto.op_type}-{scope.opset} {path[:_LONGEST]}"
        loc = Location((Frame(re.sub(r"[^\x20-\x7e]", "?", where), place + 1),))
        operands: list[Operand | None] = []
        made: Sequence[Operand | None]
        try:
            operands = [
                scope.find(name, f"node {shown(label)} ({proto.op_type})") if name else None
                for name in proto.input
            ]
            if self.refusals and any(operand is REFUSED for operand in operands):
                made = [REFUSED] * len(proto.output)
            elif self.refusals.lists(proto, scope.opset):
                made = self._stand_ins(scope, proto, operands)
            else:
                made = self._made(scope, proto, operands, path, loc)
        except CauceError as error:
            error.at(path, loc)
            if isinstance(error, UnsupportedOp) and not isinstance(error, Unknown):
                self.refusals.add(proto, label, scope.opset, error)
            elif not self.refusals:
                raise
            # What else goes wrong, stand-ins may have brought about.
            made = self._stand_ins(scope, proto, operands)
        except _DAMAGE as error:
            if not self.refusals:
                raise GraphError(
                    f"{proto.op_type} of opset {scope.opset} cannot be read: {error}",
                    fix="the file is damaged, or uses the operator in a way that ONNX does not "
                    "have",
                    path=path,
                    loc=loc,
                ) from error
            made = [REFUSED] * len(proto.output)
        for name, operand in zip(proto.output, made):
            if name and not (self.refusals and name in scope.tensors):
                scope.define(name, operand)

    def _stand_ins(
        self, scope: Scope, proto: Any, operands: Sequence[Operand | None]
    ) -> list[Operand]:
        """What stands in for the results of a node that was refused."""
        return [
            REFUSED
            if type_ is None or not name
            else self.graph.add_input(self._free_stand_in(name), type_)
            for name, type_ in zip(proto.output, inferred(proto, scope.opset, operands))
        ]

    def _made(
        self,
        scope: Scope,
        proto: Any,
        operands: list[Operand | None],
        path: str,
        loc: Location,
    ) -> tuple[Operand | None, ...]:
        """What a node makes: known where its operands are, else values of the graph."""
        function = self._functions.get(key_of(proto))
        if function is None and proto.op_type not in RULES:
            function = definition(proto, scope.opset, operands)
        if function is not None:
            return self._call_function(scope, path, proto, function, operands)
        enter = partial(self._enter, scope, path)
        known = [operand for operand in operands if isinstance(operand, Known)]
        plain = len(known) == len(operands) > 0 and not any(k.weight for k in known)
        if plain and not any(map(graphs_of, proto.attribute)):
            folded = self._fold(scope, proto, known, path, loc)
            if folded is not None:
                return folded
        b = Builder(self.graph, path=path, loc=loc)
        call = self._call(scope, proto, operands, b, self._weight, enter)
        rule = RULES.get(proto.op_type)
        if rule is None:
            values = [operand for operand in operands if isinstance(operand, Value)]
            raise call.unknown("cauce has it for integers that are known while loading", *values)
        made = rule(call)
        call.check_read()
        return made if isinstance(made, tuple) else (made,)

    def _fold(
        self, scope: Scope, proto: Any, known: list[Known], path: str, loc: Location
    ) -> tuple[Operand, ...] | None:
        """The results for known operands; None where the network has to compute them."""
        scratch = Graph("fold")
        b, constant = Builder(scratch, path=path, loc=loc), _as_constant(scratch)
        call = self._call(scope, proto, known, b, constant, None)
        fold = FOLDS.get(proto.op_type)
        whole = all(k.dtype.is_integer or k.dtype is DType.BOOL for k in known)
        if fold is not None and whole and prod(max(k.size, 1) for k in known) <= _MOST_FOLDED:
            result = fold(call, *(k.array.astype(np.object_) for k in known))
            if result is not NotImplemented:
                call.check_read()
                if isinstance(result, Known):
                    return (result,)
                return (Known.of(result, known[0].dtype),)
        rule = RULES.get(proto.op_type)
        if rule is None or any(k.symbolic or k.size > _SMALL for k in known):
            return None
        call = self._call(scope, proto, known, b, constant, None)
        made = rule(call)
        call.check_read()
        results = made if isinstance(made, tuple) else (made,)
        sizes = [value.type.size for value in scratch.values]
        if any(not isinstance(size, int) or size > _SMALL for size in sizes):
            return None
        scratch.outputs = {v.name: v for v in results if isinstance(v, Value)}
        arrays = evaluate(scratch, {}).outputs
        return tuple(
            r if isinstance(r, Known) else Known("", arrays[r.name], r.type.dtype) for r in results
        )

    def _call(
        self, scope: Scope, proto: Any, operands: Any, b: Builder, weight: Any, enter: Any
    ) -> Call:
        decode, training = self._decode, self._training
        return Call(proto, scope.opset, operands, b, weight, decode, training, enter)


def _as_constant(graph: Graph) -> Any:
    """Weights, in a graph that is evaluated at once."""

    def write(known: Known, role: Role) -> Value:
        return Builder(graph)(Constant(Literal(known.array, known.dtype)))

    return write
