"""Operators that are imported as ONNX itself defines them: as functions of other operators.

ONNX gives many of its operators a *function body* (docs/IR.md), for backends that lack them. What
no op of cauce is for is imported through it; an operator with a rule never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir import DimExpr
from ...ir.onnx.opsets import OWN_DOMAINS
from ...ir.onnx.tensors import NUMBERS
from .rules import Known, Operand

# Chosen one by one: a definition that is much slower than an op of its own is no support.
BY_DEFINITION = frozenset(
    {
        ("", "AffineGrid"),
        ("", "Attention"),
        ("", "BlackmanWindow"),
        ("", "CausalConvWithState"),
        ("", "CenterCropPad"),
        ("", "DynamicQuantizeLinear"),
        ("", "HammingWindow"),
        ("", "HannWindow"),
        ("", "LinearAttention"),
        ("", "RotaryEmbedding"),
        ("", "SwiGLU"),
        ("ai.onnx.preview", "FlexAttention"),
    }
)


def definition(node: Any, opset: int, operands: Sequence[Operand | None]) -> Any:
    """The ``FunctionProto`` of a node's operator; None where ONNX has none for it."""
    from onnx import FunctionProto, defs

    domain = "" if node.domain in OWN_DOMAINS else node.domain
    if (domain, node.op_type) not in BY_DEFINITION:
        return None
    try:
        schema: Any = defs.get_schema(node.op_type, opset if not domain else 1, domain)
    except defs.SchemaError:
        return None
    versions = (*schema.function_opset_versions, *schema.context_dependent_function_opset_versions)
    version = max((v for v in versions if domain or v <= opset), default=None)
    if version is None:
        return None
    if schema.has_context_dependent_function:
        types = [type_of(operand).SerializeToString() for operand in operands]
        body = schema.get_context_dependent_function_with_opset_version(
            version, node.SerializeToString(), types
        )
    else:
        body = schema.get_function_with_opset_version(version)
    if not body:
        return None
    function = FunctionProto.FromString(body)
    defaults = (entry.default_value for entry in schema.attributes.values())
    function.attribute_proto.extend(entry for entry in defaults if entry.name)
    return function


def type_of(operand: Operand | None) -> Any:
    """The ``TypeProto`` of an operand; an empty one where it is left out."""
    from onnx import TypeProto, helper

    if operand is None:
        return TypeProto()
    if isinstance(operand, Known):
        return helper.make_tensor_type_proto(NUMBERS[operand.dtype], operand.shape)
    shape = [str(d) if isinstance(d, DimExpr) else d for d in operand.type.shape]
    return helper.make_tensor_type_proto(NUMBERS[operand.type.dtype], shape)
