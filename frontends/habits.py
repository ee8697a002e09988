"""What programs of NumPy and PyTorch try on a tensor that a symbolic one does not have.

Each fails where it is tried, with what to write instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..ir.errors import TypeMismatch, UnknownAttribute
from ..ir.location import here
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
}
_INSTEAD = {
    "T": "x.permute(1, 0) is the transpose of a matrix",
    "transpose": "x.permute(...) takes all dimensions in their new order",
    "view": "x.reshape(...)",
    "unsqueeze": "x.reshape(...) with a size of 1",
    "squeeze": "x.reshape(...) without the size of 1",
    "size": "x.shape",
    "dim": "x.ndim",
    "min": "-(-x).max(...)",
    "std": "x.var(...).sqrt()",
    "astype": "x.cast('f32')",
    "to": "x.cast('f32')",
    "float": "x.cast('f32')",
    "item": "numbers come when the compiled network is called",
    "numpy": "numbers come when the compiled network is called",
}


@user_facing
class Habits:
    """The base of a symbolic tensor that refuses what it cannot do, with a remedy."""

    if not TYPE_CHECKING:  # a type checker should go on to know which attributes there are

        def __getattr__(self, name: str) -> NoReturn:
            import difflib

            from . import nn

            near = difflib.get_close_matches(name, dir(type(self)), n=3)
            fix = f"did you mean {', '.join(f'x.{n}' for n in near)}?" if near else None
            if name in nn.__all__:
                fix = f"use nn.{name}(x, ...)"
            fix = _INSTEAD.get(name, fix)
            raise UnknownAttribute(f"a tensor has no {name!r}", fix=fix)

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

    def __floordiv__(self, other: object) -> NoReturn:
        raise TypeMismatch(
            "there is no op for a // b or a % b of tensors",
            fix="divide by /; x.cast('i64') drops what is behind the point",
        )

    __rfloordiv__ = __mod__ = __rmod__ = __floordiv__
