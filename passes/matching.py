"""What rewrite rules share: patterns for constants, and rules whose replacement is an operand."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Builder, Value
from ..ir.ops.constant import Constant
from ..ir.record import Record
from ..ir.rewrite import Match, Rule


def array_of(value: Value) -> Array | None:
    """The elements of a constant; None for any other value."""
    op = value.node.op if value.node else None
    return op.value.array if isinstance(op, Constant) else None


def matched_array(match: Match, name: str) -> Array:
    """The elements of a constant that the pattern called ``name`` matched."""
    array = array_of(match[name])
    assert array is not None, name
    return array


class Const(Record):
    """Matches a constant; :func:`matched_array` gives its elements."""

    name: str

    def match(self, value: Value, match: Match) -> bool:
        return array_of(value) is not None and match.values.setdefault(self.name, value) is value


class Fill(Record):
    """Matches a constant whose elements all equal ``number`` (so 0 matches -0.0 too)."""

    number: float

    def match(self, value: Value, match: Match) -> bool:
        array = array_of(value)
        return array is not None and array.size > 0 and bool(np.all(array == self.number))


def keeps_type(match: Match) -> str | None:
    """A check: the result has the type of ``x``, so no other operand has broadcast it."""
    x, result = match["x"], match.root.result
    if x.type != result.type:
        return f"%{x.name} is {x.type}, the result {result.type}"
    return None


class ToOperand(Rule):
    """Base of rules that put the value ``x`` of the match in the place of the root."""

    def replace(self, b: Builder, match: Match) -> Value:
        return match["x"]


class ToOperandOfType(ToOperand):
    """Base of such rules that refuse where the result has another type than ``x``."""

    def check(self, match: Match) -> str | None:
        return keeps_type(match)
