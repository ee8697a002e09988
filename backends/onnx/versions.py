"""Which versions of ONNX an export is written for, and whether its operators are in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir.attributes import integer
from ...ir.errors import AttributeMistake, UnsupportedOp
from ...ir.onnx.opsets import IR_VERSION, OPSET, SOFTMAX_ALONG_AXIS

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def choose(opset: int | None, ir_version: int | None) -> tuple[int, int]:
    """The opset and the IR version to write; None stands for 18, and for 10 or what it needs.

    Raises:
        AttributeMistake: a version that the rules were not written for, that the installed onnx
            does not know, or an IR version older than the opset.
    """
    from onnx import IR_VERSION as newest_ir
    from onnx import helper
    from onnx.defs import onnx_opset_version

    opset = OPSET if opset is None else integer(opset, "opset")
    newest = onnx_opset_version()
    if not SOFTMAX_ALONG_AXIS <= opset <= newest:
        raise AttributeMistake(
            f"opset must be from {SOFTMAX_ALONG_AXIS} to {newest}, which is the newest that the "
            f"installed onnx knows, got {opset}",
            fix=f"write opset={min(max(opset, SOFTMAX_ALONG_AXIS), newest)}, or leave it out",
        )
    least_ir = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    if ir_version is None:
        return opset, max(IR_VERSION, least_ir)
    ir_version = integer(ir_version, "ir_version")
    if not least_ir <= ir_version <= newest_ir:
        raise AttributeMistake(
            f"ir_version must be from {least_ir} to {newest_ir} for opset {opset}, "
            f"got {ir_version}",
            fix=f"write ir_version={min(max(ir_version, least_ir), newest_ir)}, or leave it out",
        )
    return opset, ir_version


def check_opset(model: ModelProto, opset: int) -> None:
    """Whether every node of a model is in an opset, with its attributes, operands and types.

    The rules are written and tested for :data:`OPSET`; later ones take what it takes.

    Raises:
        UnsupportedOp: a node is not, with the opset that has all of them.
    """
    from onnx import shape_inference

    if opset == OPSET:
        return
    inferred = shape_inference.infer_shapes(model).graph
    declared = (*inferred.input, *inferred.output, *inferred.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in declared}
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for node in model.graph.node:
        problem = _problem(node, types, opset)
        if problem is None:
            continue
        enough = next(
            version
            for version in range(opset + 1, OPSET + 1)
            if not any(_problem(other, types, version) for other in model.graph.node)
        )
        # Metadata are written with any version, and left out at the end.
        told = {entry.key: entry.value for entry in node.metadata_props}
        where = f", at {told['cauce.loc']}" if "cauce.loc" in told else ""
        raise UnsupportedOp(
            f"{told.get('cauce.op', model.graph.name)} cannot be written in opset {opset}: "
            f"{problem}{where}",
            fix=f"choose opset={enough} or above",
            path=told.get("cauce.path"),
        )


def _problem(node: NodeProto, types: dict[str, int], opset: int) -> str | None:
    """What an opset lacks for a node; None where it lacks nothing."""
    from onnx import defs

    op = node.op_type
    if not defs.has(op, opset, ""):
        return f"it has no {op}"
    schema = defs.get_schema(op, opset, "")
    unknown = [a.name for a in node.attribute if a.name not in schema.attributes]
    if unknown:
        return f"its {op} has no attribute {unknown[0]}"
    if len(node.input) > schema.max_input:
        return f"its {op} takes {schema.max_input} operands, not {len(node.input)}"
    for place, name in enumerate(node.input):
        formal = schema.inputs[min(place, len(schema.inputs) - 1)]
        if name in types and _type_name(types[name]) not in formal.types:
            return f"its {op} takes no {_type_name(types[name])}"
    return None


def _type_name(element_type: int) -> str:
    """A type as schemas write it, ``tensor(float)``."""
    from onnx import TensorProto

    return f"tensor({TensorProto.DataType.Name(element_type).lower()})"
