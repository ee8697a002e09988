"""A compiled graph as text: the plan, and the code of a layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ...ir import Node
from ...ir.errors import GraphError, did_you_mean
from .codegen.plan import Plan
from .driver import Build
from .lowering.kernels import anchor_of

if TYPE_CHECKING:
    from .runtime.invocation import Caller
    from .runtime.memory import Piece


def show_plan(build: Build, callers: Iterable[Caller], sizes: Mapping[str, int]) -> str:
    """The lowered graph, then the launches of both entries in order, and the buffers of each.

    Where all symbols have sizes it says where the buffers lie.

    Args:
        callers: of ``prepare`` and ``main``, which decide that.
    """
    parts = [build.lowered.graph.to_text(locations=False)]
    for plan, caller in zip((build.prepare, build.main), callers):
        given = [f"  {name} = {size}" for name, size in caller.entry.given.items()]
        lines = [f"{plan.entry}:", *given, *_launches(plan), *_buffers(plan, caller, sizes)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _launches(plan: Plan) -> Iterator[str]:
    for number, ((launch, node), name) in enumerate(zip(plan.launches, plan.names)):
        inner = anchor_of(node)
        slots = " ".join(map(str, launch.slots))
        yield (
            f"  {number:4} {inner.path} ({inner.op.name}): @{name}, {launch.tasks} tasks, "
            f"buffers {slots}"
        )


def _buffers(plan: Plan, caller: Caller, sizes: Mapping[str, int]) -> Iterator[str]:
    placed: dict[int, Piece] = {}
    sizes = caller.sizes(sizes)
    if sizes.keys() >= set(plan.symbols):
        layout, count = caller.layout(sizes), caller.piece(sizes)
        placed = {piece.slot: piece for piece in layout.pieces}
        part = f", for {count} of {plan.batch.symbol} at a time" if plan.batch and count else ""
        yield f"  arena of {layout.nbytes} bytes{part}"
    for buffer in sorted(plan.buffers, key=lambda buffer: buffer.slot):
        size, place = str(buffer.nbytes), ""
        if buffer.slot in placed:
            piece = placed[buffer.slot]
            size += f" = {piece.nbytes}" * (not isinstance(buffer.nbytes, int))
            place = f" at {piece.offset}"
        span = f"launches {buffer.first} to {buffer.last}"
        yield f"  buffer {buffer.slot}: {size} bytes{place}, {span}"


def functions_of(build: Build, layer: str) -> str:
    """The LLVM IR of the functions of a layer.

    Raises:
        GraphError: there is no such layer.
    """
    texts = {}
    for plan, place in _places(build, layer):
        function = plan.launches[place][0].function
        texts[function.name] = function.text()
    return "\n\n".join(texts.values())


def assembly_of(build: Build, layer: str, assembly: str) -> str:
    """The part of the module's assembly that belongs to a layer.

    Raises:
        GraphError: there is no such layer.
    """
    parts = []
    places = _places(build, layer)
    for name in dict.fromkeys(plan.launches[place][0].function.name for plan, place in places):
        found = re.search(rf'^"?{re.escape(name)}"?:.*?^\.Lfunc_end\d+:', assembly, re.M | re.S)
        parts.append(found.group() if found else "")
    return "\n\n".join(parts)


def _places(build: Build, layer: str) -> list[tuple[Plan, int]]:
    """The launches of a layer, or of the layers within it."""
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
