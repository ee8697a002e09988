"""The page on which numbers can be touched: choose an element, see how it came about.

Everything that is shown is made here, from the arrays: the page's script only shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Array, Node
from ..ir.explain import Explanation, Read, explain, shown_number
from ..ir.op import Op
from .page import Page


@dataclass(frozen=True)
class Computed:
    """A node with what it has computed.

    Attributes:
        node: which one.
        op: its op, sizes of symbols put in.
        operands: the arrays that it has read.
        results: the arrays that it has made.
    """

    node: Node
    op: Op
    operands: Sequence[Array]
    results: Sequence[Array]

    def explanation(self, index: Sequence[int], result: int = 0) -> Explanation:
        """How one element came about; see :func:`cauce.ir.explain.explain`."""
        return explain(self.op, self.operands, self.results, index, result)


def explain_page(title: str, nodes: Iterable[Computed], start: str | None = None) -> Page:
    """A page of all elements of some nodes.

    Args:
        title: of the page.
        nodes: those that can be explained.
        start: the name of the value that is shown first; the first one where None.
    """
    told = [entry for node in nodes for entry in _results(node)]
    first = next((k for k, entry in enumerate(told) if entry["name"] == start), 0)
    return Page(
        title,
        styles=("explain.css",),
        scripts=("explain.js",),
        data={"start": {"title": title, "first": first}},
        packed={"nodes": told},
    )


def _results(computed: Computed) -> list[dict[str, Any]]:
    """The data of a node, for each of its results."""
    node = computed.node
    values = {
        name.rstrip("?"): (value, array)
        for name, value, array in zip(computed.op.operands, node.operands, computed.operands)
    }
    values |= {
        name: (value, array)
        for name, value, array in zip(computed.op.results, node.results, computed.results)
    }
    found = []
    for place, (value, array) in enumerate(zip(node.results, computed.results)):
        told = [computed.explanation(index, place) for index in np.ndindex(array.shape)]
        reads = [read for one in told for term in one.terms for read in term.reads]
        boxes = {
            name: _Box.of(name, [read for read in reads if read.source == name], array)
            for name, (_, array) in values.items()
            if any(read.source == name for read in reads)
        }
        order = list(boxes)
        found.append(
            {
                "name": value.name,
                "path": node.path,
                "operands": [operand.name for operand in node.operands],
                "op": computed.op.name,
                "result": computed.op.results[place],
                "type": str(value.type),
                "attributes": [[name, str(item)] for name, item in computed.op.attributes()],
                "formula": told[0].formula if told else "",
                "line": "" if node.loc is None else str(node.loc),
                "shape": list(array.shape),
                "texts": [shown_number(float(number)) for number in array.reshape(-1)],
                "sources": [
                    {"called": values[name][0].name, **box.data()} for name, box in boxes.items()
                ],
                "elements": [_element(one, boxes, order) for one in told],
            }
        )
    return found


@dataclass(frozen=True)
class _Box:
    """An array with as much padding around it as is read.

    Attributes:
        name: of the operand.
        array: its elements.
        low: the least index that is read, along each dimension, or 0.
        shape: the sizes of all of it.
        padding: how padding is shown.
    """

    name: str
    array: Array
    low: tuple[int, ...]
    shape: tuple[int, ...]
    padding: str

    @staticmethod
    def of(name: str, reads: Sequence[Read], array: Array) -> _Box:
        """The box that holds an array and all that is read of it."""
        indices = np.array([read.index for read in reads], int).reshape(len(reads), array.ndim)
        low = np.minimum(indices.min(axis=0), 0)
        high = np.maximum(indices.max(axis=0) + 1, array.shape)
        outside = [read.value for read in reads if not read.inside]
        padding = shown_number(outside[0]) if outside else ""
        return _Box(name, array, tuple(low.tolist()), tuple((high - low).tolist()), padding)

    def place(self, index: Sequence[int]) -> int:
        """The number of an element of the box, counted in row-major order."""
        place = 0
        for at, low, size in zip(index, self.low, self.shape):
            place = place * size + at - low
        return place

    def data(self) -> dict[str, Any]:
        """What the script needs of it."""
        return {
            "name": self.name,
            "low": self.low,
            "shape": self.shape,
            "size": list(self.array.shape),
            "texts": [shown_number(float(number)) for number in self.array.reshape(-1)],
            "padding": self.padding,
        }


def _element(one: Explanation, boxes: dict[str, _Box], order: list[str]) -> dict[str, Any]:
    terms = [
        [
            [number for r in term.reads for number in (order.index(r.source), _at(r, boxes))],
            term.text,
            term.shown_value,
            int(term.chosen),
        ]
        for term in one.terms
    ]
    return {"terms": terms, "steps": list(one.steps)}


def _at(read: Read, boxes: dict[str, _Box]) -> int:
    return boxes[read.source].place(read.index)
