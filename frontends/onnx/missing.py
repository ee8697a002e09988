"""What of a model cauce does not have: one error for all of its operators and attributes."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...ir.errors import UnsupportedOp
from .definitions import BY_DEFINITION
from .names import plain
from .scope import Scope, key_of

_MOST_NAMES = 3
_MOST_LINES = 50
# Operators whose results are as long as the elements of their operands make them.
_SELECTING = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
_DATA_DEPENDENT = "the size of its result depends on the data"


def check_operators(
    nodes: Sequence[Any],
    scope: Scope,
    proto: Any,
    known: Collection[str],
    functions: Mapping[tuple[str, ...], Any],
) -> None:
    """Whether all nodes of a graph or of a function are of known operators.

    They may have the attributes alone that ONNX gives those, and call functions of the same kind.

    Raises:
        UnsupportedOp: some are not. The message lists each operator, its opset, and its nodes.
    """
    missing: dict[tuple[str, str], list[str]] = {}
    strange: dict[tuple[str, str], list[str]] = {}
    pending = deque((plain(n.name) if n.name else f"node {i}", n) for i, n in enumerate(nodes))
    entered: set[tuple[str, ...]] = set()
    total = 0
    while pending:
        total += 1
        name, node = pending.popleft()
        key = key_of(node)
        domain, op_type, _ = key
        if key in functions:
            if key not in entered:
                entered.add(key)
                inner = functions[key].node
                pending += [(f"{plain(op_type)}: {plain(n.name or n.op_type)}", n) for n in inner]
        elif (domain, op_type) in BY_DEFINITION and op_type not in known:
            pass
        elif domain or op_type not in known:
            missing.setdefault((domain, op_type), []).append(name)
        elif node.attribute:
            for attribute in _strange(node, scope.opset):
                strange.setdefault((op_type, attribute), []).append(name)
    if not missing and not strange:
        return
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    lines, said = [], []
    for (domain, op_type), names in sorted(missing.items(), key=lambda item: -len(item[1])):
        version = opsets.get(domain, "?") if domain else scope.opset
        full = f"{plain(domain)}.{plain(op_type)}" if domain else plain(op_type)
        why = f", {_DATA_DEPENDENT}" if not domain and op_type in _SELECTING else ""
        lines.append(f"  {len(names)} x {full} (opset {version}{why}): {_some(names)}")
    if missing:
        count = sum(map(len, missing.values()))
        said.append(
            f"{len(missing)} operators that cauce does not import, in {count} of its {total} nodes"
        )
    for (op_type, attribute), names in sorted(strange.items(), key=lambda item: -len(item[1])):
        lines.append(
            f"  {len(names)} x {op_type} (opset {scope.opset}) with the attribute {attribute}: "
            f"{_some(names)}"
        )
    if strange:
        said.append(f"{len(strange)} attributes that ONNX does not have in this opset")
    more = len(lines) - _MOST_LINES
    lines[_MOST_LINES:] = [f"  and {more} more"] if more > 0 else []
    where = f", in {scope.path}," if scope.path else ""
    raise UnsupportedOp(
        f"{scope.file}{where} uses {' and '.join(said)}:\n" + "\n".join(lines),
        fix="export the model in another way (other opset, no custom operators), cut the network "
        "before these nodes with onnx.utils.extract_model, write it with cauce.nn and load its "
        "weights, or add a rule: docs/recipes/add-an-onnx-op.md",
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
