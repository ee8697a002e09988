"""A compiled graph as text: the plan, and the code of a layer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ...ir import Node
from ...ir.dims import substitute
from ...ir.errors import GraphError, did_you_mean
from ...ir.interval_packer import Interval, pack
from .build import Build
from .kernels import anchor
from .memory import ALIGN
from .plan import Plan


def show_plan(build: Build, sizes: Mapping[str, int]) -> str:
    """The lowered graph, then the launches of both entries in order, and the buffers of each.

    Where all symbols have sizes it says where the buffers lie.
    """
    parts = [build.lowered.to_text(locations=False)]
    for plan in (build.prepare, build.main):
        parts.append("\n".join([f"{plan.entry}:", *_launches(plan), *_buffers(plan, sizes)]))
    return "\n\n".join(parts)


def _launches(plan: Plan) -> Iterator[str]:
    for number, ((launch, node), name) in enumerate(zip(plan.launches, plan.names)):
        inner = anchor(node)
        slots = " ".join(map(str, launch.slots))
        yield (
            f"  {number:4} {inner.path} ({inner.op.name}): @{name}, {launch.tasks} tasks, "
            f"buffers {slots}"
        )


def _buffers(plan: Plan, sizes: Mapping[str, int]) -> Iterator[str]:
    intervals = []
    for buffer in plan.buffers:
        size = substitute(buffer.nbytes, sizes)
        intervals.append(Interval(size if isinstance(size, int) else -1, buffer.first, buffer.last))
    known = all(interval.nbytes >= 0 for interval in intervals)
    offsets, total = pack(intervals, ALIGN) if known else ([-1] * len(intervals), 0)
    if known:
        yield f"  arena of {total} bytes"
    for buffer, offset in sorted(zip(plan.buffers, offsets), key=lambda pair: pair[0].slot):
        place = f" at {offset}" if known else ""
        yield (
            f"  buffer {buffer.slot}: {buffer.nbytes} bytes{place}, "
            f"launches {buffer.first} to {buffer.last}"
        )


def functions_of(build: Build, layer: str) -> str:
    """The LLVM IR of the functions of a layer.

    Raises:
        GraphError: there is no such layer.
    """
    texts = {}
    for plan, place in _places(build, layer):
        texts[plan.names[place]] = plan.launches[place][0].function.text()
    return "\n\n".join(texts.values())


def assembly_of(build: Build, layer: str, assembly: str) -> str:
    """The part of the module's assembly that belongs to a layer.

    Raises:
        GraphError: there is no such layer.
    """
    parts = []
    for name in dict.fromkeys(plan.names[place] for plan, place in _places(build, layer)):
        found = re.search(rf'^"?{re.escape(name)}"?:.*?^\.Lfunc_end\d+:', assembly, re.M | re.S)
        parts.append(found.group() if found else "")
    return "\n\n".join(parts)


def _places(build: Build, layer: str) -> list[tuple[Plan, int]]:
    """The launches of a layer, or of the layers within it."""
    found, paths = [], []
    for plan in (build.main, build.prepare):
        for place, (_, node) in enumerate(plan.launches):
            own = _paths(node)
            paths += own
            if any(path == layer or path.startswith(layer + ".") for path in own):
                found.append((plan, place))
    if not found:
        raise GraphError(
            f"no code belongs to a layer called {layer!r}",
            fix=did_you_mean(layer, paths, "executable.profile(...) lists the layers"),
        )
    return found


def _paths(node: Node) -> list[str]:
    return [node.path, anchor(node).path]
