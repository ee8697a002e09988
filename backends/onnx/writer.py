"""Writes ONNX nodes and initializers: names, constants without repetition, sizes at run time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir import Array, Dim, DimExpr, DType, Graph, Literal, Node, Value, symbol
from ...ir.dims import FloorDiv, Symbol
from ...ir.errors import ExportFailure
from ...ir.onnx.opsets import OPSET
from ...ir.onnx.tensors import NUMBERS

if TYPE_CHECKING:
    from onnx import NodeProto

# Constants of at most this many elements are named by their contents.
_NAMED_BY_VALUE = 8


@dataclass
class _Record:
    """An ONNX node before its tensors have their final names."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    metadata: dict[str, str]


class Writer:
    """The ONNX graph under construction.

    ``w("Add", x, y)`` adds a node and returns the name of its output; operands are tensor names,
    and ``""`` leaves an optional one out.

    Args:
        graph: the graph that is exported; its inputs give the sizes of symbolic dimensions.
        reserved: tensor names that are spoken for.
        opset: the version of the operators.

    Attributes:
        names: the tensor that holds each value.
        initializers: constants and given parameters by name, carried as their dtypes say.
    """

    def __init__(self, graph: Graph, reserved: Collection[str], opset: int = OPSET) -> None:
        self.names: dict[Value, str] = {value: value.name for value in graph.inputs}
        self.initializers: dict[str, tuple[Array, DType]] = {}
        self._opset = opset
        self._graph = graph
        self._records: list[_Record] = []
        self._taken = set(reserved)
        self._renamed: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._sizes: dict[DimExpr, str] = {}
        # Of the node that is being written: its name, its metadata, and what makes each tensor.
        self._base = graph.name
        self._metadata: dict[str, str] = {}
        self._makers: dict[str, _Record] = {}

    # ---- nodes ---------------------------------------------------------------------------------

    def __call__(self, op_type: str, *operands: str, **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        return self.results(1, op_type, *operands, **attributes)[0]

    def results(self, count: int, op_type: str, *operands: str, **attributes: Any) -> list[str]:
        """Add a node with ``count`` outputs, and return their names."""
        outputs = [self.unique(f"{self._base}~{op_type}") for _ in range(count)]
        record = _Record(
            op_type, outputs[0], operands, tuple(outputs), attributes, dict(self._metadata)
        )
        self._records.append(record)
        self._makers.update(dict.fromkeys(outputs, record))
        return outputs

    @contextmanager
    def at(self, node: Node) -> Iterator[None]:
        """Within the block, ONNX nodes carry the name, the op and the source line of ``node``."""
        metadata = {"cauce.path": node.path, "cauce.op": node.op.name}
        if node.loc is not None:
            metadata["cauce.loc"] = str(node.loc)
        with self._scope(node.results[0].name, metadata):
            yield

    @contextmanager
    def _scope(self, base: str, metadata: dict[str, str]) -> Iterator[None]:
        saved = (self._base, self._metadata, self._makers)
        self._base, self._metadata, self._makers = base, metadata, {}
        try:
            yield
        finally:
            self._base, self._metadata, self._makers = saved

    def bind(self, value: Value, made: str, wanted: str | None = None) -> None:
        """Let the tensor ``made`` hold ``value``.

        If a node of this scope makes it, that node is named after the value, and so is the
        tensor, unless ``wanted`` names it. Otherwise the value shares a tensor that has a name.
        """
        maker = self._makers.pop(made, None)
        if maker is not None:
            maker.name = value.name
            self._renamed[made] = self.unique(value.name) if wanted is None else wanted
        self.names[value] = made

    def alias(self, source: str, name: str) -> None:
        """Let the tensor ``source`` have a second name."""
        with self._scope(name, {}):
            self._renamed[self("Identity", source)] = name

    def final(self, name: str) -> str:
        """The name that the tensor called ``name`` while writing has in the model."""
        return self._renamed.get(name, name)

    @property
    def op_types(self) -> list[str]:
        """The ONNX operators of the nodes so far, in order."""
        return [record.op_type for record in self._records]

    def unique(self, name: str) -> str:
        """``name``, with a number where it is taken; it is taken from now on."""
        found, count = name, 0
        while found in self._taken:
            count += 1
            found = f"{name}{count}"
        self._taken.add(found)
        return found

    def nodes(self) -> list[NodeProto]:
        """All nodes in order, with final names."""
        from onnx import helper

        protos = []
        for record in self._records:
            inputs, outputs = (
                [self.final(x) for x in xs] for xs in (record.inputs, record.outputs)
            )
            while inputs and not inputs[-1]:
                inputs.pop()
            proto = helper.make_node(
                record.op_type, inputs, outputs, name=record.name, **record.attributes
            )
            for key, text in record.metadata.items():
                proto.metadata_props.add(key=key, value=text)
            protos.append(proto)
        return protos

    # ---- constants -----------------------------------------------------------------------------

    @property
    def float_constants(self) -> list[str]:
        """The constants that whoever reads the file would take for weights: several floats."""
        return [
            name
            for name in self._constants.values()
            if self.initializers[name][1].is_float and self.initializers[name][0].size > 1
        ]

    def constant(self, value: object, dtype: DType, name: str | None = None) -> str:
        """An initializer that holds ``value``; equal ones are written once."""
        literal = value if isinstance(value, Literal) else Literal(value, dtype)
        small = 0 < literal.array.size <= _NAMED_BY_VALUE
        key = f"{dtype}({literal.array.tolist()})" if small else literal.digest
        if key not in self._constants:
            chosen = key if small else (name or f"{self._base}~constant")
            self._constants[key] = self.add_initializer(self.unique(chosen), literal.array, dtype)
        return self._constants[key]

    def add_initializer(self, name: str, array: Array, dtype: DType) -> str:
        """An initializer with a name that is reserved already; returns the name."""
        self.initializers[name] = (array, dtype)
        return name

    def cast(self, x: str, to: DType) -> str:
        """``x`` converted to another dtype."""
        return self("Cast", x, to=NUMBERS[to])

    def reduce(self, op_type: str, x: str, axes: Sequence[int], *, keepdims: bool) -> str:
        """A reduction over axes, which were an attribute before opset 18 (ReduceSum: 13)."""
        if self._opset >= 18 or op_type == "ReduceSum":
            return self(op_type, x, self.ints(axes), keepdims=int(keepdims))
        return self(op_type, x, axes=axes, keepdims=int(keepdims))

    # ---- sizes ---------------------------------------------------------------------------------

    def ints(self, dims: Sequence[Dim]) -> str:
        """An i64 vector of sizes: a constant where all are known, else computed at run time."""
        known = [dim for dim in dims if isinstance(dim, int)]
        if len(known) == len(dims):
            return self.constant(np.array(known, np.int64), DType.I64)
        parts = [self.size(dim) for dim in dims]
        return parts[0] if len(parts) == 1 else self("Concat", *parts, axis=0)

    def size(self, dim: Dim) -> str:
        """An i64 vector of one element, ``dim``."""
        if isinstance(dim, int):
            return self.constant([dim], DType.I64)
        if dim not in self._sizes:
            with self._scope(f"{self._graph.name}~{dim}", {}):
                self._sizes[dim] = self._compute(dim)
        return self._sizes[dim]

    def length(self, x: str, axis: int) -> str:
        """An i64 vector of one element, how long ``x`` is along an axis."""
        if self._opset >= 15:
            return self("Shape", x, start=axis, end=axis + 1)
        return self("Gather", self("Shape", x), self.ints([axis]), axis=0)

    def range(self, size: Dim) -> str:
        """The i64 vector 0, 1, ..., size - 1."""
        if isinstance(size, int):
            return self.constant(np.arange(size), DType.I64)
        zero, one = (self.constant(number, DType.I64) for number in (0, 1))
        return self("Range", zero, self("Squeeze", self.size(size), self.ints([0])), one)

    def reshape(self, x: str, before: tuple[Dim, ...], after: tuple[Dim, ...]) -> str:
        """``x`` of shape ``before``, reshaped to ``after``.

        Sizes are computed at run time only where neither 0 (which copies the size at the same
        place) nor one -1 (which stands for what is left over) says it all. What is left over
        cannot be told beside a size that may be 0 at run time; and a computed 0 is no copy.
        """
        template: list[Dim] = [
            0 if not isinstance(dim, int) and before[place : place + 1] == (dim,) else dim
            for place, dim in enumerate(after)
        ]
        unknown = [place for place, dim in enumerate(template) if not isinstance(dim, int)]
        if 0 not in after and not unknown:
            return self("Reshape", x, self.ints(template))
        if 0 not in template and len(unknown) == 1:
            template[unknown[0]] = -1
            return self("Reshape", x, self.ints(template))
        return self("Reshape", x, self.ints(after), allowzero=1)

    def _compute(self, dim: DimExpr) -> str:
        if dim.is_symbol:
            return self._symbol(str(dim))
        total = ""
        for monomial, coefficient in dim.terms:
            factors = [self._atom(atom) for atom in monomial]
            if coefficient != 1 or not factors:
                factors.append(self.size(coefficient))
            term = factors[0]
            for factor in factors[1:]:
                term = self("Mul", term, factor)
            total = self("Add", total, term) if total else term
        return total

    def _atom(self, atom: Symbol | FloorDiv) -> str:
        if isinstance(atom, Symbol):
            return self.size(symbol(atom.name))
        top, bottom = self.size(atom.numerator), self.size(atom.denominator)
        if not isinstance(atom.denominator, int):
            # ONNX Div truncates; only over a known size is the numerator never negative (the
            # canonical form leaves it no negative coefficient).
            top = self("Sub", top, self("Mod", top, bottom))
        return self("Div", top, bottom)

    def _symbol(self, name: str) -> str:
        """The size of a symbol, from an input with a dimension a*symbol + b."""
        for linear in (False, True):
            for value in self._graph.inputs:
                for axis, dim in enumerate(value.type.shape):
                    slope, offset = _line(dim, name)
                    if slope == 0 or (not linear and (slope, offset) != (1, 0)):
                        continue
                    size = self.length(self.names[value], axis)
                    if offset:
                        size = self("Sub", size, self.size(offset))
                    return size if slope == 1 else self("Div", size, self.size(slope))
        raise ExportFailure(
            f"no input of {self._graph.name} tells the size of dimension {name}",
            fix=f"let an input have {name} itself as a dimension",
        )


def _line(dim: Dim, name: str) -> tuple[int, int]:
    """(a, b) where ``dim`` is a*symbol + b; (0, 0) where it is not."""
    if isinstance(dim, int):
        return 0, 0
    terms = dict(dim.terms)
    slope, offset = terms.pop((Symbol(name),), 0), terms.pop((), 0)
    return (0, 0) if terms else (slope, offset)
