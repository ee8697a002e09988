"""A compiled graph as text: the plan, and the code of a layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ...ir import Dim, Node
from ...ir.errors import GraphError, did_you_mean
from ...ir.layout import Packed
from ...ir.ops.reorder import Reorder
from .build import Build
from .codegen.assemble import assembly
from .codegen.builder import Function
from .codegen.code import Launch
from .codegen.plan import Plan
from .lowering.access import nbytes
from .lowering.kernels import anchor_of
from .lowering.lower import Lowered
from .target import Caches, Target

if TYPE_CHECKING:
    from .runtime.invocation import Caller
    from .runtime.memory import ArenaSlice


class BuildListing:
    """A build as text.

    Args:
        build: the lowered graph, the plans and the module.
        target: the processor.
        callers: of ``prepare`` and ``main``, which decide where buffers lie.
    """

    def __init__(self, build: Build, target: Target, callers: Sequence[Caller]) -> None:
        self.build = build
        self._target = target
        self._callers = callers

    @cached_property
    def _assembly(self) -> str:
        return assembly(self.build.text, self._target)

    def plan(self, sizes: Mapping[str, int]) -> str:
        """The lowered graph, the schedules of its kernels, then the launches of both entries in
        order, and the buffers of each.

        Where all symbols have sizes it says where the buffers lie.
        """
        build = self.build
        target, reported = self._target, Caches.reported()
        told = f"; the system reports {reported}" if reported else ""
        parts = [f"target: {target.name} ({target.cpu}), caches taken to be {target.caches}{told}"]
        parts.append(build.lowered.graph.to_text(locations=False))
        parts.append("\n".join(["schedules:", *_schedules(build.lowered)]))
        for plan, caller in zip((build.prepare, build.main), self._callers):
            given = [f"  {name} = {size}" for name, size in caller.entry.given.items()]
            lines = [f"{plan.entry}:", *given, *_launches(plan), *_buffers(plan, caller, sizes)]
            parts.append("\n".join(lines))
        return "\n\n".join(parts)

    def code(self, form: str, layer: str | None = None) -> str:
        """The code of a layer, by its path, or of the whole module: ``"llvm"`` or ``"assembly"``.

        Raises:
            GraphError: there is no such layer.
        """
        whole = self.build.text if form == "llvm" else self._assembly
        if layer is None:
            return whole
        launches = [plan.launches[place][0] for plan, place in _places(self.build, layer)]
        texts = {own.name: own.text() for launch in launches for own in _functions(launch)}
        return "\n\n".join(texts.values() if form == "llvm" else _assembly_of(texts, whole))

    def functions(self, form: str) -> dict[str, str]:
        """The code of every launch by the name of its function: ``"llvm"`` or ``"assembly"``."""
        texts = {
            own.name: own
            for plan in (self.build.prepare, self.build.main)
            for launch, _ in plan.launches
            for own in _functions(launch)
        }
        if form == "llvm":
            return {name: function.text() for name, function in texts.items()}
        return dict(zip(texts, _assembly_of(texts, self._assembly)))


def _functions(launch: Launch) -> Iterator[Function]:
    """The functions that a launch runs."""
    for own in (launch, *launch.parts):
        yield from own.function.family()


def _schedules(lowered: Lowered) -> Iterator[str]:
    """How each kernel runs, and what the ways that it could are predicted to take."""
    for name, chosen in lowered.schedules.items():
        costs = {
            choice.schedule.label: f"{choice.cycles / 1e6:.3g}"
            for choice in lowered.choices[name]
            if choice.cycles is not None
        }
        own = f"; {costs.pop(chosen.label)} million cycles" if chosen.label in costs else ""
        others = ", ".join(f"{label} {cost}" for label, cost in costs.items())
        yield f"  {name}: {chosen}{own}{f' ({others})' if others else ''}"
    packed: Dim = 0
    weights: Dim = 0
    for node in lowered.graph.nodes:
        if isinstance(node.op, Reorder) and isinstance(node.op.layout, Packed):
            sizes = nbytes(node.result.type), node.result.type.nbytes
            packed, weights = (total + size for total, size in zip((packed, weights), sizes))
    if packed:
        yield f"  packed weights: {packed} bytes, of {weights}"


def _launches(plan: Plan) -> Iterator[str]:
    for number, ((launch, node), name) in enumerate(zip(plan.launches, plan.names)):
        inner = anchor_of(node)
        slots = " ".join(map(str, launch.slots))
        yield (
            f"  {number:4} {inner.path} ({inner.op.name}): @{name}, {launch.tasks} tasks, "
            f"buffers {slots}"
        )


def _buffers(plan: Plan, caller: Caller, sizes: Mapping[str, int]) -> Iterator[str]:
    placed: dict[int, ArenaSlice] = {}
    sizes = caller.sizes(sizes)
    if sizes.keys() >= set(plan.symbols):
        layout, shares = caller.layout(sizes), caller.shares(sizes)
        placed = {own.slot: own for own in layout.slices if not own.stream}
        counts = ", then ".join(map(str, shares))
        part = f", for {counts} of {plan.batch.symbol} at a time" if plan.batch and counts else ""
        yield f"  arena of {layout.nbytes} bytes{part}"
    for buffer in sorted(plan.buffers, key=lambda buffer: buffer.slot):
        size, place = str(buffer.nbytes), ""
        if buffer.slot in placed:
            own = placed[buffer.slot]
            size += f" = {own.nbytes}" * (not isinstance(buffer.nbytes, int))
            place = f" at {own.offset}"
        span = f"launches {buffer.first} to {buffer.last}"
        yield f"  buffer {buffer.slot}: {size} bytes{place}, {span}"


def _assembly_of(names: Iterable[str], whole: str) -> Iterator[str]:
    """The parts of a module's assembly that are these functions."""
    begins = {found[1]: found.start() for found in re.finditer(r'^"?([^\s":]+)"?:', whole, re.M)}
    ends = re.compile(r"^\.Lfunc_end\d+:", re.M)
    for name in names:
        end = ends.search(whole, begins[name]) if name in begins else None
        yield whole[begins[name] : end.end()] if end else ""


def _places(build: Build, layer: str) -> list[tuple[Plan, int]]:
    """The launches of a layer, or of the layers within it.

    Raises:
        GraphError: there is no such layer.
    """
    found: list[tuple[Plan, int]] = []
    known: dict[str, None] = {}
    for plan in (build.main, build.prepare):
        for place, (_, node) in enumerate(plan.launches):
            own = _paths(node)
            known |= dict.fromkeys(own)
            if any(path == layer or path.startswith(layer + ".") for path in own):
                found.append((plan, place))
    if not found:
        raise GraphError(
            f"no code belongs to a layer called {layer!r}",
            fix=did_you_mean(layer, known, "executable.profile(...) lists the layers"),
        )
    return found


def _paths(node: Node) -> list[str]:
    """The layers that a node computes, its own first, then those within its kernel."""
    # Constants that are equal are one, which says nothing about the layer of this node.
    within = [inner.path for body in node.op.regions() for inner in body.nodes if inner.operands]
    return list(dict.fromkeys([node.path, *within]))
