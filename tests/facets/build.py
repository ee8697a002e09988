"""Graphs around a sample: concrete, symbolic, in float32, with a loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cauce.ir import Array, Builder, Dim, DType, Graph, Literal, Op, TensorType, Value, symbol
from cauce.ir.errors import CauceError
from cauce.ir.graph import infer
from cauce.ir.ops.elementwise import Add, Cast, Mul
from cauce.ir.ops.reduce import Sum

from .sample import Sample

Types = tuple[TensorType, ...]


def types_of(sample: Sample) -> Types:
    """The concrete types of the operands."""
    return tuple(TensorType.of(operand) for operand in sample.operands)


def graph_of(op: Op, types: Sequence[TensorType]) -> Graph:
    """A graph of this one op: inputs ``x0``, ``x1``, ..., all results as outputs."""
    graph = Graph("sample")
    inputs = [graph.add_input(f"x{i}", type_) for i, type_ in enumerate(types)]
    results = Builder(graph).results(op, *inputs)
    graph.outputs = {value.name: value for value in results}
    return graph


def feeds_of(sample: Sample) -> dict[str, Array]:
    """The operands by the input names of :func:`graph_of`."""
    return {f"x{i}": operand for i, operand in enumerate(sample.operands)}


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


def symbolic_variants(sample: Sample) -> Iterator[tuple[Op, Types, dict[str, int]]]:
    """The sample with some of its sizes replaced by symbols, in every way that the op accepts.

    Sizes that are equal get one symbol, since the op may need them equal; where that is refused
    (a batch that happens to be as large as a kernel) single axes are tried. Yields the op, the
    operand types and the sizes of the symbols.
    """
    types = types_of(sample)
    places = {
        (i, axis): size
        for i, type_ in enumerate(types)
        for axis, size in enumerate(type_.shape)
        if isinstance(size, int) and size > 1
    }
    for size in sorted(set(places.values())):
        alike = [place for place, other in places.items() if other == size]
        choices = [alike] + [[p for p in alike if p[1] == axis] for axis in range(4)]
        choices += [[place] for place in alike]
        for chosen in filter(None, dict.fromkeys(map(tuple, choices))):
            name = f"S{size}"
            variant = tuple(
                type_.with_shape(
                    symbol(name) if (i, axis) in chosen else dim
                    for axis, dim in enumerate(type_.shape)
                )
                for i, type_ in enumerate(types)
            )
            for in_attributes in (True, False):
                try:
                    op = _with_symbol(sample.op, size, name) if in_attributes else sample.op
                    infer(op, *variant)
                except CauceError:
                    continue
                yield op, variant, {name: size}
                break


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


# ---- float32 -----------------------------------------------------------------------------------


def in_f32(sample: Sample) -> Sample:
    """The sample with float32 in place of float64, in operands and attributes."""
    operands = tuple(
        operand.astype(np.float32) if operand.dtype == np.float64 else operand
        for operand in sample.operands
    )
    return dataclasses.replace(sample, op=_op_in_f32(sample.op), operands=operands)


def _op_in_f32(op: Op) -> Op:
    def change(value: Any, _: str) -> Any:
        if isinstance(value, Graph):
            return rebuild(value, lambda t: t.with_dtype(_narrow(t.dtype)), _op_in_f32)
        if isinstance(value, DType):
            return _narrow(value)
        if isinstance(value, Literal):
            return Literal(value.array, _narrow(value.dtype))
        return value

    return map_attributes(op, change)


def _narrow(dtype: DType) -> DType:
    return DType.F32 if dtype is DType.F64 else dtype
