"""The typed graph and all that defines its meaning; see ``docs/architecture.md``."""

from typing import TYPE_CHECKING

from .builder import Builder
from .dims import Dim, DimExpr, parse_dim, symbol
from .evaluate import Evaluation, evaluate
from .graph import Graph, Input, Node, Role, Value
from .literal import Literal
from .location import Frame, Location
from .op import Cost, Op, lookup, register, registry
from .types import Array, DType, TensorType
from .verify import verify

__all__ = [
    "Array",
    "Builder",
    "Cost",
    "DType",
    "Dim",
    "DimExpr",
    "Evaluation",
    "Frame",
    "Graph",
    "Input",
    "Literal",
    "Location",
    "Node",
    "Op",
    "Role",
    "TensorType",
    "Value",
    "evaluate",
    "lookup",
    "ops",
    "parse",
    "parse_dim",
    "register",
    "registry",
    "symbol",
    "verify",
]

if TYPE_CHECKING:
    from . import ops
    from .parser import parse
else:

    def __getattr__(name):
        """Import when first asked for what a program does without whose code is in the cache."""
        if name == "parse":
            from .parser import parse

            globals()["parse"] = parse
            return parse
        if name == "ops":
            from .ops import shape as shape

            return globals()["ops"]  # importing a package within this one puts it here
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
