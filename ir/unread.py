"""Graphs that lie there as text, and are parsed when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .digest import digest_of
from .graph import Graph
from .types import Array


def graph_key(graph: Graph) -> str:
    """A digest of all of a graph but its locations."""
    # The text tells the order of data inputs and that of the others, but not that of all.
    order = " ".join(f"{len(value.name)} {value.name}" for value in graph.inputs)
    return digest_of(order, graph.to_text(locations=False))


class UnreadGraph:
    """A graph as text: what is compiled already needs its key alone.

    Args:
        text: the text form, with locations.
        constants: the arrays of its large constants by digest.
        key: its :func:`graph_key`.
        graph: the graph itself where there is one, which nobody changes.
    """

    def __init__(
        self, text: bytes, constants: Mapping[str, Array], key: str, graph: Graph | None = None
    ) -> None:
        self._text, self._constants = text, constants
        self.key = key
        self._graph = graph

    @staticmethod
    def of(graph: Graph) -> UnreadGraph:
        """That of a graph, which nobody changes from now on."""
        return UnreadGraph(text_of(graph), graph.constants(), graph_key(graph), graph)

    @property
    def graph(self) -> Graph:
        """The graph, for reading alone."""
        if self._graph is None:
            from .parser import parse

            text = self._text.decode("utf-8", "surrogatepass")
            self._graph = parse(text, self._constants)
        return self._graph

    @property
    def text(self) -> bytes:
        """Its text, as :func:`text_of` gives it."""
        return self._text

    @property
    def constants(self) -> Mapping[str, Array]:
        """The arrays of its large constants by digest."""
        return self._constants

    def copy(self) -> Graph:
        """A graph of the caller's own."""
        return self.graph.copy()

    def __getstate__(self) -> dict[str, Any]:
        """Its text, which is read again at the other end."""
        return {**vars(self), "_graph": None}


def text_of(graph: Graph) -> bytes:
    """The text of a graph, with locations, as bytes."""
    return graph.to_text().encode("utf-8", "surrogatepass")
