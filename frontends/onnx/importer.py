"""From an ONNX model to a :class:`Model` of cauce."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

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
from ...ir.errors import CauceError, GraphError, shown
from ...ir.evaluate import evaluate
from ...ir.location import Frame
from ...ir.ops.constant import Constant
from ...ir.ops.random import KEY
from ...ir.rewrite import erase_unread
from ..model import CONSTANT
from .call import Call, Training, written
from .missing import check_operators, own_opset
from .names import FreeNames, layer_path
from .reading import inputs_of, read
from .rules import FOLDS, RULES, Known, Operand

Given: TypeAlias = "tuple[int | str, ...] | Array"
_LONGEST = 200  # characters of a layer path in a location
# Of lists together, which may be as many elements in the result.
_MOST_FOLDED = 2**22
# Results of at most so many elements are computed while importing.
_SMALL = 2**12
# What Python and NumPy raise where a file gives an operator what it cannot have.
_DAMAGE = (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError)


@dataclass(frozen=True)
class Imported:
    """A network as its file has it.

    Attributes:
        graph: in inference form, but for dropout, which stands where the file has it.
        values: the weights, the statistics of batch norms, and the random key of dropout.
        training: what the file says of training.
    """

    graph: Graph
    values: dict[str, Array]
    training: Training


class OnnxFile:
    """An ONNX file that was read, to be imported once, or anew for each size that matters.

    ``cauce.load_onnx`` makes models of what is imported, and says the rest.

    Args:
        model: a path, the bytes of a file, or an ``onnx.ModelProto``.
    """

    def __init__(self, model: object) -> None:
        opened = read(model)
        self.proto, self.decode, self.name = opened.proto, opened.decode, opened.name

    @cached_property
    def stored(self) -> list[Known]:
        """Its initializers, which are decoded once."""
        found = []
        for tensor in self.proto.graph.initializer:
            found.append(Known(tensor.name, *self.decode(tensor), stored=True))
        for sparse in self.proto.graph.sparse_initializer:
            found.append(Known(sparse.values.name, *self.decode.sparse(sparse), stored=True))
        return found

    def interface(self, inputs: object) -> tuple[str, list[Input], list[str]]:
        """The name of the network, its inputs as given (see :meth:`imported`), and its outputs."""
        graph = _Import(self, inputs).graph
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
        self._opset = own_opset(proto, name)
        check_operators(proto, self._opset, {*RULES, *FOLDS}, name)
        self._file, self._proto = name, proto.graph
        self._decode = file.decode
        self._values: dict[str, Array] = {}
        self._weights: dict[str, Value] = {}
        self._tensors: dict[str, Operand] = {}
        # What becomes a weight keeps its name, whatever node comes before it.
        stored = [n.output for n in proto.graph.node if n.op_type in ("Constant", "Identity")]
        self._reserved = {name for names in stored for name in names}
        self._free_path = FreeNames(lambda name: name in self._tensors or name in self._reserved)
        self._training = Training()
        self.graph = Graph(proto.graph.name or os.path.splitext(name)[0])
        for known in file.stored:
            self._define(known.name, known)
        types, given = inputs_of(proto.graph, set(self._tensors), inputs)
        for name, type_ in types.items():
            self._define(name, self.graph.add_input(name, type_))
        for known in given:
            self._define(known.name, known)

    def all(self) -> Imported:
        """The whole of it."""
        for place, node in enumerate(self._proto.node):
            self._import(node, place)
        for output in self._proto.output:
            found = self._find(output.name, f"the output {shown(output.name)}")
            value = self._output(found) if isinstance(found, Known) else found
            self.graph.outputs[output.name] = value
        for node in self.graph.nodes_reversed:
            erase_unread(node)
        for value in self.graph.inputs_with(Role.PARAMETER, Role.STATE):
            if not value.users and not self.graph.leaves(value) and value.name != KEY:
                self.graph.remove_input(value)
                del self._values[value.name]
        if self._training.dropouts:
            self._values[KEY] = np.zeros(2, np.uint32)
        verify(self.graph)
        return Imported(self.graph, self._values, self._training)

    # ---- tensors -------------------------------------------------------------------------------

    def _define(self, name: str, operand: Operand) -> None:
        if name in self._tensors:
            raise GraphError(
                f"{self._file} defines the tensor {shown(name)} twice",
                fix="the file is damaged: export it again",
            )
        self._tensors[name] = operand

    def _find(self, name: str, reader: str) -> Operand:
        if name not in self._tensors:
            raise GraphError(
                f"{reader} reads the tensor {shown(name)}, which nothing before it makes",
                fix="the file is damaged: export it again; nodes must come after what they read",
            )
        return self._tensors[name]

    def _weight(self, known: Known, role: Role) -> Value:
        """The input of the graph that a weight is, one for all that read it."""
        if known.name not in self._weights:
            name = known.name
            while name.startswith(CONSTANT) or name in (KEY, "") or not self.graph.is_free(name):
                name = f"_{name}"
            type_ = TensorType(known.dtype, known.array.shape)
            self._weights[known.name] = self.graph.add_input(name, type_, role)
            self._values[name] = known.array
        return self._weights[known.name]

    def _output(self, known: Known) -> Value:
        path = known.name.replace("~", "_")
        if known.symbolic:
            return written(Builder(self.graph, path=path), known)
        node = self.graph.add_node(Constant(Literal(known.array, known.dtype)), (), path=path)
        return node.result

    # ---- nodes ---------------------------------------------------------------------------------

    def _import(self, proto: Any, place: int) -> None:
        label = proto.name or f"{proto.op_type}_{place}"
        path = self._free_path(layer_path(label))
        where = f"{self._file} {proto.op_type}-{self._opset} {path[:_LONGEST]}"
        loc = Location((Frame(re.sub(r"[^\x20-\x7e]", "?", where), place + 1),))
        try:
            operands = [
                self._find(name, f"node {shown(label)} ({proto.op_type})") if name else None
                for name in proto.input
            ]
            made = self._made(proto, operands, path, loc)
        except CauceError as error:
            error.at(path, loc)
            raise
        except _DAMAGE as error:
            raise GraphError(
                f"{proto.op_type} of opset {self._opset} cannot be read: {error}",
                fix="the file is damaged, or uses the operator in a way that ONNX does not have",
                path=path,
                loc=loc,
            ) from error
        for name, operand in zip(proto.output, made):
            if isinstance(operand, Known) and not operand.name:
                operand = replace(operand, name=name)
            if name:
                self._define(name, operand)

    def _made(
        self, proto: Any, operands: list[Operand | None], path: str, loc: Location
    ) -> tuple[Operand, ...]:
        """What a node makes: known where its operands are, else values of the graph."""
        known = [operand for operand in operands if isinstance(operand, Known)]
        if known and len(known) == len(operands) and not any(k.weight for k in known):
            folded = self._fold(proto, known, path, loc)
            if folded is not None:
                return folded
        call = self._call(proto, operands, Builder(self.graph, path=path, loc=loc), self._weight)
        rule = RULES.get(proto.op_type)
        if rule is None:
            raise call.refuse(
                "cauce has it for integers that are known while loading alone",
                "give the sizes of the inputs when loading, inputs={...}",
            )
        made = rule(call)
        call.check_read()
        return made if isinstance(made, tuple) else (made,)

    def _fold(
        self, proto: Any, known: list[Known], path: str, loc: Location
    ) -> tuple[Operand, ...] | None:
        """The results for known operands; None where the network has to compute them."""
        scratch = Graph("fold")
        call = self._call(proto, known, Builder(scratch, path=path, loc=loc), _as_constant(scratch))
        fold = FOLDS.get(proto.op_type)
        whole = all(k.dtype.is_integer or k.dtype is DType.BOOL for k in known)
        if fold is not None and whole and prod(max(k.array.size, 1) for k in known) <= _MOST_FOLDED:
            result = fold(call, *(k.array.astype(np.object_) for k in known))
            if result is not NotImplemented:
                call.check_read()
                if isinstance(result, Known):
                    return (result,)
                return (Known.of(result, known[0].dtype),)
        rule = RULES.get(proto.op_type)
        if rule is None or any(k.symbolic or k.array.size > _SMALL for k in known):
            return None
        call = self._call(proto, known, Builder(scratch, path=path, loc=loc), _as_constant(scratch))
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

    def _call(self, proto: Any, operands: Any, b: Builder, weight: Any) -> Call:
        return Call(proto, self._opset, operands, b, weight, self._decode, self._training)


def _as_constant(graph: Graph) -> Any:
    """Weights, in a graph that is evaluated at once."""

    def write(known: Known, role: Role) -> Value:
        return Builder(graph)(Constant(Literal(known.array, known.dtype)))

    return write
