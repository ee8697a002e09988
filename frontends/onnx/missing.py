"""Operators that cauce does not have: one error for all that a model uses."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...ir.errors import UnsupportedOp
from ...ir.onnx.opsets import OWN_DOMAINS

_MOST_NAMES = 3


def check_operators(proto: Any, opset: int, known: Collection[str], file: str) -> None:
    """Whether all nodes of a model are of known operators.

    Raises:
        UnsupportedOp: some are not. The message lists each operator, its opset, and its nodes.
    """
    missing: dict[tuple[str, str], list[str]] = {}
    for place, node in enumerate(proto.graph.node):
        if node.domain in OWN_DOMAINS and node.op_type in known:
            continue
        key = (node.domain if node.domain not in OWN_DOMAINS else "", node.op_type)
        missing.setdefault(key, []).append(node.name or f"node {place}")
    if not missing:
        return
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    local = {(function.domain, function.name) for function in proto.functions}
    lines = []
    for (domain, op_type), names in sorted(missing.items(), key=lambda item: -len(item[1])):
        version = opsets.get(domain, "?") if domain else opset
        kind = "function of the model, " if (domain, op_type) in local else ""
        shown = ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
        lines.append(
            f"  {len(names)} x {domain}{'.' * bool(domain)}{op_type} "
            f"({kind}opset {version}): {shown}"
        )
    count = sum(map(len, missing.values()))
    raise UnsupportedOp(
        f"{file} uses {len(missing)} operators that cauce does not import, "
        f"in {count} of its {len(proto.graph.node)} nodes:\n" + "\n".join(lines),
        fix="export the model in another way (other opset, functions inlined, no custom "
        "operators), cut the network before these nodes with onnx.utils.extract_model, write it "
        "with cauce.nn and load its weights, or add a rule: docs/recipes/add-an-onnx-op.md",
    )
