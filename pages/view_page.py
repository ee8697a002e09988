"""The page of a graph: its stages, what they cost, how memory is used, and the code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .graph_data import GraphData, Texts
from .page import Markup, Page
from .stages import Stage, stages_data

STYLES = ("view.css", "drawing.css", "panel.css")
SCRIPTS = (
    "layered.js",
    "tree.js",
    "scene.js",
    "camera.js",
    "canvas.js",
    "measures.js",
    "panel.js",
    "memory.js",
    "app.js",
)
_TITLES = {"llvm": "LLVM IR", "assembly": "Assembly"}
_WITHOUT_SCRIPTS = Markup("<noscript>This page is drawn by the script in it.</noscript>")


class Buffer(NamedTuple):
    """A buffer of a memory plan.

    Attributes:
        names: of the values that lie in it, in order; of the nodes whose scratch it is.
        family: of the op that makes the first of them.
        at: where it begins, in bytes from the beginning of the arena.
        bytes: how large it is.
        first: the first launch that touches it.
        last: the last one.
        scratch: whether it holds no value.
    """

    names: tuple[str, ...]
    family: str
    at: int
    bytes: int
    first: int
    last: int
    scratch: bool


class MemoryPlan(NamedTuple):
    """Where the buffers of an entry lie while it runs.

    Attributes:
        entry: its name.
        bytes: of the arena.
        micro_batches: how many images run at a time, stage by stage; none where all do.
            ``2 x 4`` are four images on each of two threads.
        launches: of each the layer and the op.
        buffers: what the arena holds.
    """

    entry: str
    bytes: int
    micro_batches: Sequence[str]
    launches: Sequence[tuple[str, str]]
    buffers: Sequence[Buffer]


class ProfileData(NamedTuple):
    """What a call took.

    Attributes:
        rows: of each kernel the layer, the op, its seconds, operations and bytes.
        seconds: of all of them.
        peak: what the machine can do, in operations a second; None where it was not measured.
    """

    rows: Sequence[tuple[str, str, float, int, int]]
    seconds: float
    peak: float | None = None


@dataclass(frozen=True)
class ViewData:
    """All that the page of a graph shows.

    Attributes:
        name: of the network.
        kind: what it is: a model, a graph, a training step.
        stages: at least one.
        sizes: of the symbols, for which costs are counted.
        facts: short texts by name, shown where no node is chosen.
        profile: what a call took, if that is known.
        memory: the plans of the entries.
        code: by form the text of each function, by its name.
    """

    name: str
    kind: str
    stages: Sequence[Stage]
    sizes: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    profile: ProfileData | None = None
    memory: Sequence[MemoryPlan] = ()
    code: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def view_page(view: ViewData, height: int = 620) -> Page:
    """The page.

    Args:
        view: what it shows.
        height: of its frame in a notebook, in CSS pixels.

    Raises:
        MissingExtra: igraph is not installed.
    """
    texts = Texts()
    data = GraphData(texts, view.sizes)
    shown = {
        "name": view.name,
        "kind": view.kind,
        "facts": list(view.facts.items()),
        "stages": stages_data(view.stages, data),
        "profile": None if view.profile is None else view.profile._asdict(),
        "memory": [_plan(plan) for plan in view.memory],
        "forms": [(form, _TITLES.get(form, form)) for form in view.code],
    }
    packed: dict[str, Any] = {f"code-{form}": functions for form, functions in view.code.items()}
    return Page(
        f"{view.name}, {view.kind}",
        _WITHOUT_SCRIPTS,
        STYLES,
        SCRIPTS,
        {"view": shown},
        {"texts": texts.values, **packed},
        height,
    )


def _plan(plan: MemoryPlan) -> dict[str, Any]:
    buffers: Iterable[Buffer] = plan.buffers
    return {**plan._asdict(), "buffers": [buffer._asdict() for buffer in buffers]}
