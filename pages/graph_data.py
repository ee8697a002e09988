"""Graphs as plain data for the page: a record of each node, told apart by its first result.

A record holds what a box and its panel show. Long texts, which many nodes share (formulas,
gradients, lines of source), stand once in a table and are given by their place in it.
"""

from __future__ import annotations

import inspect
import linecache
import os
import re
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

from ..ir import Graph, Node, Role, TensorType, Value
from ..ir.dims import Dim, substitute
from ..ir.gradient_text import gradient_text
from ..ir.layout import Strided
from ..ir.location import Frame, Location
from ..ir.op import Op
from ..ir.structure import op_structure
from ..ir.text import attribute_texts

Record = dict[str, Any]
FORWARD, BACKWARD, UPDATE = range(3)

_SECTION = re.compile(r"^(?:Attributes|Args|Examples|Raises):$", re.MULTILINE)
_AROUND = 2  # lines of source before and after the one that is meant
_MOST_TEXT = 20_000  # letters of an attribute: that of a region is its whole body


class Texts:
    """A table of values that records share; each stands in it once."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self._places: dict[Hashable, int] = {}

    def place(self, key: Hashable, value: object) -> int:
        """The place of what is known by ``key``; ``value`` is put there when it is new."""
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]

    def known(self, key: Hashable) -> int | None:
        """The place of ``key``; None where it is new."""
        return self._places.get(key)


class GraphData:
    """Makes records of graphs.

    Args:
        texts: the table that they share.
        sizes: of the symbols, for which operations and bytes are counted.
    """

    def __init__(self, texts: Texts, sizes: Mapping[str, int]) -> None:
        self._texts = texts
        self._sizes = dict(sizes)

    def records(self, graph: Graph) -> dict[str, Record]:
        """A record for each input, node and output, by its id, in order.

        Keys of a record: ``op``; ``path``, the layer; ``in``, the names of the operands; ``out``,
        a name and a type for each result; ``attributes``, ``formula``, ``gradient`` and ``source``,
        places in the table; ``flops`` and ``bytes``, None where they depend on unknown sizes;
        ``phase``; ``fixed``, whether it depends on fixed parameters and constants alone;
        ``updates``, the inputs that its results replace; ``inner``, the ops of a region;
        ``family``, the module of the op, of a region that of the op in it with the most work.
        """
        phases, fixed = phases_of(graph), fixed_values(graph)
        replaced: dict[Value, list[str]] = {}
        for target, value in graph.updates.items():
            replaced.setdefault(value, []).append(target.name)
        found: dict[str, Record] = {}
        for source in graph.inputs:
            found[f"n:{source.name}"] = {
                "op": "input" if source.role is Role.DATA else source.role.value,
                "path": source.path,
                "in": [],
                "out": [[source.name, _type(source.type)]],
                "phase": FORWARD,
                "fixed": source in fixed,
            }
        for node in graph.nodes:
            record = self._node(node)
            record["phase"] = phases.get(node, FORWARD)
            record["fixed"] = node.results[0] in fixed
            updates = [name for value in node.results for name in replaced.get(value, ())]
            if updates:
                record["updates"] = updates
            found[f"n:{node.results[0].name}"] = record
        for name, value in graph.outputs.items():
            phase = phases.get(value.node, FORWARD) if value.node else FORWARD
            found[f"o:{name}"] = {
                "op": "output",
                "path": name,
                "in": [value.name],
                "out": [],
                "phase": phase,
                "fixed": False,
            }
        return found

    def _node(self, node: Node) -> Record:
        op = node.op
        cost = node.cost
        record: Record = {
            "op": op.name,
            "path": node.path,
            "in": [value.name for value in node.operands],
            "out": [[value.name, _type(value.type)] for value in node.results],
            "formula": self._formula(op),
            "flops": self._number(cost.flops),
            "bytes": self._number(cost.bytes),
        }
        attributes = self._attributes(op)
        if attributes is not None:
            record["attributes"] = attributes
        inner = [inside for body in op.regions() for inside in body.nodes]
        if inner:
            record["inner"] = [inside.op.name for inside in inner]
        else:
            record["gradient"] = self._gradient(node)
        most = max(inner, key=self._work) if inner else node
        record["family"] = type(most.op).__module__.rpartition(".")[2]
        if node.loc is not None:
            record["source"] = self._source(node.loc)
        return record

    def _work(self, node: Node) -> int:
        return self._number(node.cost.flops) or 0

    def _number(self, dim: Dim) -> int | None:
        """A size as a number; None where not all symbols are known, or where they do not fit."""
        size = substitute(dim, self._sizes)
        return size if isinstance(size, int) and size >= 0 else None

    def _formula(self, op: Op) -> int:
        """What the op computes: the documentation of its class, up to that of its attributes."""
        doc = inspect.cleandoc(type(op).__doc__ or "")
        text = _SECTION.split(doc)[0].rstrip().replace("``", "")
        return self._texts.place(("formula", type(op)), text)

    def _attributes(self, op: Op) -> int | None:
        if not op.kinds():
            return None
        # Regions that compute the same have names of their own.
        own = tuple(attribute_texts(op).values()) if op.regions() else ()
        key = ("attributes", op_structure(op), own)
        place = self._texts.known(key)
        if place is None:
            defaults = op.defaults()
            rows = [
                [name, text[:_MOST_TEXT], name in defaults and repr(defaults[name]) == repr(value)]
                for (name, value), text in zip(op.attributes(), attribute_texts(op).values())
            ]
            place = self._texts.place(key, rows)
        return place

    def _gradient(self, node: Node) -> int:
        types = tuple(value.type for value in node.operands)
        key = ("gradient", op_structure(node.op), types)
        place = self._texts.known(key)
        return self._texts.place(key, gradient_text(node.op, types)) if place is None else place

    def _source(self, loc: Location) -> int:
        key = ("source", loc)
        place = self._texts.known(key)
        if place is None:
            place = self._texts.place(key, [_lines(frame) for frame in reversed(loc.frames)])
        return place


def _type(type_: TensorType) -> str:
    """A type as text; a layout stands there where it is not the one that users see."""
    if type_.layout == Strided.row_major(type_.rank):
        return str(replace(type_, layout=None))
    return str(type_)


def _lines(frame: Frame) -> list[object]:
    """A line of source: its file, its number, and the lines around it, each with its number.

    The file is named without its folder: a page goes to others.
    """
    lines = linecache.getlines(frame.file)
    first = max(1, frame.line - _AROUND)
    around = [
        [number, text.rstrip()]
        for number, text in enumerate(lines[first - 1 : frame.line + _AROUND], first)
    ]
    return [os.path.basename(frame.file), frame.line, around]


def fixed_values(graph: Graph) -> set[Value]:
    """Values that depend on constants, and on parameters and state that nothing updates, alone."""
    fixed: set[Value] = {
        value
        for value in graph.inputs
        if value.role in (Role.PARAMETER, Role.STATE) and value not in graph.updates
    }
    for node in graph.nodes:
        if not node.op.symbols() and all(value in fixed for value in node.operands):
            fixed.update(node.results)
    return fixed


def phases_of(graph: Graph) -> dict[Node, int]:
    """The phase of each node of a training step; empty for a graph that is none.

    A step has a hyperparameter, its learning rate. What depends on it, or on the slots that an
    optimiser keeps for a parameter (``conv1.weight.velocity``), is the update. What outputs depend
    on (the loss, the metrics) is forward. What only the update depends on is backward. What is
    left, new running statistics say, is forward too.
    """
    rates = graph.inputs_with(Role.HYPERPARAMETER)
    if not rates or not graph.updates:
        return {}
    parameters = {value.name for value in graph.inputs_with(Role.PARAMETER)}
    slots = (v for v in graph.inputs_with(Role.STATE) if v.name.rpartition(".")[0] in parameters)
    late: set[Value] = {*rates, *slots}
    for node in graph.nodes:
        if any(value in late for value in node.operands):
            late.update(node.results)
    wanted: set[Value] = set(graph.outputs.values())
    before_update: set[Value] = set()
    phases: dict[Node, int] = {}
    for node in graph.nodes_reversed:
        results = set(node.results)
        if results & late:
            phases[node] = UPDATE
            before_update.update(node.operands)
        elif results & wanted:
            phases[node] = FORWARD
            wanted.update(node.operands)
        elif results & before_update:
            phases[node] = BACKWARD
            before_update.update(node.operands)
        else:
            phases[node] = FORWARD
            wanted.update(node.operands)
    return phases
