"""The registry of export rules: how each op is written in ONNX.

A rule is a function ``rule(w, op, node, *operands)``: it writes ONNX nodes with the
:class:`Writer` ``w`` and returns the names of the tensors that hold the results. ``operands`` are
tensor names too; ``node`` tells the types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ...ir import DType, Node, Op

if TYPE_CHECKING:
    from .writer import Writer

Names: TypeAlias = str | tuple[str, ...]
RuleFunction: TypeAlias = Callable[..., Names]
Carriers: TypeAlias = Mapping[DType, DType]

# What ONNX (opset 18) or ONNX Runtime cannot compute in a dtype is computed in a wider one.
# Integers wrap around in casts, so sums and choices are right in any carrier that is wide enough;
# bfloat16 is rounded after every op, which is what it means in the reference too.
BF16_IN_F32: Carriers = {DType.BF16: DType.F32}
# ONNX Runtime lacks much of what it has for other integers in those of 16 bits.
SHORTS_IN_I32: Carriers = {**BF16_IN_F32, DType.I16: DType.I32, DType.U16: DType.I32}
# ONNX Runtime does not add float16 in ScatterElements.
HALVES_IN_F32: Carriers = {**BF16_IN_F32, DType.F16: DType.F32}


@dataclass(frozen=True)
class ExportRule:
    """How to write an op.

    Attributes:
        write: the rule.
        carriers: for dtypes of operands that the rule cannot take, those that stand in for them.
        applies: whether the rule is right for a node; where it is not, the op is decomposed.
        since: the first opset with the operator; before, the op is decomposed.
    """

    write: RuleFunction
    carriers: Carriers
    applies: Callable[[Node], bool]
    since: int = 1


RULES: dict[type[Op], ExportRule] = {}


def always(node: Node) -> bool:
    """The rule is right for every node."""
    return True


def not_in_f64(node: Node) -> bool:
    """The rule is right but in float64: ONNX has an attribute in float32, or no such kernel."""
    return node.results[0].type.dtype is not DType.F64


def exports(
    *ops: type[Op],
    carriers: Carriers = BF16_IN_F32,
    applies: Callable[[Node], bool] = always,
    since: int = 1,
) -> Callable[[RuleFunction], RuleFunction]:
    """Decorator: the function writes these ops."""

    def enter(function: RuleFunction) -> RuleFunction:
        for op in ops:
            RULES[op] = ExportRule(function, carriers, applies, since)
        return function

    return enter


def exports_as(
    names: Mapping[type[Op], str],
    carriers: Carriers = BF16_IN_F32,
    applies: Callable[[Node], bool] = always,
    since: int = 1,
) -> None:
    """Enter ops that ONNX has too, with the same operands and no attributes."""
    for op, name in names.items():
        exports(op, carriers=carriers, applies=applies, since=since)(_direct(name))


def _direct(name: str) -> RuleFunction:
    def rule(w: Writer, op: Op, node: Node, *operands: str) -> str:
        return w(name, *operands)

    return rule
