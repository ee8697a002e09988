"""A compiled graph as data: what each node of the lowered graph became, and where buffers lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...ir import Node, Value
from .build import Build
from .codegen.plan import Plan
from .lowering.kernels import anchor_of
from .runtime.invocation import Caller
from .runtime.memory import ArenaSlice


class NodeDetails(NamedTuple):
    """What a node of the lowered graph became.

    Attributes:
        schedule: how it runs, in words; None where there is nothing to choose.
        choices: how it could, each with the millions of cycles that are predicted, if any are.
        functions: the names of those that compute it.
        row: the layer and the op that a profile calls it by.
    """

    schedule: str | None
    choices: tuple[tuple[str, int | None], ...]
    functions: tuple[str, ...]
    row: tuple[str, str]


class PlacedBuffer(NamedTuple):
    """A buffer in the arena of an entry.

    Attributes:
        values: those that lie in it, in the order of the graph; none where it is scratch.
        node: what writes it first, or whose scratch it is.
        offset: from the beginning of the arena, in bytes.
        nbytes: how large it is.
        first: the first launch that touches it.
        last: the last one.
    """

    values: tuple[Value, ...]
    node: Node
    offset: int
    nbytes: int
    first: int
    last: int


class MemoryMap(NamedTuple):
    """Where the buffers of an entry lie.

    Attributes:
        entry: its name.
        nbytes: of the arena.
        micro_batches: how many images run at a time, stage by stage; none where all do.
            ``2 x 4`` are four images on each of two threads.
        launches: of each the layer and the op.
        buffers: in the arena.
    """

    entry: str
    nbytes: int
    micro_batches: tuple[str, ...]
    launches: tuple[tuple[str, str], ...]
    buffers: tuple[PlacedBuffer, ...]


def node_details(build: Build) -> dict[str, NodeDetails]:
    """What each node of the lowered graph became, by the name of its first result."""
    functions: dict[str, dict[str, None]] = {}
    for plan in (build.prepare, build.main):
        for launch, node in plan.launches:
            names = (own.function.name for own in (launch, *launch.parts))
            functions.setdefault(node.results[0].name, {}).update(dict.fromkeys(names))
    found = {}
    for node in build.lowered.graph.nodes:
        name = node.results[0].name
        anchor = anchor_of(node)
        chosen = build.lowered.schedules.get(name)
        found[name] = NodeDetails(
            None if chosen is None else str(chosen),
            tuple((str(c.schedule), c.cycles) for c in build.lowered.choices.get(name, ())),
            tuple(functions.get(name, ())),
            (anchor.path, anchor.op.name),
        )
    return found


def memory_map(plan: Plan, caller: Caller, sizes: Mapping[str, int]) -> MemoryMap | None:
    """Where the buffers of an entry lie for these sizes of the symbols; None where some have none.

    Args:
        plan: of the entry.
        caller: what calls it, and decides.
        sizes: of the symbols.
    """
    sizes = caller.sizes(sizes)
    if not sizes.keys() >= set(plan.symbols):
        return None
    layout = caller.layout(sizes)
    values: dict[int, list[Value]] = {}
    for value, access in plan.assignment.accesses.items():
        values.setdefault(access.slot, []).append(value)
    placed: dict[int, list[ArenaSlice]] = {}  # one for each stream, where they run apart
    for own in layout.slices:
        placed.setdefault(own.slot, []).append(own)
    buffers = tuple(
        PlacedBuffer(
            tuple(values.get(buffer.slot, ())),
            plan.launches[buffer.first][1],
            own.offset,
            own.nbytes,
            buffer.first,
            buffer.last,
        )
        for buffer in plan.buffers
        for own in placed[buffer.slot]
    )
    anchors = (anchor_of(node) for _, node in plan.launches)
    launches = tuple((anchor.path, anchor.op.name) for anchor in anchors)
    return MemoryMap(
        plan.entry, layout.nbytes, tuple(map(str, caller.shares(sizes))), launches, buffers
    )
