"""What of a model cauce does not have: one error for all of its operators and attributes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ...ir.errors import DataError, UnsupportedOp
from ...ir.onnx.opsets import NEWEST, OWN_DOMAINS
from .names import plain

_MOST_NAMES = 3
_MOST_LINES = 50


def own_opset(proto: Any, file: str) -> int:
    """The version of ONNX's own operators that a model is written in; 1 where it says none.

    Raises:
        DataError: two versions.
        UnsupportedOp: one that is newer than cauce, whose operators may mean something else.
    """
    versions = {int(entry.version) for entry in proto.opset_import if entry.domain in OWN_DOMAINS}
    if len(versions) > 1:
        raise DataError(
            f"{file} is of the opsets {', '.join(map(str, sorted(versions)))} at once",
            fix="the file is damaged: export it again",
        )
    opset = max(versions, default=1)
    if not 1 <= opset <= NEWEST:
        raise UnsupportedOp(
            f"{file} is of opset {opset}, and cauce knows 1 to {NEWEST}",
            fix="export it for an older opset, or onnx.version_converter.convert_version makes "
            "one of it",
        )
    return opset


def check_operators(proto: Any, opset: int, known: Collection[str], file: str) -> None:
    """Whether all nodes of a model are of known operators, with attributes that those have.

    Raises:
        UnsupportedOp: some are not. The message lists each operator, its opset, and its nodes.
    """
    missing: dict[tuple[str, str], list[str]] = {}
    strange: dict[tuple[str, str], list[str]] = {}
    for place, node in enumerate(proto.graph.node):
        own = node.domain in OWN_DOMAINS
        name = plain(node.name) if node.name else f"node {place}"
        if not own or node.op_type not in known:
            domain = "" if own else node.domain
            missing.setdefault((domain, node.op_type), []).append(name)
        elif node.attribute:
            for attribute in _strange(node, opset):
                strange.setdefault((node.op_type, attribute), []).append(name)
    if not missing and not strange:
        return
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    local = {(function.domain, function.name) for function in proto.functions}
    lines, said = [], []
    for (domain, op_type), names in sorted(missing.items(), key=lambda item: -len(item[1])):
        version = opsets.get(domain, "?") if domain else opset
        kind = "function of the model, " if (domain, op_type) in local else ""
        full = f"{plain(domain)}.{plain(op_type)}" if domain else plain(op_type)
        lines.append(f"  {len(names)} x {full} ({kind}opset {version}): {_some(names)}")
    if missing:
        count = sum(map(len, missing.values()))
        said.append(
            f"{len(missing)} operators that cauce does not import, in {count} of its "
            f"{len(proto.graph.node)} nodes"
        )
    for (op_type, attribute), names in sorted(strange.items(), key=lambda item: -len(item[1])):
        lines.append(
            f"  {len(names)} x {op_type} (opset {opset}) with the attribute {attribute}: "
            f"{_some(names)}"
        )
    if strange:
        said.append(f"{len(strange)} attributes that ONNX does not have in this opset")
    more = len(lines) - _MOST_LINES
    lines[_MOST_LINES:] = [f"  and {more} more"] if more > 0 else []
    raise UnsupportedOp(
        f"{file} uses {' and '.join(said)}:\n" + "\n".join(lines),
        fix="export the model in another way (other opset, functions inlined, no custom "
        "operators), cut the network before these nodes with onnx.utils.extract_model, write it "
        "with cauce.nn and load its weights, or add a rule: docs/recipes/add-an-onnx-op.md",
    )


def _strange(node: Any, opset: int) -> Iterable[str]:
    """The attributes of a node that its operator does not have."""
    from onnx import defs

    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError:  # an operator of a later opset, which does no harm
        return []
    known = schema.attributes
    return [plain(entry.name) for entry in node.attribute if entry.name not in known]


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
