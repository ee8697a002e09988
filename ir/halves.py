"""Half precision for a backend that computes with float32: its conversions as nodes of the graph.

f16 and bf16 are a matter of what is kept: an op computes with float32, and its result is rounded
once. Written out, ``y = op(x)`` in halves is ``cast(op(cast(x, f32)), f16)``, and then only casts
meet halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .builder import Builder
from .graph import Graph, Node, Value
from .literal import Literal
from .op import Op
from .ops.elementwise import Cast
from .rewrite import decompose, erase_unread, rewrite_node
from .types import DType

HALVES = (DType.F16, DType.BF16)


def widen_halves(graph: Graph, selects: Callable[[Node], bool] = lambda node: True) -> bool:
    """Let every op but casts compute with float32, with casts of operands and results around it.

    Inputs, outputs and updates keep their types. Where a half is read by several ops, or is made
    by an op that rounds nothing, they read one float32 that equals it. Regions that compute with
    halves are taken apart.

    Args:
        graph: is changed.
        selects: which nodes; all that compute with halves by default.

    Returns:
        Whether there was anything to do.
    """
    changed = False
    while regions := [
        node for node in graph.nodes if any(map(_computes, node.op.regions())) and selects(node)
    ]:
        for node in regions:
            decompose(node)
        changed = True
    wide: dict[Value, Value] = {}  # the float32 that equals a half
    written: list[Node] = []
    for node in graph.nodes:
        if _is_cast(node):
            if node.operands[0].type.dtype in HALVES and node.result.type.dtype is DType.F32:
                wide.setdefault(node.operands[0], node.result)
        elif _meets_halves(node) and selects(node):
            written += _widen(node, wide)
            changed = True
    for node in reversed(written):
        erase_unread(node)
    return changed


def _computes(body: Graph) -> bool:
    """Whether a region does more with halves than to cast them."""
    return any(
        (not _is_cast(node) and _has_halves((*node.operands, *node.results)))
        or any(map(_computes, node.op.regions()))
        for node in body.nodes
    )


def _meets_halves(node: Node) -> bool:
    return not node.op.regions() and _has_halves((*node.operands, *node.results))


def _is_cast(node: Node) -> bool:
    return isinstance(node.op, Cast)


def _has_halves(values: Iterable[Value]) -> bool:
    return any(value.type.dtype in HALVES for value in values)


def _widen(node: Node, wide: dict[Value, Value]) -> list[Node]:
    """Write one op in float32; returns the new nodes, and enters what equals its results."""
    results, made = node.results, list[Value]()

    def write(b: Builder) -> tuple[Value, ...]:
        operands, b.suffix = [], "wide"
        for value in node.operands:
            if value.type.dtype in HALVES and value not in wide:
                wide[value] = b(Cast(DType.F32), value)
            operands.append(wide.get(value, value))
        made.extend(b.results(_in_float32(node.op), *operands))
        return tuple(
            b(Cast(half.type.dtype), value) if half.type.dtype in HALVES else value
            for half, value in zip(results, made)
        )

    exact = node.op.exact
    fresh = rewrite_node(node, write)
    if exact:
        wide.update((half, value) for half, value in zip(results, made) if _has_halves([half]))
    return fresh[::-1]


def _in_float32(op: Op) -> Op:
    """The op with float32 for the halves in its attributes."""
    changes: dict[str, object] = {}
    for name, value in op.attributes():
        if isinstance(value, Literal) and value.dtype in HALVES:
            changes[name] = Literal(value.array, DType.F32)
        elif value in HALVES:
            changes[name] = DType.F32
    return op.with_attributes(**changes) if changes else op
