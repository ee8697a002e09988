"""One ONNX node while it is imported: what a rule asks for operands and attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ...ir import Array, Builder, Dim, DimExpr, DType, Input, Literal, Location, Role, Value
from ...ir.dims import symbols
from ...ir.errors import GraphError, UnsupportedOp, shown
from ...ir.onnx.tensors import Decoder
from ...ir.ops.constant import Constant, DimSize, scalar
from ...ir.ops.elementwise import Cast
from ...ir.ops.shape import Concat, Reshape
from ...ir.unknown import Unknown
from .rules import Known, Operand

_MOST_SIZES = 2**16  # in a list of sizes, axes and the like
# Attributes of windows, and how far one may reach: what computes it goes through all of it.
_WINDOW = ("kernel_shape", "strides", "dilations", "pads", "output_padding", "output_shape")
_FARTHEST = 2**16
_GRAPHS = (5, 10)  # AttributeProto.GRAPH and GRAPHS
Operands: TypeAlias = tuple[Operand, ...]
_DEFAULT_FIX = "change the model where it was made, or write this part with cauce.nn"


@dataclass
class Training:
    """What a file says of training.

    Attributes:
        shares: the weight of a batch in the running statistics, by the name of the running mean.
        dropouts: how many dropouts are in the graph.
        lost: how many are not, since something reads their mask, or what they drop is not known.
    """

    shares: dict[str, float] = field(default_factory=dict)
    dropouts: int = 0
    lost: int = 0


class Call:
    """An ONNX node with its operands.

    Attributes:
        b: writes cauce's nodes, named and located as the ONNX node is.
        op_type: the ONNX operator.
        opset: the version of its operator set.
        training: what the file says of training so far.
    """

    def __init__(
        self,
        proto: Any,
        opset: int,
        operands: Sequence[Operand | None],
        b: Builder,
        weight: Callable[[Known, Role], Value],
        decode: Decoder,
        training: Training,
        graphs: Callable[[Any, Sequence[Operand | None], str], Operands] | None,
    ) -> None:
        self.op_type: str = proto.op_type
        self.opset = opset
        self.b = b
        self.operands = operands
        self.decode = decode
        self.training = training
        self._graphs = graphs
        self._outputs: list[str] = list(proto.output)
        self._weight = weight
        self._attributes = {entry.name: entry for entry in proto.attribute}
        self._unread = dict(self._attributes)

    @property
    def loc(self) -> Location | None:
        """Where the node stands."""
        return self.b.loc

    def refuse(self, what: str, fix: str = _DEFAULT_FIX) -> UnsupportedOp:
        """The error for a form of the operator that cauce does not have."""
        return UnsupportedOp(f"{self.op_type} of opset {self.opset}: {what}", fix=fix)

    def unknown(self, what: str, *needed: Dim | Value) -> UnsupportedOp:
        """The error for what depends on sizes, or on values, that only a call tells.

        The network is then made for those of each call, or for what ``inputs=`` says.

        Args:
            what: the problem.
            needed: the sizes that would have to be known, and the values.
        """
        sizes, inputs = _sources(needed)
        if not sizes and not inputs:
            return self.refuse(what)
        return Unknown(f"{self.op_type} of opset {self.opset}: {what}", sizes=sizes, inputs=inputs)

    @property
    def outputs(self) -> int:
        """How many outputs the node has."""
        return len(self._outputs)

    def wants(self, place: int) -> bool:
        """Whether the node names its output at a place."""
        return place < len(self._outputs) and bool(self._outputs[place])

    def only(self, count: int) -> None:
        """Refuse a node that names more outputs than the first few."""
        if any(self._outputs[count:]):
            raise self.refuse(
                f"only {count} of its {len(self._outputs)} outputs can be computed",
                "export the model for inference (model.eval() in PyTorch)",
            )

    # ---- operands ------------------------------------------------------------------------------

    def has(self, place: int) -> bool:
        """Whether there is an operand at a place."""
        return place < len(self.operands) and self.operands[place] is not None

    def operand(self, place: int) -> Operand:
        """The operand at a place."""
        found = self.operands[place] if self.has(place) else None
        if found is None:
            raise GraphError(
                f"{self.op_type} of opset {self.opset} has no operand {place}",
                fix="the file is damaged: export it again",
            )
        return found

    def value(self, place: int) -> Value:
        """The operand as a value of the graph: a constant, or a parameter where it is a weight."""
        return self.as_value(self.operand(place))

    def as_value(self, operand: Operand) -> Value:
        """An operand, or what a graph made, as a value of the graph."""
        if isinstance(operand, Known):
            weight = operand.weight
            return self._weight(operand, Role.PARAMETER) if weight else self.constant(operand)
        return operand

    def values(self) -> list[Value]:
        """All operands."""
        return [self.value(place) for place in range(len(self.operands))]

    def weight(self, place: int, role: Role = Role.PARAMETER) -> Value:
        """The operand as a parameter, or a state, also where it is one number."""
        found = self.operand(place)
        if isinstance(found, Known) and found.stored and found.dtype.is_float:
            return self._weight(found, role)
        return self.value(place)

    def known(self, place: int) -> Array | None:
        """The elements of an operand that are known while importing; None where they are not."""
        found = self.operand(place)
        return found.array if isinstance(found, Known) else None

    def numbers(self, place: int, what: str) -> Array:
        """The elements of an operand that must be known.

        Raises:
            Unknown: they are computed by the network.
        """
        found = self.known(place)
        if found is None:
            value = self.value(place)
            raise self.unknown(f"its {what} {value} is computed when the network runs", value)
        return found

    def dims(self, place: int, what: str) -> tuple[Dim, ...]:
        """The elements of an operand, as sizes."""
        array = self.numbers(place, what)
        if array.size > _MOST_SIZES:
            raise self.refuse(f"its {what} has {array.size} elements")
        return tuple(d if isinstance(d, DimExpr) else int(d) for d in array.reshape(-1).tolist())

    def integers(self, place: int, what: str) -> tuple[int, ...]:
        """The elements of an operand, as ints."""
        found = self.dims(place, what)
        for dim in found:
            if not isinstance(dim, int):
                raise self.unknown(f"its {what} {dim} is not known", dim)
        return tuple(dim for dim in found if isinstance(dim, int))

    def constant(self, known: Known) -> Value:
        """Write what is known as a constant, or out of sizes."""
        if not known.symbolic:
            return self._aside(Constant(Literal(known.array, known.dtype)))
        return written(self.b, known)

    def scalar(self, value: float, like: Value) -> Value:
        """Write a constant scalar with the dtype of ``like``."""
        return self._aside(Constant(Literal(value, like.type.dtype)))

    def _aside(self, op: Constant) -> Value:
        """Write a constant under a name that leaves that of the node to its result."""
        suffix, self.b.suffix = self.b.suffix, "constant"
        try:
            return self.b(op)
        finally:
            self.b.suffix = suffix

    # ---- attributes ----------------------------------------------------------------------------

    def enter(self, name: str, operands: Sequence[Operand | None], suffix: str = "") -> Operands:
        """Import the graph that an attribute is, for operands in the place of its inputs.

        Args:
            name: of the attribute.
            operands: one for each input of the graph.
            suffix: what the layer path is to end with, where a graph is entered several times.

        Returns:
            What the graph makes.
        """
        found = self.attribute(name)
        if self._graphs is None or found is None or not found.HasField("g"):
            raise self.refuse(f"it has no graph {name!r}", "the file is damaged: export it again")
        return self._graphs(found.g, operands, suffix)

    def attribute(self, name: str) -> Any:
        """The message of an attribute; None where it is not there."""
        self._unread.pop(name, None)
        return self._attributes.get(name)

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an int."""
        found = self.attribute(name)
        return default if found is None else int(found.i)

    def real(self, name: str, default: float) -> float:
        """An attribute that is a float: the shortest decimal number that is this float32."""
        found = self.attribute(name)
        return default if found is None else float(str(np.float32(found.f)))

    def text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        found = self.attribute(name)
        return default if found is None else found.s.decode("utf-8", "replace")

    def ints(self, name: str) -> tuple[int, ...] | None:
        """An attribute that is a list of ints; None where it is not there."""
        found = self.attribute(name)
        if found is None:
            return None
        if name in _WINDOW and any(abs(number) > _FARTHEST for number in found.ints):
            raise self.refuse(f"its {name} {shown(list(found.ints))} go beyond any image")
        return tuple(found.ints)

    def listed(self, name: str, place: int, since: int) -> tuple[int, ...] | None:
        """A list of ints that is an attribute, and an operand at a place since an opset."""
        if self.opset < since:
            return self.ints(name)
        return self.integers(place, name) if self.has(place) else None

    def ignore(self, *names: str) -> None:
        """Attributes that say nothing about inference."""
        for name in names:
            self._unread.pop(name, None)

    def check_read(self) -> None:
        """Refuse attributes that the rule did not ask for."""
        for name, entry in self._unread.items():
            kind = "the graph" if entry.type in _GRAPHS else "the attribute"
            raise self.refuse(f"{kind} {name!r} is not known to cauce")


def written(b: Builder, known: Known) -> Value:
    """Sizes over symbols as a value, which the network computes."""
    parts = []
    for dim in known.array.reshape(-1).tolist():
        size = scalar(b, dim, DType.I64) if isinstance(dim, int) else b(DimSize(dim))
        parts.append(b(Reshape((1,)), size))
    joined = b(Concat(0), *parts)
    if known.dtype is not DType.I64:
        joined = b(Cast(known.dtype), joined)
    shape = known.shape
    return joined if joined.type.shape == shape else b(Reshape(shape), joined)


def _sources(needed: Sequence[Dim | Value]) -> tuple[set[str], list[str]]:
    """The symbols of sizes and values, and the inputs that the values are computed from."""
    sizes: set[str] = set()
    inputs: list[str] = []
    pending, seen = list(needed), set[Value]()
    while pending:
        found = pending.pop()
        if not isinstance(found, Value):
            sizes |= symbols(found)
        elif found not in seen:
            seen.add(found)
            if isinstance(found, Input) and found.role is Role.DATA:
                inputs.append(found.name)
            elif found.node is not None:
                pending += found.node.operands
                if isinstance(found.node.op, DimSize):
                    pending.append(found.node.op.size)
    return sizes, inputs
