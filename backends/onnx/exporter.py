"""From a graph to an ONNX model, checked, and to a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...ir import Array, DType, Graph, Input, Role, Value, verify
from ...ir.attributes import integer
from ...ir.errors import CauceError, ExportFailure, GraphError
from ...ir.evaluate import bind_symbols, check_feed
from ...ir.files import replacing, resolved
from ...ir.onnx.metadata import with_constants, write_metadata
from ...ir.tracebacks import warn
from ...ir.version import VERSION
from .external import MOST, DataFile, nbytes, remove_others
from .lower import lower
from .rules import RULES
from .tensors import load_onnx, tensor, value_info
from .versions import check_opset, choose
from .writer import Writer

if TYPE_CHECKING:
    from onnx import ModelProto

# The IR version that brought metadata of nodes.
_METADATA = 10


_NORM = "BatchNormalization"
# What ONNX computes in f64 too, and ONNX Runtime 1.32 does not. (Other operators that it lacks in
# f64 are decomposed by their rules; these have no other form.)
_NOT_IN_F64 = frozenset({"AveragePool", "Conv", "ConvTranspose", "Erf"})


def export(
    graph: Graph,
    parameters: Mapping[str, object] | None = None,
    *,
    opset: int | None = None,
    ir_version: int | None = None,
) -> ModelProto:
    """The ONNX model of ``graph``.

    Inputs keep their names and their symbolic dimensions. Parameters and state whose values are
    given become initializers, all other inputs are inputs of the model: a training step exports
    as (parameters, state, hyperparameters, batch) -> (outputs, updates). The new value of an
    updated input ``w`` is the output ``w.new``. ONNX nodes are named by layer path and tell op,
    layer path and source line as ``metadata_props`` (``cauce.op``, ``cauce.path``, ``cauce.loc``).

    Args:
        graph: any graph.
        parameters: values by input name, for inputs that are not data.
        opset: the version of the operators; 18 where None.
        ir_version: the version of the format; 10, or what the opset needs, where None. Older ones
            have no metadata of nodes.

    Raises:
        UnsupportedOp: an op that cannot be written in ONNX, or not in this opset.
        AttributeMistake: a version that there is not.
        ExportFailure: the model did not pass onnx.checker.
        GraphError, ShapeError, TypeMismatch: a value that fits no input.
    """
    draft = _Draft(graph, parameters, opset, ir_version)
    if draft.nbytes > MOST:
        raise ExportFailure(
            f"the parameters and constants of {graph.name} take {draft.nbytes} bytes, "
            f"and an ONNX model holds at most {MOST} beside its nodes",
            fix="save it to a file, which puts them in another one beside it",
        )
    model = draft.model()
    _check(model, model.graph.name)
    return model


def save(
    graph: Graph,
    parameters: Mapping[str, object] | None,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    external_above: int | None = None,
    shares: Mapping[str, float] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Export to a file. A file that is there already stays whole unless the export succeeds.

    Parameters and constants of more than ``external_above`` bytes (nearly 2 GiB, which is what an
    ONNX file holds, where None) go to a file beside it, ``name.onnx.<hash>.data``; that of an
    earlier export to ``path`` is removed. ``shares`` are the weights of a batch in the running
    statistics, by name, where they are not 0.1: what reads the file may train it. ``metadata`` is
    what a file that the graph is from said of itself (``cauce.ir.onnx.metadata``).

    Raises:
        As :func:`export`, and OSError where a file cannot be written.
    """
    draft = _Draft(graph, parameters, opset, ir_version, shares, metadata)
    asked = MOST if external_above is None else integer(external_above, "external_above")
    place = resolved(path)
    if draft.nbytes <= min(asked, MOST):
        model = draft.model()
        _check(model, graph.name)
        with replacing(place) as beside:
            beside.write_bytes(model.SerializeToString(deterministic=True))
        remove_others(place, None)
        return
    data = DataFile(draft.initializers)
    own = data.path(place)
    earlier = own.exists()
    data.write(own)
    try:
        with replacing(place) as beside:
            model = draft.model(data, own.name)
            beside.write_bytes(model.SerializeToString(deterministic=True))
            _check(str(beside), graph.name)
    except BaseException:
        if not earlier:
            own.unlink(missing_ok=True)
        raise
    remove_others(place, own)


class _Draft:
    """All that a model consists of, before it is known where its initializers lie."""

    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, object] | None,
        opset: int | None,
        ir_version: int | None,
        shares: Mapping[str, float] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        load_onnx()
        self._shares, self._metadata = shares or {}, metadata or {}
        self._opset, self._ir_version = choose(opset, ir_version)
        verify(graph)
        given = _check_parameters(graph, parameters or {})
        low = lower(graph, self._opset)
        self._leaves = _leaves(low)
        reserved = [value.name for value in low.inputs] + list(self._leaves)
        self._writer = Writer(low, reserved, self._opset)
        _warn_of_f64(graph.name, _write_nodes(self._writer, low, self._leaves))
        for value in low.inputs:
            if value.name in given:
                self._writer.add_initializer(value.name, given[value.name], value.type.dtype)
        self._name = graph.name
        self._free = [value for value in low.inputs if value.name not in given]
        self.initializers = self._writer.initializers
        self.nbytes = nbytes(self.initializers)

    def model(self, data: DataFile | None = None, location: str = "") -> ModelProto:
        """The model; what ``data`` holds lies in the file ``location``.

        Raises:
            UnsupportedOp: a node that is not in the opset.
        """
        from onnx import helper

        writer, leaves = self._writer, self._leaves
        known = {writer.final(name): value for value, name in writer.names.items()}
        told = {*leaves, *writer.initializers}
        model: ModelProto = helper.make_model(
            helper.make_graph(
                writer.nodes(),
                self._name,
                [value_info(value.name, value.type) for value in self._free],
                [value_info(name, value.type) for name, value in leaves.items()],
                [
                    (data and data.tensor(name, location)) or tensor(name, array, dtype)
                    for name, (array, dtype) in self.initializers.items()
                ],
                value_info=[
                    value_info(name, value.type)
                    for name, value in known.items()
                    if name not in told and value not in self._free
                ],
            ),
            producer_name="cauce",
            producer_version=VERSION,
            ir_version=self._ir_version,
            opset_imports=[helper.make_opsetid("", self._opset)],
        )
        for node in model.graph.node:
            share = self._shares.get(node.input[3]) if node.op_type == _NORM else None
            if share is not None and share != 0.1:
                node.attribute.append(helper.make_attribute("momentum", 1 - share))
        write_metadata(model, with_constants(self._metadata, writer.float_constants))
        check_opset(model, self._opset)
        if self._ir_version < _METADATA:
            for node in model.graph.node:
                del node.metadata_props[:]
        return model


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
    # An input may be an output too, under the name that it has.
    inputs = {v.name for v in graph.inputs if graph.outputs.get(v.name) is not v}
    clashes = (graph.outputs.keys() & updates.keys()) | (inputs & {*graph.outputs, *updates})
    if clashes:
        raise ExportFailure(
            f"{graph.name} has several inputs and outputs called {', '.join(sorted(clashes))}, "
            "and ONNX has one namespace for all",
            fix="give the outputs of the graph other names",
        )
    return {**graph.outputs, **updates}


def _write_nodes(writer: Writer, graph: Graph, leaves: Mapping[str, Value]) -> dict[str, list[str]]:
    """Write every node by its rule, and let each leaf be a tensor of its own name.

    Returns the paths of the nodes that no runtime is known to run, by ONNX operator.
    """
    unknown: dict[str, list[str]] = {}
    wanted: dict[Value, str] = {}
    for name, value in leaves.items():
        wanted.setdefault(value, name)
    for node in graph.nodes:
        operands = [writer.names[value] for value in node.operands]
        before = len(writer.op_types)
        with writer.at(node):
            try:
                made = RULES[type(node.op)].write(writer, node.op, node, *operands)
            except CauceError as error:
                error.at(node.path, node.loc)
                raise
            for value, name in zip(node.results, (made,) if isinstance(made, str) else made):
                writer.bind(value, name, wanted.get(value))
        if any(value.type.dtype is DType.F64 for value in node.operands):
            for op_type in _NOT_IN_F64.intersection(writer.op_types[before:]):
                unknown.setdefault(op_type, []).append(node.path)
    for name, value in leaves.items():
        if writer.final(writer.names[value]) != name:
            writer.alias(writer.names[value], name)
    return unknown


def _warn_of_f64(name: str, unknown: Mapping[str, list[str]]) -> None:
    """Warn of operators that ONNX has in f64, and that no runtime is known to have."""
    if not unknown:
        return
    layers = "; ".join(
        f"{op_type} of {', '.join(paths[:3])}{', ...' * (len(paths) > 3)}"
        for op_type, paths in sorted(unknown.items())
    )
    warn(
        f"the model of {name} is valid ONNX, but ONNX Runtime will not load it: "
        f"it does not compute in f64 what this model does ({layers})",
        fix="make the network in f32, init(..., dtype='f32'); onnx.reference runs it as it is",
    )


def _check(model: ModelProto | str, name: str) -> None:
    """Run onnx.checker with strict shape inference on a model, or on a file and what is beside."""
    from onnx import checker

    try:
        checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises what its C++ and protobuf do
        raise ExportFailure(
            f"onnx.checker refuses the model of {name}: {error}",
            fix="this is a mistake in an export rule of backends/onnx: please report it",
        ) from error
