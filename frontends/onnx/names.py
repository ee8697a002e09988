"""Names in ONNX files, which are any bytes at all: as text, as layer paths, and each once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from ...ir.errors import shown

_WITH_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")  # which have names of their own


def plain(name: object) -> str:
    """A name in a message: as it is where it is short and printable."""
    text = str(name)
    return text if isinstance(name, str) and text.isprintable() and len(text) <= 70 else shown(name)


def with_text(model: Any) -> Any:
    """A ``ModelProto`` whose names are all text; itself where they are.

    protobuf gives a name that is no UTF-8 as bytes. Each wrong byte becomes ``\\xff``, so that
    names which differ still do, and can be written anywhere.
    """
    graph = model.graph
    names = [graph.name]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
    for value in (*graph.input, *graph.output):
        names.append(value.name)
        names += [dim.dim_param for dim in value.type.tensor_type.shape.dim]
    names += [tensor.name for tensor in graph.initializer]
    names += [sparse.values.name for sparse in graph.sparse_initializer]
    for function in model.functions:
        names += [function.name, function.domain, *function.input, *function.output]
        for node in function.node:
            names += [node.name, node.op_type, node.domain, *node.input, *node.output]
    inner = any(node.op_type in _WITH_GRAPHS for node in graph.node)
    if all(isinstance(name, str) for name in names) and not inner:
        return model
    twin = type(model)()
    twin.CopyFrom(model)
    _mend(twin)
    return twin


def _mend(message: Any) -> None:
    """Make text of every name in a message, and in those within it."""
    for field, value in message.ListFields():
        repeated = not isinstance(value, (str, bytes)) and hasattr(value, "__len__")
        if field.type == field.TYPE_STRING:
            if repeated:
                value[:] = [_text(name) for name in value]
            else:
                setattr(message, field.name, _text(value))
        elif field.type == field.TYPE_MESSAGE:
            for inner in value if repeated else [value]:
                _mend(inner)


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


class FreeNames:
    """Gives each name once: the later ones with a number behind them.

    Args:
        is_taken: whether something else has a name already.
    """

    def __init__(self, is_taken: Callable[[str], bool]) -> None:
        self._is_taken = is_taken
        self._given: set[str] = set()
        # How far the numbers of a name are: from 1 on each time, many equal names take for ever.
        self._numbers: Counter[str] = Counter()

    def __call__(self, name: str) -> str:
        """``name``, or the same with the next number that makes it one of its own."""
        found = name
        while found in self._given or self._is_taken(found):
            self._numbers[name] += 1
            found = f"{name}_{self._numbers[name]}"
        self._given.add(found)
        return found


def layer_path(name: str) -> str:
    """The layer path that a node's name says: ``/layer1/conv/Conv`` is ``layer1.conv.Conv``.

    What stands behind ~ in a name is no part of a path.
    """
    return re.sub(r"[/\\]+", ".", name.strip("/")).replace("~", "_") or "node"
