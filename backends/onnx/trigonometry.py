"""Export of rounding, of trigonometric and of hyperbolic functions."""

from __future__ import annotations

from ...ir import Node
from ...ir.ops import rounding, trigonometry
from .rules import HALVES_IN_F32, exports, exports_as
from .writer import Writer

exports_as({op: op.__name__ for op in (rounding.Floor, rounding.Ceil, rounding.Round)})
exports_as({rounding.IsNan: "IsNaN"})
exports_as(
    {
        op: op.__name__
        for op in (
            *(trigonometry.Sin, trigonometry.Cos, trigonometry.Tan),
            *(trigonometry.Asin, trigonometry.Acos, trigonometry.Atan),
            *(trigonometry.Sinh, trigonometry.Cosh),
            *(trigonometry.Asinh, trigonometry.Acosh, trigonometry.Atanh),
        )
    }
)


@exports(rounding.IsInf, carriers=HALVES_IN_F32)
def _isinf(w: Writer, op: rounding.IsInf, node: Node, x: str) -> str:
    signs = {"detect_negative": op.detect_negative, "detect_positive": op.detect_positive}
    return w("IsInf", x, **{name: int(flag) for name, flag in signs.items()})
