"""Passes, pipelines of passes, and the instruments that watch them.

A pass is a small frozen object: a name, its options as fields, what it requires and ensures, and
``run``. A pipeline is a visible tuple of passes. Instruments hang on the pipeline's run, never in
the passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from .errors import CompileError
from .graph import Graph
from .record import Record
from .rewrite import Event, Rule, apply_rules, watching
from .text import table
from .tracebacks import user_facing
from .verify import verify

# A property of a graph that a pass may require or ensure: None where it holds, else the reason.
Property: TypeAlias = Callable[[Graph], str | None]


class Pass(Record):
    """Base of all passes; options are the fields of the subclass.

    Class variables:
        name: what reports call the pass.
        requires: properties the graph must have before.
        ensures: properties the graph has afterwards.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> bool:
        """Change ``graph`` in place; returns whether anything changed."""
        raise NotImplementedError


class Rewrite(Pass):
    """A pass made of rewrite rules, applied anywhere until none fires.

    Class variables:
        rules: the rules, those to try first in front.
    """

    rules: ClassVar[tuple[Rule, ...]]

    def run(self, graph: Graph) -> bool:
        return apply_rules(graph, self.rules)


class Instrument:
    """Base of what watches a pipeline; each hook may be overridden."""

    def before(self, pass_: Pass, graph: Graph) -> None:
        """Called before each pass."""

    def after(self, pass_: Pass, graph: Graph, changed: bool) -> None:
        """Called after each pass."""

    def rewrote(self, event: Event) -> None:
        """Called when a rewrite rule fired or refused."""


@user_facing
def run_passes(
    graph: Graph, passes: Iterable[Pass], instruments: Sequence[Instrument] = ()
) -> bool:
    """Run ``passes`` over ``graph`` in order.

    Returns:
        Whether any of them changed the graph.

    Raises:
        CompileError: a property that a pass requires or ensures does not hold.
    """
    with ExitStack() as stack:
        for instrument in instruments:
            stack.enter_context(watching(instrument.rewrote))
        return _run(graph, passes, instruments)


def _run(graph: Graph, passes: Iterable[Pass], instruments: Sequence[Instrument]) -> bool:
    """What :func:`run_passes` does, where the instruments watch rewriting already."""
    any_change = False
    for pass_ in passes:
        _hold(pass_, pass_.requires, graph, "requires")
        if isinstance(pass_, Repeat):
            changed = pass_.rounds(graph, instruments)
        else:
            for instrument in instruments:
                instrument.before(pass_, graph)
            changed = pass_.run(graph)
            for instrument in instruments:
                instrument.after(pass_, graph, changed)
        _hold(pass_, pass_.ensures, graph, "ensures")
        any_change |= changed
    return any_change


def _hold(pass_: Pass, properties: tuple[Property, ...], graph: Graph, verb: str) -> None:
    for holds in properties:
        reason = holds(graph)
        if reason is not None:
            raise CompileError(
                f"pass {pass_.name} {verb} {holds.__name__}: {reason}",
                fix="run the pass that brings this about before it"
                if verb == "requires"
                else "mend the pass, or what it says that it ensures",
            )


class Repeat(Pass):
    """Runs passes again and again until none of them changes the graph any more.

    Instruments see these passes, each time that one runs, in the place of this.
    """

    passes: tuple[Pass, ...]
    limit: int = 20

    name = "repeat"

    def run(self, graph: Graph) -> bool:
        return self.rounds(graph, ())

    def rounds(self, graph: Graph, instruments: Sequence[Instrument]) -> bool:
        """Run, watched by instruments; returns whether anything changed."""
        changed = False
        for _ in range(self.limit):
            if not _run(graph, self.passes, instruments):
                return changed
            changed = True
        names = ", ".join(pass_.name for pass_ in self.passes)
        raise CompileError(f"{names} still change the graph after {self.limit} rounds")


@dataclass(repr=False)
class Timing(Instrument):
    """Seconds of every pass, in order; prints as a table, with a line for each pass.

    Attributes:
        seconds: the name of a pass and its time, for each time that one ran.
    """

    seconds: list[tuple[str, float]] = field(default_factory=list)
    _start: float = 0.0

    def before(self, pass_: Pass, graph: Graph) -> None:
        self._start = time.perf_counter()

    def after(self, pass_: Pass, graph: Graph, changed: bool) -> None:
        self.seconds.append((pass_.name, time.perf_counter() - self._start))

    def __repr__(self) -> str:
        """The table, in the order in which the passes first ran; its last line is the sum."""
        total = sum(seconds for _, seconds in self.seconds)
        rows = [("pass", "runs", "ms", "share")]
        for name in dict.fromkeys(name for name, _ in self.seconds):
            times = [seconds for other, seconds in self.seconds if other == name]
            rows.append((name, str(len(times)), *_share(sum(times), total)))
        rows.append(("total", str(len(self.seconds)), *_share(total, total)))
        return table(rows, names=1)


def _share(seconds: float, total: float) -> tuple[str, str]:
    return f"{seconds * 1e3:.3f}", f"{seconds / total if total else 0.0:.1%}"


@dataclass
class PrintGraphs(Instrument):
    """The text of the graph before the first pass and after each that changed it."""

    write: Callable[[str], object] = print
    _started: bool = False

    def before(self, pass_: Pass, graph: Graph) -> None:
        if not self._started:
            self.write(f"# before {pass_.name}\n{graph}")
            self._started = True

    def after(self, pass_: Pass, graph: Graph, changed: bool) -> None:
        if changed:
            self.write(f"# after {pass_.name}\n{graph}")


class Verify(Instrument):
    """Verifies the graph after each pass."""

    def after(self, pass_: Pass, graph: Graph, changed: bool) -> None:
        try:
            verify(graph)
        except Exception as error:
            error.add_note(f"after pass {pass_.name}")
            raise
