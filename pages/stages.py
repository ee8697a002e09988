"""The stages that a graph goes through, each as what it has otherwise than the one before."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ir import Graph
from ..ir.rewrite import Event
from .graph_data import GraphData
from .graph_data import Record as NodeRecord
from .layout import top_levels


@dataclass(frozen=True)
class Stage:
    """A graph at one time of its compilation.

    Attributes:
        name: of what made it: a pass.
        graph: as it was then.
        about: what that does, in words.
        events: the rules that fired or refused meanwhile.
        kernels: of a lowered graph, what is known of each node by its first result.
    """

    name: str
    graph: Graph
    about: str = ""
    events: Sequence[Event] = ()
    kernels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def stages_data(stages: Iterable[Stage], data: GraphData) -> list[dict[str, Any]]:
    """Stages as data: ``set``, the records that are new or other than before; ``gone``, the ids
    that are no more; ``top``, where the top level stands; ``rules``, what fired and what refused.

    Raises:
        MissingExtra: igraph is not installed.
    """
    found = []
    before: dict[str, NodeRecord] = {}
    for stage in stages:
        records = data.records(stage.graph)
        for name, known in stage.kernels.items():
            records[f"n:{name}"].update(known)
        changed = {id_: r for id_, r in records.items() if before.get(id_) != r}
        gone = [id_ for id_ in before if id_ not in records]
        found.append(
            {
                "name": stage.name,
                "about": stage.about,
                "set": changed,
                "gone": gone,
                "top": top_levels(records),
                "rules": rules_data(stage.events),
            }
        )
        before = records
    return found


def rules_data(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Rules by name: the equation, how often it fired in which layers, and why it refused."""
    rules: dict[str, list[Event]] = {}
    for event in events:
        rules.setdefault(event.rule, []).append(event)
    return [
        {
            "name": name,
            "equation": inspect.cleandoc(of_rule[0].equation),
            "fired": list(Counter(e.path for e in of_rule if e.refused is None).items()),
            "refused": list(Counter((e.path, e.refused) for e in of_rule if e.refused).keys()),
        }
        for name, of_rule in sorted(rules.items())
    ]
