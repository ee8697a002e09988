"""From a graph as users know it to one in which every op has native code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ....ir import Graph, Op
from ....ir.halves import widen_halves
from ....ir.ops.fused import Kernel
from ....ir.ops.reorder import Reorder
from ....ir.rewrite import decompose_unless
from ..registry import registered
from ..schedule.schedule import Schedule, Setting
from ..target import Target
from .carriers import carry_bfloat16
from .concatenation import nest_concats
from .indices import put_indices_first
from .kernels import form_kernels
from .layouts import Choices, Schedules, assign_layouts
from .verify import verify_layouts


class Lowered(NamedTuple):
    """What the backend makes of a graph.

    Attributes:
        graph: of kernels, with layouts on the types, in the order in which they run.
        schedules: how each kernel runs, by its name.
        choices: how each could, the best way first.
    """

    graph: Graph
    schedules: Schedules
    choices: Choices


def lower(
    graph: Graph,
    target: Target,
    schedules: Mapping[str, Schedule] | None = None,
    precision: str = "default",
    sizes: Mapping[str, int] | None = None,
) -> Lowered:
    """Lower a graph: kernels, schedules, layouts.

    What computes with halves computes with float32, and casts. Composites without native code are
    decomposed. Each anchor and the elementwise ops behind it
    become one kernel node. What the result means is what its nodes mean: the reference can run it
    too.

    Args:
        graph: what to lower; it is left as it is.
        target: the processor.
        schedules: for some kernels, by name, in place of our own.
        precision: which algorithms may be chosen: ``"strict"``, ``"default"`` or ``"fast"``.
        sizes: of symbols that are always the same.

    Raises:
        UnsupportedOp: an op that can be neither compiled nor decomposed.
        CompileError: a schedule that its kernel cannot have, or a name that no kernel has.
        VerifyError: layouts that no code could work with: a mistake of the lowering.
    """
    graph = graph.copy()
    widen_halves(graph)
    carry_bfloat16(graph)
    known = registered().keys() - {Kernel, Reorder}  # these are for lowering itself to write
    decompose_unless(
        graph,
        lambda node: type(node.op) in known,
        "the llvm backend has no kernel",
        _remedy,
    )
    nest_concats(graph)
    form_kernels(graph)
    setting = Setting(target, precision=precision, sizes=tuple((sizes or {}).items()))
    chosen, choices = assign_layouts(graph, setting, schedules or {})
    put_indices_first(graph)
    verify_layouts(graph, chosen)
    return Lowered(graph, chosen, choices)


def _remedy(op: Op) -> str:
    """Where the code of an op is written: elementwise ops have rules, as parts of any loop."""
    name = type(op).__name__
    if op.elementwise:
        return (
            f"a rule on vectors: {name} in RULES of backends/llvm/codegen/math/elements.py "
            "(docs/recipes/add-an-op.md)"
        )
    return f"add one in backends/llvm/codegen/kernels: @emits({name})"
