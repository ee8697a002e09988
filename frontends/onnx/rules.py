"""The registry of import rules: what each ONNX operator is in cauce.

A rule is a function ``rule(n)`` of one ONNX node, a :class:`~.call.Call`, from which it takes
operands and attributes. It writes cauce's nodes with ``n.b`` and returns what the ONNX node makes,
one :data:`Operand` or a tuple of them. A *fold* is a function ``fold(n, *arrays)`` that computes
the same where all operands are integers known while importing, sizes over symbols included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...ir import Array, DimExpr, DType, Value
from ...ir.onnx.tensors import Place

if TYPE_CHECKING:
    from .call import Call


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor whose elements are known while importing.

    Attributes:
        name: of the tensor in the file.
        held: its elements, for who does not look at them; :attr:`array` for all others.
        dtype: its dtype.
        place: where in files they lie, if not beside the nodes.
        stored: whether the file holds it as it is; it may be a weight then.
    """

    name: str
    held: Array
    dtype: DType
    place: Place | None = None
    stored: bool = False

    @property
    def array(self) -> Array:
        """Its elements in the carrier of ``dtype``; an array of objects where some are expressions
        over symbolic sizes. What is made of the model depends on them from now on."""
        if self.place is not None:
            self.place.used = True
        return self.held

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.held.shape

    @property
    def size(self) -> int:
        """How many elements it has."""
        return self.held.size

    @property
    def symbolic(self) -> bool:
        """Whether some elements are known only when the network runs."""
        return self.held.dtype == np.object_

    @property
    def weight(self) -> bool:
        """Whether this is what training changes: several stored floats."""
        return self.stored and self.dtype.is_float and self.size > 1

    @staticmethod
    def of(elements: object, dtype: DType = DType.I64, name: str = "") -> Known:
        """Integers or bools, and sizes over symbols, of any shape."""
        array = np.asarray(elements, np.object_)
        if not any(isinstance(element, DimExpr) for element in array.reshape(-1)):
            array = array.astype(dtype.numpy)
        return Known(name, array, dtype)


Operand: TypeAlias = Known | Value
REFUSED: Any = object()  # the operand that a node would have made which was refused
Made: TypeAlias = Operand | tuple[Operand, ...]
ImportRule: TypeAlias = Callable[["Call"], Made]
Fold: TypeAlias = Callable[..., object]

RULES: dict[str, ImportRule] = {}
FOLDS: dict[str, Fold] = {}


def imports(*op_types: str) -> Callable[[ImportRule], ImportRule]:
    """Decorator: the function imports these operators of ONNX's own domain."""

    def enter(rule: ImportRule) -> ImportRule:
        _own_first(rule)
        RULES.update(dict.fromkeys(op_types, rule))
        return rule

    return enter


def folds(*op_types: str) -> Callable[[Fold], Fold]:
    """Decorator: the function computes these operators on known integers."""

    def enter(fold: Fold) -> Fold:
        _own_first(fold)
        FOLDS.update(dict.fromkeys(op_types, fold))
        return fold

    return enter


def from_elsewhere() -> bool:
    """Whether some of the rules are not cauce's own."""
    return not all(map(_is_own, (*RULES.values(), *FOLDS.values())))


def _is_own(rule: Callable[..., object]) -> bool:
    return rule.__module__.startswith(__name__.rpartition(".")[0] + ".")


def _own_first(rule: Callable[..., object]) -> None:
    """Import cauce's own rules before one from elsewhere, which may take the place of one."""
    if not _is_own(rule):
        from . import families as families
