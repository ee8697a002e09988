"""Where the boxes of the top level stand: layers from top to bottom, with few crossings.

The layout is Sugiyama's (Sugiyama, Tagawa and Toda 1981, "Methods for visual understanding of
hierarchical system structures"), as igraph has it, with the coordinates of Brandes and Köpf 2001.
What is within a group is laid out on the page when the group is opened, by ``layered.js``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..ir.errors import MissingExtra, install
from .graph_data import FORWARD

Records = Mapping[str, Mapping[str, Any]]
_ROUNDS = 24  # in which the crossings are made fewer
_LONG = 60  # layers: a longer edge, which would be a box in each, has no part in the places across


def top_levels(records: Records) -> dict[str, list[float]]:
    """The layer and the place across of each box of the top level, of the records of a graph.

    Boxes are named by their phase and the first part of their layer path: ``0:layer1``. What
    depends on parameters alone is hidden at first, and has no place. Of the phases, backward and
    update have none either: the page puts their boxes beside those of the same layer.

    Raises:
        MissingExtra: igraph is not installed.
    """
    boxes = {id_: box_of(id_, record) for id_, record in records.items() if is_shown(record)}
    forward = {id_: box for id_, box in boxes.items() if records[id_]["phase"] == FORWARD}
    makers = {name: id_ for id_, record in records.items() for name, _ in record["out"]}
    order = list(dict.fromkeys(forward.values()))
    edges = {
        (forward[maker], box)
        for id_, box in forward.items()
        for name in records[id_]["in"]
        if (maker := makers.get(name, "")) in forward and forward[maker] != box
    }
    return dict(zip(order, sugiyama(order, edges)))


def is_shown(record: Mapping[str, Any]) -> bool:
    """Whether a node has a box at first: neither a parameter nor what is made of these alone."""
    return not record["fixed"] and record["op"] not in ("parameter", "state", "hyperparameter")


def box_of(id_: str, record: Mapping[str, Any]) -> str:
    """The box of the top level that a node lies in; outputs stand by themselves."""
    name = id_ if record["op"] == "output" else record["path"].split(".")[0]
    return f"{record['phase']}:{name}"


def sugiyama(order: Sequence[str], edges: Iterable[tuple[str, str]]) -> list[list[float]]:
    """The layer, from 0, and the place across of each box.

    Args:
        order: the boxes, in an order in which most edges go forward; those that go back, between
            groups that feed one another, have no part in the layers.
        edges: pairs of boxes.

    Raises:
        MissingExtra: igraph is not installed.
    """
    try:
        import igraph
    except ImportError:
        raise MissingExtra(
            "the view of a graph is laid out by igraph, which is not installed",
            fix=install("igraph"),
        ) from None
    place = {box: number for number, box in enumerate(order)}
    pairs = sorted(
        (place[source], place[target]) for source, target in edges if place[source] < place[target]
    )
    layers = _layers(len(order), pairs)
    if not order:
        return []
    short = [(a, b) for a, b in pairs if layers[b] - layers[a] <= _LONG]
    graph = igraph.Graph(n=len(order), edges=short, directed=True)
    found = graph.layout_sugiyama(layers=layers, hgap=1, vgap=1, maxiter=_ROUNDS)
    return [[layer, round(float(x), 3)] for layer, (x, _) in zip(layers, found.coords)]


def _layers(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Layers such that edges go down: each box as near as it can be to what reads it.

    A box stands one below the lowest box that it reads; then those that stand higher than they need
    to, inputs say, come down to right above their first reader.
    """
    layers = [0] * count
    for source, target in pairs:  # in the order of sources: those of a source are final by then
        layers[target] = max(layers[target], layers[source] + 1)
    first: dict[int, int] = {}
    read = {target for _, target in pairs}
    for source, target in pairs:
        first[source] = min(first.get(source, layers[target]), layers[target])
    return [
        first[box] - 1 if box not in read and box in first else layer
        for box, layer in enumerate(layers)
    ]
