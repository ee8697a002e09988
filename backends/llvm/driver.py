"""From a graph to machine code: lowering, planning, writing IR, and LLVM."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ...ir import Graph
from ..contract import Interface
from ..split import split
from .abi import Artifact
from .codegen.builder import Module
from .codegen.plan import Plan, add_plan, make_plan
from .lowering.batches import free_batch
from .lowering.lower import lower
from .runtime.engine import compile_text
from .runtime.threads import write_pool
from .target import Target


@dataclass(frozen=True)
class Build:
    """A compiled graph with all that lies between it and its code.

    Attributes:
        lowered: the graph as kernels and layouts.
        prepare: the plan of what depends on fixed parameters alone.
        main: the plan of the rest.
        text: the module, as LLVM IR.
    """

    lowered: Graph
    prepare: Plan
    main: Plan
    text: str


def build(graph: Graph, target: Target) -> Build:
    """Write the module of a graph.

    Raises:
        UnsupportedOp: an op or a dtype without native code.
    """
    free, given = free_batch(graph)
    lowered = lower(free, target)
    parts = split(lowered)
    main = make_plan(parts.main, target, "main", sorted(free.symbols()), given)
    prepare = make_plan(parts.prepare, target, "prepare", (), {})
    module = Module()
    write_pool(module, target)
    for plan in (main, prepare):
        add_plan(module, plan, target)
    text = module.text(target.triple, f'nounwind "target-cpu"="{target.cpu}"')
    return Build(lowered, prepare, main, text)


def compile_graph(graph: Graph, target: Target, source: Graph) -> Artifact:
    """The machine code of a graph, which passes made from a source.

    Raises:
        UnsupportedOp: an op or a dtype without native code.
    """
    made = build(graph, target)
    digest = hashlib.sha256(made.text.encode()).hexdigest()[:16]
    code = compile_text(made.text, target)
    entries = (made.prepare.describe(source), made.main.describe(source))
    return Artifact(code, digest, target, Interface.of(graph), *entries)
