"""The text form of a graph, for people; :mod:`cauce.ir.parser` reads it back.

The grammar is written down in ``docs/text-format.md``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .attributes import COLLAPSIBLE
from .dims import DimExpr
from .graph import Graph, Input, Node, Role, Value
from .layout import Layout
from .literal import Literal
from .location import Location
from .op import Op
from .types import Array, DType

WORD = r"[A-Za-z_](?:[A-Za-z0-9_.~-]*[A-Za-z0-9_])?"
NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.~/-]*[A-Za-z0-9_])?"
_BARE = re.compile(NAME)
# Constants with more elements than this are printed by digest.
LARGE = 64


def print_graph(graph: Graph, *, locations: bool = True, indent: str = "") -> str:
    """The text of ``graph``.

    Args:
        graph: what to print.
        locations: whether to print ``loc(...)``, the user's source lines.
        indent: what every line but the first starts with.
    """
    inner = indent + "  "
    data = [value for value in graph.inputs if value.role is Role.DATA]
    header = ", ".join(f"{ref(value)}: {value.type}" for value in data)
    types = ", ".join(str(value.type) for value in graph.outputs.values())
    result = types if len(graph.outputs) == 1 else f"({types})"
    lines = [f"graph {_title(graph.name)}({header}) -> {result} {{"]
    for source in graph.inputs:
        if source.role is not Role.DATA:
            lines.append(f"{inner}{ref(source)}: {source.type} {source.role.value}")
    for node in graph.nodes:
        lines.append(inner + print_node(node, locations=locations, indent=inner))
    outputs = [
        ref(value) if name == value.name else f"{_title(name)}={ref(value)}"
        for name, value in graph.outputs.items()
    ]
    lines.append(f"{inner}return {', '.join(outputs)}".rstrip())
    for target, value in graph.updates.items():
        lines.append(f"{inner}update {ref(target)} = {ref(value)}")
    return "\n".join([*lines, indent + "}"])


def print_node(node: Node, *, locations: bool = True, indent: str = "") -> str:
    """One node as a line of text (more where it holds a region)."""
    results = ", ".join(ref(value) for value in node.results)
    operands = ", ".join(ref(value) for value in node.operands)
    parts = [f"{results} = {node.op.name}({operands})"]
    parts += print_attributes(node.op, locations=locations, indent=indent)
    parts.append(": " + ", ".join(str(value.type) for value in node.results))
    if locations and node.loc:
        parts.append(print_location(node.loc))
    return " ".join(parts)


def print_attributes(op: Op, *, locations: bool = True, indent: str = "") -> list[str]:
    """``name=value`` for every attribute that differs from its default."""
    shown = []
    defaults = op.defaults()
    for name, value in op.attributes():
        # Unlike ==, repr tells -0.0 from 0.0 and True from 1.
        if name in defaults and repr(value) == repr(defaults[name]):
            continue
        collapse = op.kinds()[name] in COLLAPSIBLE
        text = _attribute(value, collapse=collapse, locations=locations, indent=indent)
        shown.append(f"{name}={text}")
    return shown


def attribute_texts(op: Op) -> dict[str, str]:
    """The text of every attribute by its name, of those too that have their defaults."""
    kinds = op.kinds()
    return {
        name: _attribute(value, collapse=kinds[name] in COLLAPSIBLE, locations=False, indent="")
        for name, value in op.attributes()
    }


def ref(value: Value) -> str:
    """How a value is referred to: ``%name``, or ``@name`` for inputs other than data."""
    outside = isinstance(value, Input) and value.role is not Role.DATA
    bare = _BARE.fullmatch(value.name)
    return ("@" if outside else "%") + (value.name if bare else json.dumps(value.name))


def _title(name: str) -> str:
    """The name of a graph or an output: bare where it is one word that means nothing else there."""
    return name if re.fullmatch(WORD, name) and name != "update" else json.dumps(name)


def print_location(loc: Location) -> str:
    """``loc(net.py:14 < net.py:31)``, innermost first."""
    frames = []
    for frame in reversed(loc.frames):
        file, _, line = str(frame).rpartition(":")
        plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", file)
        frames.append(f"{file if plain else json.dumps(file)}:{line}")
    return f"loc({' < '.join(frames)})"


def _attribute(value: Any, *, collapse: bool, locations: bool, indent: str) -> str:
    if isinstance(value, Graph):
        return print_graph(value, locations=locations, indent=indent)
    if isinstance(value, Literal):
        return print_literal(value)
    if isinstance(value, tuple):
        leaves = set(_leaves(value))
        if collapse and len(leaves) == 1:
            return str(leaves.pop())
        parts = (_attribute(v, collapse=False, locations=locations, indent=indent) for v in value)
        return f"[{', '.join(parts)}]"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return print_float(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Layout):
        return json.dumps(value.text())
    assert isinstance(value, (int, DType, DimExpr)), value
    return str(value)


def _leaves(value: object) -> list[object]:
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def print_float(value: float) -> str:
    """The shortest text that reads back as the same double; always with a point, e, inf or nan."""
    if math.isnan(value):
        return "nan"
    return repr(float(value))


def print_literal(literal: Literal) -> str:
    """``dense(f32[2], [1.0, 2.0])``, or ``digest(f32[64,64], "sha256:...")`` for a large one."""
    if literal.array.size > LARGE:
        return f'digest({literal.type}, "{literal.digest}")'
    return f"dense({literal.type}, [{', '.join(map(_element, literal.array.ravel()))}])"


def _element(element: Any) -> str:
    if isinstance(element, np.bool_):
        return "true" if element else "false"
    if isinstance(element, np.integer):
        return str(element)
    short = str(element)
    # The shortest text of a float32 is read through a double: keep it where that is exact.
    if np.isfinite(element) and type(element)(float(short)) == element:
        return short if re.search(r"[.e]", short) else short + ".0"
    return print_float(float(element))


def table(rows: Sequence[Sequence[str]], names: int) -> str:
    """Rows, of which the first is the header and the last a sum, as a table.

    The first columns, so many names, stand at the left; the others, numbers, at the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    justify = [str.ljust] * names + [str.rjust] * (len(widths) - names)
    lines = ["  ".join(j(cell, w) for j, cell, w in zip(justify, row, widths)) for row in rows]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def large_constants(graph: Graph) -> dict[str, Array]:
    """The arrays of all constants that are printed by digest, regions included."""
    found: dict[str, Array] = {}
    for node in graph.nodes:
        for _, value in node.op.attributes():
            if isinstance(value, Graph):
                found.update(large_constants(value))
            elif isinstance(value, Literal) and value.array.size > LARGE:
                found[value.digest] = value.array
    return found
