"""Joins the files of models and the cache: ``load``.

To parse the text of a graph takes longer than all else of a start whose code is in the cache. So
that a text is a graph, and that the arrays of its file fit it, is kept, with the graph's key:
loading it again reads the weights alone. The key of an entry covers the text, the shapes of the
arrays, the contents of large constants and every source file of cauce.
"""

from __future__ import annotations

import json
import os

from .backends.llvm.runtime.cache import Store, default_store
from .backends.llvm.runtime.key import modules, only_ours
from .frontends.model import Model
from .frontends.stored import StoredGraphs, StoredModel
from .ir import Graph
from .ir.digest import digest, digest_of
from .ir.tracebacks import user_facing
from .ir.unread import UnreadGraph, graph_key
from .ir.version import VERSION


@user_facing
def load(path: str | os.PathLike[str]) -> Model:
    """Read a model that :meth:`Model.save` wrote, or the model of a checkpoint of a training run.

    Arrays have the names, shapes and dtypes that they were written with.

    Args:
        path: a file of :meth:`Model.save`, or a checkpoint of :class:`~cauce.training.Checkpoints`.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: not a safetensors file, a damaged one, or one of a later version of cauce.
        GraphError: a file that is not a model of cauce, or lacks a part of one.
        ParseError: a graph in the file that is none.
        MissingExtra: safetensors is not installed.

    Examples:
        >>> @cauce.network
        ... def net(x, classes=3):
        ...     y = nn.relu(nn.linear(x, 4, name="hidden"))
        ...     return nn.linear(y, classes, name="head")
        >>> net.init(x=("N", 8), seed=3).save("net.safetensors")
        >>> model = cauce.load("net.safetensors")
        >>> cauce.compile(model, "numpy")(np.zeros((1, 8), np.float32)).shape
        (1, 3)
    """
    stored = StoredModel.read(path)
    return stored.model(_inference_form(stored.graphs, default_store()))


def name_of(content: bytes) -> str | None:
    """The name of the network that an entry is of; None for what is no entry."""
    entry = _read(content)
    return None if entry is None else entry[0]


def _inference_form(graphs: StoredGraphs, store: Store) -> Graph | UnreadGraph:
    """The graph, which is parsed where nothing is kept of it."""
    if store.limit <= 0:
        return graphs.read("graph")
    key = _key_of(graphs)
    found = store.get(key)
    known = None if found is None else _read(found)
    graph = None
    if known is None:
        graph = graphs.read("graph")
        if not only_ours(graph):
            return graph
        known = (graph.name, graph_key(graph))
        store.put(key, json.dumps(known).encode())
    text = graphs.text("graph").encode("utf-8", "surrogatepass")
    return UnreadGraph(text, graphs.constants, known[1], graph)


def _key_of(graphs: StoredGraphs) -> str:
    constants = [
        (name, array.dtype.str, array.shape, digest(array.tobytes()).hex())
        for name, array in graphs.constants.items()
    ]
    held = repr((sorted(graphs.shapes.items()), sorted(constants)))
    return digest_of(VERSION, modules(), "graph", graphs.text("graph"), held)


def _read(content: bytes) -> tuple[str, str] | None:
    """The name and the key that an entry holds; None for what is no entry."""
    try:
        name, key = json.loads(content)
    except (ValueError, TypeError):
        return None
    return (name, key) if isinstance(name, str) and isinstance(key, str) else None
