"""From a graph to machine code: lowering, planning, writing IR, and LLVM."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from ...ir import Graph
from ..contract import Interface
from ..split import split
from .abi import Artifact
from .codegen import kernels as _kernels  # noqa: F401 - registers them
from .codegen.assemble import compile_text
from .codegen.builder import Module
from .codegen.micro_batches import write_micro_batches
from .codegen.plan import Plan, add_plan, make_plan
from .codegen.sequence import write_launches
from .codegen.thread_pool import write_pool
from .lowering.batches import free_batch
from .lowering.lower import Lowered, lower
from .runtime.library import laid_out
from .schedule.schedule import Schedule
from .target import Target


@dataclass(frozen=True)
class Build:
    """A compiled graph with all that lies between it and its code.

    Attributes:
        lowered: the graph as kernels and layouts, and the schedules of the kernels.
        prepare: the plan of what depends on fixed parameters alone.
        main: the plan of the rest.
        text: the module, as LLVM IR.
    """

    lowered: Lowered
    prepare: Plan
    main: Plan
    text: str


def build(
    graph: Graph,
    target: Target,
    schedules: Mapping[str, Schedule] | None = None,
    precision: str = "default",
) -> Build:
    """Write the module of a graph.

    Args:
        graph: what to compile.
        target: the processor.
        schedules: for some kernels, by name, in place of our own.
        precision: as for ``compile``.

    Raises:
        UnsupportedOp: an op or a dtype without native code.
        CompileError: a schedule that its kernel cannot have, or a name that no kernel has.
    """
    free, given = free_batch(graph)
    lowered = lower(free, target, schedules, precision, given)
    parts = split(lowered.graph)
    symbols = sorted(free.symbols())
    main = make_plan(parts.main, lowered.schedules, target, "main", symbols, given)
    prepare = make_plan(parts.prepare, lowered.schedules, target, "prepare", (), {}, once=True)
    module = Module()
    write_pool(module, target)
    write_micro_batches(module)
    write_launches(module, target)
    for plan in (main, prepare):
        add_plan(module, plan, target)
    text = module.text(target.triple, f'nounwind "target-cpu"="{target.cpu}"')
    return Build(lowered, prepare, main, text)


def compile_graph(
    graph: Graph,
    target: Target,
    source: Graph,
    schedules: Mapping[str, Schedule] | None = None,
    precision: str = "default",
) -> Artifact:
    """The machine code of a graph, which passes made from a source; raises what ``build`` does."""
    made = build(graph, target, schedules, precision)
    digest = hashlib.sha256(made.text.encode()).hexdigest()[:16]
    code = laid_out(compile_text(made.text, target))
    entries = (made.prepare.describe(source), made.main.describe(source))
    return Artifact(code, digest, target, Interface.of(graph), *entries)
