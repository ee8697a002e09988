"""The key of compiled code in the cache.

It says all that the code depends on, so nothing in the cache is ever out of date: another graph,
option, processor, version or edit of cauce has another key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from ....ir import Graph, Op
from ....ir.version import VERSION
from ...contract import Request
from ..target import host_name
from .cache import digest

_PACKAGE = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))


def cache_key(request: Request) -> str | None:
    """What the code depends on: the graph, the options, cauce, LLVM and the processor.

    None where that cannot be said: for passes of the user's own, which have no options, and for ops
    of the user's own, whose meaning is in a file that is not known here.
    """
    if request.options is None or not all(map(_is_ours, _ops(request.source))):
        return None
    text = request.source.to_text(locations=False)
    # The text tells the order of data inputs and that of the others, but not that of all.
    order = " ".join(f"{len(value.name)} {value.name}" for value in request.source.inputs)
    settings = repr(sorted(request.settings))
    parts = (VERSION, _sources(), host_name(), request.options, settings, order, text)
    return digest("".join(f"{len(part)} {part}" for part in parts).encode()).hex()


def _is_ours(op: type[Op]) -> bool:
    return op.__module__.startswith(__name__.partition(".")[0] + ".")


def _ops(graph: Graph) -> Iterator[type[Op]]:
    """The ops of a graph and of its regions."""
    for node in graph.nodes:
        yield type(node.op)
        for region in node.op.regions():
            yield from _ops(region)


def _sources() -> str:
    """Sizes and times of all modules of cauce: a version number alone misses edits."""
    llvm = find_spec("llvmlite")
    found = [str(os.stat(llvm.origin).st_mtime_ns)] if llvm is not None and llvm.origin else []
    folders = [_PACKAGE]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != "__pycache__":
                        folders.append(entry.path)
                elif entry.name.endswith(".py"):
                    status, name = entry.stat(), entry.path.removeprefix(_PACKAGE)
                    found.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(sorted(found))
