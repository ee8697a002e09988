"""The typed graph and all that defines its meaning; see ``docs/architecture.md``."""

from . import ops
from .builder import Builder
from .dims import Dim, DimExpr, parse_dim, symbol
from .evaluate import Evaluation, evaluate
from .graph import Graph, Input, Node, Role, Value
from .literal import Literal
from .location import Frame, Location
from .op import Cost, Op, lookup, register, registry
from .parser import parse
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
