"""The registry of import rules: what each ONNX operator is in cauce.

A rule is a function ``rule(n)`` of one ONNX node, a :class:`~.call.Call`, from which it takes
operands and attributes. It writes cauce's nodes with ``n.b`` and returns what the ONNX node makes,
one :data:`Operand` or a tuple of them. A *fold* is a function ``fold(n, *arrays)`` that computes
the same where all operands are integers known while importing, sizes over symbols included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ...ir import Array, DimExpr, DType, Value

if TYPE_CHECKING:
    from .call import Call


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor whose elements are known while importing.

    Attributes:
        name: of the tensor in the file.
        array: its elements in the carrier of ``dtype``; an array of objects where some are
            expressions over symbolic sizes.
        dtype: its dtype.
        stored: whether the file holds it as it is; it may be a weight then.
    """

    name: str
    array: Array
    dtype: DType
    stored: bool = False

    @property
    def symbolic(self) -> bool:
        """Whether some elements are known only when the network runs."""
        return self.array.dtype == np.object_

    @property
    def weight(self) -> bool:
        """Whether this is what training changes: several stored floats."""
        return self.stored and self.dtype.is_float and self.array.size > 1

    @staticmethod
    def of(elements: object, dtype: DType = DType.I64, name: str = "") -> Known:
        """Integers or bools, and sizes over symbols, of any shape."""
        array = np.asarray(elements, np.object_)
        if not any(isinstance(element, DimExpr) for element in array.reshape(-1)):
            array = array.astype(dtype.numpy)
        return Known(name, array, dtype)


Operand: TypeAlias = Known | Value
Made: TypeAlias = Operand | tuple[Operand, ...]
Rule: TypeAlias = Callable[["Call"], Made]
Fold: TypeAlias = Callable[..., object]

RULES: dict[str, Rule] = {}
FOLDS: dict[str, Fold] = {}


def imports(*op_types: str) -> Callable[[Rule], Rule]:
    """Decorator: the function imports these operators of ONNX's own domain."""

    def enter(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(op_types, rule))
        return rule

    return enter


def folds(*op_types: str) -> Callable[[Fold], Fold]:
    """Decorator: the function computes these operators on known integers."""

    def enter(fold: Fold) -> Fold:
        FOLDS.update(dict.fromkeys(op_types, fold))
        return fold

    return enter
