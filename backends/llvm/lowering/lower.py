"""From a graph as users know it to one in which every op has native code."""

from __future__ import annotations

from ....ir import Graph, Op, Value
from ....ir.errors import UnsupportedOp
from ....ir.ops import shape
from ....ir.ops.fused import Kernel
from ....ir.rewrite import decompose_unless
from ..codegen.code import STORED
from ..codegen.kernels import EMITTERS
from ..target import Target
from .indices import put_indices_first
from .kernels import form_kernels
from .layouts import assign_layouts
from .verify import check_layouts


def lower(graph: Graph, target: Target) -> Graph:
    """What the backend makes of ``graph``: kernels, layouts on the types, the order they run in.

    Composites without native code are decomposed. An op of weight and the elementwise ops behind it
    become one kernel node. What the result means is what its nodes mean: the reference can run it
    too.

    Raises:
        UnsupportedOp: an op that can be neither compiled nor decomposed, or a dtype that native
            code does not know.
        VerifyError: layouts that emitters could not work with: a mistake of the lowering.
    """
    graph = graph.copy()
    need_known_dtypes(graph)
    decompose_unless(
        graph,
        lambda node: type(node.op) in EMITTERS.keys() - {Kernel},
        "the llvm backend has no kernel",
        _remedy,
    )
    nest_concats(graph)
    form_kernels(graph)
    assign_layouts(graph, target)
    put_indices_first(graph)
    check_layouts(graph)
    return graph


def _remedy(op: Op) -> str:
    """Where the code of an op is written: elementwise ops have rules, as parts of any loop."""
    name = type(op).__name__
    if op.elementwise:
        return (
            f"a rule on vectors: {name} in _RULES of backends/llvm/elements.py and in _MAPS of "
            "maps.py beside it (docs/recipes/add-an-op.md)"
        )
    return f"add one in backends/llvm: @emits({name})"


def nest_concats(graph: Graph) -> None:
    """concat(a, b, c) = concat(concat(a, b), c) where concat(a, b) is there already.

    Each then lies within the next, as in a dense block, and none is copied.
    """
    known: dict[tuple[int, tuple[Value, ...]], Value] = {}
    for node in graph.nodes:
        if not isinstance(node.op, shape.Concat):
            continue
        axis, operands = node.op.axis % node.result.type.rank, node.operands
        for count in range(len(operands) - 1, 1, -1):
            inner = known.get((axis, operands[:count]))
            if inner is not None:
                node.operands = (inner, *operands[count:])
                break
        known[axis, operands] = node.result


def need_known_dtypes(graph: Graph) -> None:
    """Raise UnsupportedOp for a value, regions included, whose dtype native code does not know."""
    for value in graph.values:
        if value.type.dtype not in STORED:
            raise UnsupportedOp(
                f"the llvm backend does not know {value.type.dtype}",
                fix="use f32, or backend='numpy'",
                path=value.path,
                loc=value.loc,
            )
    for node in graph.nodes:
        for _, attribute in node.op.attributes():
            if isinstance(attribute, Graph):
                need_known_dtypes(attribute)
