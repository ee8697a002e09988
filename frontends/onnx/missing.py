"""What of a model cauce does not have: one error for all operators, attributes and forms.

After the first node that is refused the import goes on, to find the others. What that node would
have made is stood in for by values of the types that ONNX infers; where it infers none, what reads
them is passed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...ir import TensorType
from ...ir.errors import UnsupportedOp
from ...ir.onnx.opsets import OWN_DOMAINS
from ...ir.onnx.tensors import dtype_of
from .definitions import BY_DEFINITION, type_of
from .names import plain
from .reading import Sizes
from .rules import Operand
from .scope import Scope, key_of

_MOST_NAMES = 3
_MOST_LINES = 50
_GREATEST = 2**16  # of the integers of a node whose types are inferred
# Operators whose results are as long as the elements of their operands make them.
_SELECTING = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
_DATA_DEPENDENT = "the size of its result depends on the data"
_FIX = (
    "export the model in another way (other opset, no custom operators), cut the network "
    "before these nodes with onnx.utils.extract_model, write it with cauce.nn and load its "
    "weights, or add a rule: docs/recipes/add-an-onnx-op.md"
)


class Refusals:
    """What of a model is refused.

    Args:
        proto: the model.
        file: its name.
        known: the operators that have a rule.
        functions: those of the model.
    """

    def __init__(
        self,
        proto: Any,
        file: str,
        known: Collection[str],
        functions: Mapping[tuple[str, ...], Any],
    ) -> None:
        self._opsets = {entry.domain: entry.version for entry in proto.opset_import}
        self._file, self._known, self._functions = file, known, functions
        self._missing: dict[tuple[str, str, object], list[str]] = {}
        self._strange: dict[tuple[str, int, str], list[str]] = {}
        self._forms: dict[tuple[str, int, str], list[str]] = {}
        self._errors: list[UnsupportedOp] = []
        self._total = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._missing or self._strange or self._forms)

    def check(self, nodes: Sequence[Any], scope: Scope) -> None:
        """List the operators of a graph, and of the functions that it calls, that have no rule,
        and the attributes of the others that ONNX does not give them."""
        prefix = f"{scope.path}: " if scope.path else ""
        pending = deque(
            (prefix + (plain(n.name) if n.name else f"node {i}"), n) for i, n in enumerate(nodes)
        )
        entered: set[tuple[str, ...]] = set()
        while pending:
            self._total += 1
            name, node = pending.popleft()
            key = key_of(node)
            domain, op_type, _ = key
            if key in self._functions:
                if key not in entered:
                    entered.add(key)
                    inner = self._functions[key].node
                    pending += [
                        (f"{plain(op_type)}: {plain(n.name or n.op_type)}", n) for n in inner
                    ]
            elif self._has_rule(domain, op_type):
                for attribute in _strange(node, scope.opset) if node.attribute else ():
                    self._strange.setdefault((op_type, scope.opset, attribute), []).append(name)
            elif (domain, op_type) not in BY_DEFINITION:
                version = self._opsets.get(domain, "?") if domain else scope.opset
                self._missing.setdefault((domain, op_type, version), []).append(name)

    def lists(self, node: Any, opset: int) -> bool:
        """Whether a node is listed already, by its operator or by an attribute."""
        key = key_of(node)
        domain, op_type, _ = key
        if (not self._missing and not self._strange) or key in self._functions:
            return False
        if not self._has_rule(domain, op_type):
            return (domain, op_type) not in BY_DEFINITION
        return any((op_type, opset, plain(a.name)) in self._strange for a in node.attribute)

    def _has_rule(self, domain: str, op_type: str) -> bool:
        return not domain and op_type in self._known

    def add(self, node: Any, label: str, opset: int, error: UnsupportedOp) -> None:
        """List a node whose form was refused."""
        what = error.what.removeprefix(f"{node.op_type} of opset {opset}: ")
        names = self._forms.setdefault((node.op_type, opset, what), [])
        names.append(plain(label))
        self._errors.append(error)

    def raise_all(self) -> None:
        """Raise UnsupportedOp for all that was listed, if anything was.

        The message lists each operator, its opset, and its nodes. One form of one node is an error
        of its own, with its remedy.
        """
        if not self:
            return
        if len(self._errors) == 1 and not self._missing and not self._strange:
            raise self._errors[0]
        lines, said = [], []
        for (domain, op_type, version), names in _most_first(self._missing):
            full = f"{plain(domain)}.{plain(op_type)}" if domain else plain(op_type)
            why = f", {_DATA_DEPENDENT}" if not domain and op_type in _SELECTING else ""
            lines.append(f"  {len(names)} x {full} (opset {version}{why}): {_some(names)}")
        if self._missing:
            said.append(
                f"{len(lines)} operators that cauce does not import, in "
                f"{_count(self._missing)} of its {self._total} nodes"
            )
        for (op_type, opset, attribute), names in _most_first(self._strange):
            full = f"{op_type} (opset {opset}) with the attribute {attribute}"
            lines.append(f"  {len(names)} x {full}: {_some(names)}")
        if self._strange:
            said.append(f"{len(self._strange)} attributes that ONNX does not have in this opset")
        for (op_type, opset, what), names in _most_first(self._forms):
            full = f"{plain(op_type)} (opset {opset}): {_some(names)}"
            lines.append(f"  {len(names)} x {full}: " + what.replace("\n", "\n  "))
        if self._forms:
            said.append(
                f"{len(self._forms)} forms of operators that it does not have, in "
                f"{_count(self._forms)} nodes"
            )
        more = len(lines) - _MOST_LINES
        lines[_MOST_LINES:] = [f"  and {more} more"] if more > 0 else []
        remedies = {error.fix for error in self._errors}
        alone = remedies.pop() if len(remedies) == 1 and len(said) == 1 and self._forms else None
        raise UnsupportedOp(
            f"{self._file} uses {' and '.join(said)}:\n" + "\n".join(lines), fix=alone or _FIX
        )


def inferred(node: Any, opset: int, operands: Sequence[Operand | None]) -> list[TensorType | None]:
    """The types that ONNX's own shape inference gives the results of a node; None where none."""
    from onnx import TypeProto, defs, helper, shape_inference

    nothing: list[TensorType | None] = [None] * len(node.output)
    # ONNX goes through as many parts as Split says that there are, say.
    if any(abs(n) > _GREATEST for entry in node.attribute for n in (entry.i, *entry.ints)):
        return nothing
    domain = "" if node.domain in OWN_DOMAINS else node.domain
    try:
        schema = defs.get_schema(node.op_type, opset, domain)
        types = {name: type_of(operand) for name, operand in zip(node.input, operands) if name}
        found = shape_inference.infer_node_outputs(
            schema, node, types, opset_imports=[helper.make_opsetid(domain, opset)]
        )
        sizes = Sizes()
        return [_tensor(found.get(name, TypeProto()), sizes, name) for name in node.output]
    except Exception:  # of many kinds; and then there is nothing to go on with
        return nothing


def _tensor(message: Any, sizes: Sizes, name: str) -> TensorType | None:
    tensor = message.tensor_type
    if message.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        return None
    dims = [sizes.dim(dim, f"{name}_{i}") for i, dim in enumerate(tensor.shape.dim)]
    return TensorType(dtype_of(tensor.elem_type, name), tuple(dims))


def _strange(node: Any, opset: int) -> Iterable[str]:
    """The attributes of a node that its operator does not have."""
    from onnx import defs

    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError:  # an operator of a later opset, which does no harm
        return []
    known = schema.attributes
    return [plain(entry.name) for entry in node.attribute if entry.name not in known]


def _most_first(listed: dict[Any, list[str]]) -> list[tuple[Any, list[str]]]:
    return sorted(listed.items(), key=lambda item: -len(item[1]))


def _count(listed: dict[Any, list[str]]) -> int:
    return sum(map(len, listed.values()))


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
