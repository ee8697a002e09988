"""Print the graph before the first pass of the compiler, and after each pass that changes it."""

from __future__ import annotations

import argparse
import difflib
import time
from collections import Counter
from dataclasses import dataclass, field

from ..ir import Graph
from ..ir.pass_manager import Instrument, Pass, run_passes
from ..ir.rewrite import Event
from . import output
from .model_argument import add_model, closed_model


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    parser.add_argument("--backend", default="auto", help="whose pipeline: auto, llvm or numpy")
    parser.add_argument(
        "--training", action="store_true", help="take the training form, and the passes for it"
    )
    parser.add_argument("--locations", action="store_true", help="print source lines too")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--diff", action="store_true", help="print what each pass changes, as a unified diff"
    )
    shown.add_argument(
        "--summary", action="store_true", help="print a line for each pass: rules, nodes, time"
    )
    output.add_json(parser)


@dataclass
class _Step:
    """What one pass did.

    Attributes:
        name: of the pass.
        seconds: how long it took.
        rules: how often each rule fired.
        nodes: how many the graph has afterwards.
        text: of the graph afterwards; None where it is as before.
    """

    name: str
    seconds: float
    rules: dict[str, int]
    nodes: int
    text: str | None


@dataclass
class _Recorder(Instrument):
    """Keeps what every pass did."""

    locations: bool
    steps: list[_Step] = field(default_factory=list)
    _fired: Counter[str] = field(default_factory=Counter)
    _last: str = ""
    _start: float = 0.0

    def before(self, pass_: Pass, graph: Graph) -> None:
        self._last = self._last or graph.to_text(self.locations)
        self._fired.clear()
        self._start = time.perf_counter()

    def rewrote(self, event: Event) -> None:
        if event.refused is None:
            self._fired[event.rule] += 1

    def after(self, pass_: Pass, graph: Graph, changed: bool) -> None:
        seconds = time.perf_counter() - self._start
        text = graph.to_text(self.locations)
        nodes = sum(1 for _ in graph.nodes)
        kept = text if text != self._last else None
        self.steps.append(_Step(pass_.name, seconds, dict(self._fired), nodes, kept))
        self._last = text


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..compiler import pipeline

    model = closed_model(options)
    graph = (model.training_graph if options.training else model.graph).copy()
    before = graph.to_text(options.locations)
    recorder = _Recorder(options.locations)
    run_passes(graph, pipeline(options.backend, training=options.training), [recorder])
    if options.json:
        output.emit({"before": before, "passes": [_as_json(step) for step in recorder.steps]})
    elif options.summary:
        _show_summary(recorder.steps)
    else:
        _show_texts(before, recorder.steps, options.diff)


def _as_json(step: _Step) -> dict[str, object]:
    return {
        "pass": step.name,
        "changed": step.text is not None,
        "nodes": step.nodes,
        "seconds": step.seconds,
        "rules": step.rules,
        "graph": step.text,
    }


def _show_summary(steps: list[_Step]) -> None:
    rows = [
        (
            step.name,
            ", ".join(f"{rule} {times}" for rule, times in step.rules.items()),
            "yes" if step.text is not None else "no",
            f"{step.nodes}",
            f"{1e3 * step.seconds:.2f}",
        )
        for step in steps
    ]
    output.show_table(("pass", "rules that fired", "changed", "nodes", "ms"), rows, names=3)


def _show_texts(before: str, steps: list[_Step], diff: bool) -> None:
    last = f"before {steps[0].name}"
    if not diff:
        output.say(f"# {last}\n{before}")
    for step in steps:
        if step.text is None:
            continue
        if not diff:
            output.say(f"\n# after {step.name}\n{step.text}")
            continue
        lines = difflib.unified_diff(
            before.splitlines(), step.text.splitlines(), last, f"after {step.name}", lineterm=""
        )
        output.say("\n".join(lines))
        before, last = step.text, f"after {step.name}"
