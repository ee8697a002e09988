"""Print the layers of a model, with output shapes, parameters and FLOPs; or its graph."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..frontends.summary import COLUMNS, stored, summarize
from . import output
from .model_argument import add_model, closed_model, count

if TYPE_CHECKING:
    from ..frontends.summary import Summary


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    parser.add_argument("--graph", action="store_true", help="print the graph as text")
    parser.add_argument(
        "--training", action="store_true", help="with --graph, that of the training form"
    )
    parser.add_argument(
        "--batch", type=count, default=1, help="the size of symbols where FLOPs are counted (1)"
    )
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    if options.graph:
        model = closed_model(options)
        graph = model.training_graph if options.training else model.graph
        if options.json:
            output.emit({"name": model.name, "graph": graph.to_text()})
        else:
            output.say(graph.to_text())
        return
    summary = _summary(options)
    if options.json:
        output.emit(summary.data)
        return
    output.show_table(COLUMNS, [layer.cells for layer in summary.layers], names=3)
    for line in summary.total:
        output.say(line)


def _summary(options: argparse.Namespace) -> Summary:
    """The one that is in the file, if that is what is asked for: nothing else is imported then."""
    if options.batch == 1 and not options.shape and not options.option:
        found = stored(options.model)
        if found is not None:
            return found
    return summarize(closed_model(options), options.batch)
