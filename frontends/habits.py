"""What programs of NumPy and PyTorch try on a tensor that a symbolic one does not have.

Each fails where it is tried, with what to write instead, out of the table in ``ir/habits.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..ir.errors import TypeMismatch
from ..ir.habits import TENSOR
from ..ir.location import here
from ..ir.remedies import unknown_attribute
from ..ir.tracebacks import user_facing

# What an operator with a NumPy number or array on its left becomes: the method of the tensor.
_REFLECTED = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "power": "__rpow__",
    "matmul": "__rmatmul__",
    "floor_divide": "__rfloordiv__",
    "remainder": "__rmod__",
    "less": "__gt__",
    "less_equal": "__ge__",
    "greater": "__lt__",
    "greater_equal": "__le__",
    "bitwise_and": "__rand__",
    "bitwise_or": "__ror__",
    "bitwise_xor": "__rxor__",
}


@user_facing
class Habits:
    """The base of a symbolic tensor that refuses what it cannot do, with a remedy."""

    if not TYPE_CHECKING:  # a type checker should go on to know which attributes there are

        def __getattr__(self, name: str) -> NoReturn:
            from . import nn

            fix = {name: f"use nn.{name}(x, ...)"} if name in nn.__all__ else TENSOR
            raise unknown_attribute("a tensor", name, fix, dir(type(self)), prefix="x.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Let operators with NumPy's numbers and arrays on the left be the tensor's."""
        if method == "__call__" and len(inputs) == 2 and inputs[1] is self and not options:
            reflected = _REFLECTED.get(ufunc.__name__)
            if reflected is not None:
                return getattr(self, reflected)(inputs[0])
        raise TypeMismatch(
            f"np.{ufunc.__name__} computes with numbers, a symbolic tensor has none yet",
            fix="use the operators and methods of the tensor, such as x.exp(), and those of nn",
            loc=here(),
        )

    def __array__(self, *dtype: object, **options: object) -> NoReturn:
        raise self._no_numbers("an array")

    def __float__(self) -> NoReturn:
        raise self._no_numbers("a float")

    def __int__(self) -> NoReturn:
        raise self._no_numbers("an int")

    def _no_numbers(self, what: str) -> TypeMismatch:
        return TypeMismatch(
            f"a symbolic tensor cannot become {what}: its numbers are not known while tracing",
            fix="go on with the tensor: its methods, and nn, compute the same in each run",
            loc=here(),
        )

    def __len__(self) -> NoReturn:
        raise TypeMismatch(
            "a symbolic tensor has no len()", fix="use x.shape[0], which may be a symbol"
        )

    def __setitem__(self, index: object, value: object) -> NoReturn:
        raise TypeMismatch(
            "a symbolic tensor cannot be written to: it is a value of the graph",
            fix="make another one: nn.where(condition, value, x), or nn.concat of its parts",
        )

    def __floordiv__(self, other: object) -> NoReturn:
        raise TypeMismatch(
            "there is no op for a // b or a % b of tensors",
            fix="divide by /; x.cast('i64') drops what is behind the point",
        )

    __rfloordiv__ = __mod__ = __rmod__ = __floordiv__
