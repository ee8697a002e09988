"""From a graph to an ONNX model, checked, and to a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...ir import Array, Graph, Input, Role, Value, verify
from ...ir.errors import CauceError, ExportFailure, GraphError
from ...ir.evaluate import bind_symbols, check_feed
from ...ir.files import replacing
from ...ir.version import VERSION
from .lower import lower
from .rules import RULES
from .tensors import load_onnx, value_info
from .writer import Writer

if TYPE_CHECKING:
    from onnx import ModelProto

# Opset 18 brought BitwiseXor, which the random generator needs, and reductions with their axes
# as an operand; IR version 10 brought metadata of nodes.
OPSET = 18
IR_VERSION = 10
# A protobuf message, and so an ONNX file, ends below 2 GiB.
LARGEST = 2**31 - 1


def export(graph: Graph, parameters: Mapping[str, object] | None = None) -> ModelProto:
    """The ONNX model of ``graph``.

    Inputs keep their names and their symbolic dimensions. Parameters and state whose values are
    given become initializers, all other inputs are inputs of the model: a training step exports
    as (parameters, state, hyperparameters, batch) -> (outputs, updates). The new value of an
    updated input ``w`` is the output ``w.new``. ONNX nodes are named by layer path and tell op,
    layer path and source line as ``metadata_props`` (``cauce.op``, ``cauce.path``, ``cauce.loc``).

    Args:
        graph: any graph.
        parameters: values by input name, for inputs that are not data.

    Raises:
        UnsupportedOp: an op that cannot be written in ONNX.
        ExportFailure: the model did not pass onnx.checker.
        GraphError, ShapeError, TypeMismatch: a value that fits no input.
    """
    onnx = load_onnx()
    verify(graph)
    given = _check_parameters(graph, parameters or {})
    size = sum(array.nbytes for array in given.values())
    if size > LARGEST:
        raise ExportFailure(
            f"the parameters of {graph.name} take {size} bytes, "
            f"and an ONNX file holds at most {LARGEST}",
            fix="give fewer values: parameters without one become inputs of the model",
        )
    low = lower(graph)
    leaves = _leaves(low)
    writer = Writer(low, reserved=[value.name for value in low.inputs] + list(leaves))
    _write_nodes(writer, low, leaves)
    for value in low.inputs:
        if value.name in given:
            writer.add_initializer(value.name, given[value.name], value.type.dtype)
    known = {writer.final(name): value for value, name in writer.names.items()}
    free = [value for value in low.inputs if value.name not in given]
    proto = onnx.helper.make_graph(
        writer.nodes(),
        graph.name,
        [value_info(value.name, value.type) for value in free],
        [value_info(name, value.type) for name, value in leaves.items()],
        list(writer.initializers.values()),
        value_info=[
            value_info(name, value.type)
            for name, value in known.items()
            if name not in leaves and name not in writer.initializers and value not in free
        ],
    )
    model: ModelProto = onnx.helper.make_model(
        proto,
        producer_name="cauce",
        producer_version=VERSION,
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    _check(model)
    return model


def save(
    graph: Graph, parameters: Mapping[str, object] | None, path: str | os.PathLike[str]
) -> None:
    """Export to a file. A file that is there already stays whole unless the export succeeds.

    Raises:
        As :func:`export`, and OSError where the file cannot be written.
    """
    data = export(graph, parameters).SerializeToString(deterministic=True)
    with replacing(path) as beside:
        beside.write_bytes(data)


def _check_parameters(graph: Graph, parameters: Mapping[str, object]) -> dict[str, Array]:
    inputs = {value.name: value for value in graph.inputs if value.role is not Role.DATA}
    surplus = [name for name in parameters if name not in inputs]
    if surplus:
        raise GraphError(
            f"{graph.name} has no parameter or state called {', '.join(surplus)}",
            fix=f"give values for any of {', '.join(inputs) or 'none: it has only data'}",
        )
    given: list[Input] = [value for name, value in inputs.items() if name in parameters]
    arrays = [check_feed(value, parameters[value.name]) for value in given]
    bind_symbols([value.type for value in given], arrays, names=given)
    return {value.name: array for value, array in zip(given, arrays)}


def _leaves(graph: Graph) -> dict[str, Value]:
    """What the model returns, by name.

    Raises:
        ExportFailure: a name that an input or another output has.
    """
    updates = {f"{target.name}.new": value for target, value in graph.updates.items()}
    inputs = {value.name for value in graph.inputs}
    clashes = (graph.outputs.keys() & updates.keys()) | (inputs & {*graph.outputs, *updates})
    if clashes:
        raise ExportFailure(
            f"{graph.name} has several inputs and outputs called {', '.join(sorted(clashes))}, "
            "and ONNX has one namespace for all",
            fix="give the outputs of the graph other names",
        )
    return {**graph.outputs, **updates}


def _write_nodes(writer: Writer, graph: Graph, leaves: Mapping[str, Value]) -> None:
    """Write every node by its rule, and let each leaf be a tensor of its own name."""
    wanted: dict[Value, str] = {}
    for name, value in leaves.items():
        wanted.setdefault(value, name)
    for node in graph.nodes:
        operands = [writer.names[value] for value in node.operands]
        with writer.at(node):
            try:
                made = RULES[type(node.op)].write(writer, node.op, node, *operands)
            except CauceError as error:
                error.at(node.path, node.loc)
                raise
            for value, name in zip(node.results, (made,) if isinstance(made, str) else made):
                writer.bind(value, name, wanted.get(value))
    for name, value in leaves.items():
        if writer.final(writer.names[value]) != name:
            writer.alias(writer.names[value], name)


def _check(model: ModelProto) -> None:
    """Run onnx.checker with strict shape inference."""
    from onnx import checker

    try:
        checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises what its C++ and protobuf do
        raise ExportFailure(
            f"onnx.checker refuses the model of {model.graph.name}: {error}",
            fix="this is a mistake in an export rule of backends/onnx: please report it",
        ) from error
