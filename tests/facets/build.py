"""Graphs around a sample: concrete, symbolic, in float32, with a loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from cauce.ir import Array, Builder, Dim, DType, Graph, Literal, Op, TensorType, Value, symbol
from cauce.ir.errors import CauceError
from cauce.ir.graph import infer
from cauce.ir.ops.elementwise import Add, Cast, Mul
from cauce.ir.ops.reduce import Sum

from .sample import Sample


@dataclass(frozen=True)
class Case:
    """An op with operand types, and the sizes of the symbols in them (none: a concrete case)."""

    op: Op
    types: tuple[TensorType, ...]
    bindings: dict[str, int]

    def inferred(self) -> tuple[TensorType, ...]:
        """The types of the results."""
        return infer(self.op, *self.types)

    def bound(self, type_: TensorType) -> TensorType:
        """``type_`` with sizes in place of symbols."""
        return type_.bind(self.bindings)

    def inputs(self) -> tuple[Graph, list[Value]]:
        """A graph with an input ``x0``, ``x1``, ... for each operand, and these inputs.

        A further input ``like.S3`` has each symbol as its size, for ops that have it in an
        attribute alone.
        """
        graph = Graph("sample")
        inputs: list[Value] = [graph.add_input(f"x{i}", t) for i, t in enumerate(self.types)]
        for name in self.bindings:
            graph.add_input(f"like.{name}", TensorType(DType.F64, (symbol(name),)))
        return graph, inputs

    def graph(self) -> Graph:
        """A graph of this one op, with all results as outputs."""
        graph, inputs = self.inputs()
        results = Builder(graph).results(self.op, *inputs)
        graph.outputs = {value.name: value for value in results}
        return graph

    def feeds(self, sample: Sample) -> dict[str, Array]:
        """The operands of ``sample`` by input name."""
        feeds = {f"x{i}": operand for i, operand in enumerate(sample.operands)}
        return feeds | {f"like.{name}": np.zeros(size) for name, size in self.bindings.items()}


def concrete(sample: Sample) -> Case:
    """The sample with the sizes it has."""
    return Case(sample.op, tuple(map(TensorType.of, sample.operands)), {})


def add_loss(graph: Graph, chosen: Sequence[bool]) -> Value | None:
    """Write the sum over the chosen outputs of each times a cotangent.

    The cotangents are new inputs ``dy0``, ``dy1``, ..., in float64. None where nothing is chosen.
    """
    b = Builder(graph, path="loss")
    loss: Value | None = None
    for i, value in enumerate(graph.outputs.values()):
        if not chosen[i]:
            continue
        cotangent = graph.add_input(f"dy{i}", value.type.with_dtype(DType.F64))
        if value.type.dtype is not DType.F64:
            value = b(Cast(DType.F64), value)
        part = b(Sum(), b(Mul(), value, cotangent))
        loss = part if loss is None else b(Add(), loss, part)
    return loss


# ---- symbolic ----------------------------------------------------------------------------------


def symbolic(sample: Sample) -> Iterator[Case]:
    """The sample with some of its sizes replaced by symbols, in many ways that the op accepts.

    Sizes that are equal get one symbol, since the op may need them equal, in attributes too; where
    that is refused (a batch that happens to be as large as a kernel) single axes are tried.
    """
    types = concrete(sample).types
    places = {
        (i, axis): size for i, type_ in enumerate(types) for axis, size in enumerate(type_.shape)
    }
    attributes = {dim for _, value in sample.op.attributes() for dim in _leaves(value)}
    for size in sorted({*places.values(), *attributes}):
        if size < 2:
            continue
        name = f"S{size}"
        alike = [place for place, other in places.items() if other == size]
        choices = [alike] + [[p for p in alike if p[1] == axis] for axis in range(4)]
        choices += [[place] for place in alike] + [[]]
        for chosen in dict.fromkeys(map(tuple, choices)):
            for in_attributes in (True, False):
                case = _with_symbol_at(sample.op, types, chosen, in_attributes, name, size)
                if case is not None:
                    yield case
                    break


def _leaves(value: object) -> list[int]:
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value] if type(value) is int else []


def _with_symbol_at(
    op: Op,
    types: tuple[TensorType, ...],
    chosen: tuple[tuple[int, int], ...],
    in_attributes: bool,
    name: str,
    size: int,
) -> Case | None:
    """The case with a symbol at the chosen (operand, axis); None where the op refuses it."""
    open_types = tuple(
        type_.with_shape(
            symbol(name) if (i, axis) in chosen else dim for axis, dim in enumerate(type_.shape)
        )
        for i, type_ in enumerate(types)
    )
    try:
        case = Case(_with_symbol(op, size, name) if in_attributes else op, open_types, {name: size})
        case.inferred()
    except CauceError:
        return None
    return case if chosen or name in case.op.symbols() else None


def _with_symbol(op: Op, size: int, name: str) -> Op:
    """``op`` with ``size`` replaced by a symbol wherever an attribute holds dimensions."""

    def replace(dim: Dim) -> Dim:
        return symbol(name) if type(dim) is int and dim == size else dim

    def change(value: Any, kind: str) -> Any:
        if isinstance(value, Graph):
            return rebuild(
                value,
                lambda type_: type_.with_shape(map(replace, type_.shape)),
                lambda inner: _with_symbol(inner, size, name),
            )
        if "Dim" not in kind or value is None:
            return value
        return tuple(map(replace, value)) if isinstance(value, tuple) else replace(value)

    return map_attributes(op, change)


def map_attributes(op: Op, change: Callable[[Any, str], Any]) -> Op:
    """``op`` with every attribute changed, given its value and its annotation."""
    return op.with_attributes(
        **{
            field.name: change(getattr(op, field.name), str(field.type))
            for field in dataclasses.fields(op)  # type: ignore[arg-type]
        }
    )


def rebuild(
    body: Graph, change_type: Callable[[TensorType], TensorType], change_op: Callable[[Op], Op]
) -> Graph:
    """``body`` built again from changed input types and changed ops."""
    twin = Graph(body.name)
    mapping: dict[Value, Value] = {}
    for value in body.inputs:
        mapping[value] = twin.add_input(value.name, change_type(value.type), value.role)
    for node in body.nodes:
        names = tuple(value.name for value in node.results)
        operands = [mapping[value] for value in node.operands]
        copy = twin.add_node(change_op(node.op), operands, names=names)
        mapping.update(zip(node.results, copy.results))
    twin.outputs = {key: mapping[value] for key, value in body.outputs.items()}
    return twin


# ---- other dtypes ------------------------------------------------------------------------------


def wide(dtype: DType) -> DType:
    """float64 for float32."""
    return DType.F64 if dtype is DType.F32 else dtype


def in_dtype(sample: Sample, to: DType, source: DType = DType.F64) -> Sample:
    """The sample with another dtype in place of float64, in operands and attributes."""
    own = np.dtype(ml_dtypes.bfloat16) if to is DType.BF16 else to.numpy
    operands = tuple(x.astype(own) if x.dtype == source.numpy else x for x in sample.operands)
    op = op_in(lambda dtype: to if dtype is source else dtype, sample.op)
    return dataclasses.replace(sample, op=op, operands=operands)


def in_f32(sample: Sample) -> Sample:
    """The sample with float32 in place of float64, in operands and attributes."""
    return in_dtype(sample, DType.F32)


def op_in(change: Callable[[DType], DType], op: Op) -> Op:
    """The op with other dtypes in its attributes."""

    def changed(value: Any, _: str) -> Any:
        if isinstance(value, Graph):
            return graph_in(change, value)
        if isinstance(value, DType):
            return change(value)
        if isinstance(value, Literal):
            return Literal(value.array, change(value.dtype))
        return value

    return map_attributes(op, changed)


def graph_in(change: Callable[[DType], DType], graph: Graph) -> Graph:
    """The graph with other dtypes, its updates left out."""
    return rebuild(
        graph, lambda type_: type_.with_dtype(change(type_.dtype)), lambda op: op_in(change, op)
    )
