"""Random networks sent through every pass and pipeline, and a count of what they held and met."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import given, seed, settings

from cauce.ir import Array, Graph, Location, Op, parse, registry, verify
from cauce.ir.pass_manager import Pass, run_passes
from cauce.ir.rewrite import Event, watching
from cauce.ir.validation import Feeds, difference
from cauce.passes.inference import RemoveDropout
from cauce.passes.pipelines import FUSE, SIMPLIFY, TRAINING
from cauce.passes.shape_inference import InferShapes, Specialize
from tests.net import SIZES, Grower
from tests.networks import feeds_for, networks, results_of, tame

from .golden import CHANGES_MEANING, PASSES, RULES, only
from .motifs import motifs

TOLERANCE = 1e-9
# Everything that must not change what a graph computes.
PIPELINES: dict[str, tuple[Pass, ...]] = {
    **{name: (pass_,) for name, pass_ in PASSES.items() if name not in CHANGES_MEANING},
    "InferShapes": (InferShapes(),),
    "SIMPLIFY": SIMPLIFY,
    "TRAINING": TRAINING,
    "TRAINING and FUSE": (*TRAINING, *FUSE),
}


@dataclass
class Survey:
    """Counts over networks.

    Attributes:
        networks: how many were checked.
        wild: how many were not, since two right evaluations of them may differ.
        ops: in how many networks each op occurred.
        fired, refused: how often each rule did.
        changed: how many networks each pass or pipeline changed.
    """

    networks: int = 0
    wild: int = 0
    ops: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)

    def count(self, event: Event) -> None:
        """Count a rule that fired or refused."""
        (self.fired if event.refused is None else self.refused)[event.rule] += 1

    def check(self, graph: Graph, pipelines: Mapping[str, tuple[Pass, ...]]) -> None:
        """Hold every pipeline to what the reference gives for ``graph``."""
        verify(graph)
        round_trip(graph)
        feeds = feeds_for(graph)
        if not tame(graph, feeds):
            self.wild += 1
            return
        self.networks += 1
        self.ops.update({node.op.name for node in graph.nodes})
        wanted = results_of(graph, feeds)
        with watching(self.count):
            for name, passes in pipelines.items():
                self.changed[name] += hold(graph, passes, feeds, wanted, name)
            sizes = {name: SIZES[name] for name in graph.symbols()}
            self.changed["Specialize"] += hold(
                graph, (Specialize(sizes),), feeds, wanted, "Specialize"
            )
            RemoveDropout().run(graph.copy())


def hold(
    graph: Graph, passes: tuple[Pass, ...], feeds: Feeds, wanted: dict[str, Array], name: str
) -> bool:
    """Assert that ``passes`` keep what ``graph`` computes; returns whether they changed it."""
    twin, before = graph.copy(), str(graph)
    changed = run_passes(twin, passes)
    if not changed:
        assert str(twin) == before, f"{name} changed the graph, and says that it did not"
        return False
    verify(twin)
    round_trip(twin)
    assert origins(twin) <= origins(graph), f"{name} wrote nodes that come from nowhere"
    got = results_of(twin, feeds)
    assert got.keys() == wanted.keys(), f"{name} changed the outputs or updates"
    for key, array in got.items():
        gap = difference(array, wanted[key])
        assert gap < TOLERANCE, f"{name} changed {key} by {gap}:\n{graph}\n{twin}"
    # To inline what was fused, and to fuse it again, is a change each time.
    if name not in ("Specialize", "TRAINING and FUSE"):
        assert not run_passes(twin, passes), f"{name} changes the graph again"
    return True


def origins(graph: Graph) -> set[str | Location]:
    """The layer paths and the source locations of all nodes, those in regions included."""
    found: set[str | Location] = set()
    for node in graph.nodes:
        found |= {node.path} if node.loc is None else {node.path, node.loc}
        for _, value in node.op.attributes():
            if isinstance(value, Graph):
                found |= origins(value)
    return found


def round_trip(graph: Graph) -> None:
    """Assert that the text of ``graph`` reads back as the same graph."""
    text = str(graph)
    assert str(parse(text, graph.constants())) == text


def survey(examples: int) -> Survey:
    """Networks with every op of the registry, and with what every rule looks for, so many each."""
    result = Survey()
    for name, op in sorted(registry().items()):
        if op.__module__.startswith("cauce."):  # tests register ops of their own
            draw(result, op, name, examples, PIPELINES)
    for name, grower in motifs().items():
        rule = RULES[name]
        alone = {"rules alone": (only(rule),)} if name not in CHANGES_MEANING else {}
        draw(result, grower, name, examples, {**alone, "SIMPLIFY": SIMPLIFY})
    return result


def draw(
    result: Survey,
    item: type[Op] | Grower,
    name: str,
    examples: int,
    pipelines: Mapping[str, tuple[Pass, ...]],
) -> None:
    """Check networks that hold ``item``; the same ones in each run."""

    @seed(zlib.crc32(name.encode()))
    @settings(max_examples=examples, derandomize=True, database=None, deadline=None)
    @given(networks(include=[item], most=4))
    def check(graph: Graph) -> None:
        result.check(graph, pipelines)

    check()


def table(counts: Survey) -> str:
    """The counts as text, by op, rule and pass."""
    lines = [f"{counts.networks} networks checked, {counts.wild} too wild to check"]
    lines += [f"\nop{'':30}networks"]
    lines += [f"{name:32}{counts.ops[name]:8}" for name in sorted(counts.ops)]
    lines += [f"\nrule{'':28}   fired refused"]
    lines += [f"{name:32}{counts.fired[name]:8}{counts.refused[name]:8}" for name in RULES]
    lines += [f"\npass or pipeline{'':16} changed"]
    lines += [f"{name:32}{counts.changed[name]:8}" for name in counts.changed]
    return "\n".join(lines)
