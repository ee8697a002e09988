"""Composites that have a kernel of their own here: the pipelines leave them whole."""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.ops.activation import LogSoftmax, Softmax
from ...ir.ops.reduce import Mean

_COMPOSITES = (Mean, Softmax, LogSoftmax)


def is_whole(node: Node) -> bool:
    """Whether native code computes the op of ``node`` as it is."""
    return isinstance(node.op, _COMPOSITES) and node.result.type.dtype in (DType.F32, DType.F64)
