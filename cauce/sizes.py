"""Models with sizes in the place of symbols."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from .frontends.model import Model
from .ir import Graph
from .ir.pass_manager import run_passes
from .passes.shape_inference import Specialize


def with_sizes(model: Model, sizes: Mapping[str, int]) -> Model:
    """The same model for sizes of some symbols, ``{"H": 224, "W": 224}``; ``model`` stays as it is.

    Raises:
        GraphError: the model has no such symbol.
        AttributeMistake: a size below 1.
        ShapeError: the sizes do not fit a layer.
    """
    return model.with_graphs(_sized(model, sizes), partial(_sized, model, sizes, training=True))


def _sized(model: Model, sizes: Mapping[str, int], training: bool = False) -> Graph:
    graph = (model.training_graph if training else model.graph).copy()
    run_passes(graph, [Specialize(dict(sizes))])
    return graph
