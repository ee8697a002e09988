"""The key of compiled code in the cache.

It says all that the code depends on, so nothing in the cache is ever out of date: another graph,
option, processor, version or edit of cauce has another key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache

from ....ir import Graph, Op
from ....ir.digest import digest_of
from ....ir.installed import origin_of
from ....ir.unread import UnreadGraph, graph_key
from ....ir.version import VERSION
from ...contract import Dims, Request
from ..target import host_name

_PACKAGE = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))


def cache_key(request: Request) -> str | None:
    """What the code depends on: the graph, the options, cauce, LLVM and the processor.

    None where that cannot be said: for passes of the user's own, which have no options, and for ops
    of the user's own, whose meaning is in a file that is not known here.
    """
    if request.options is None:
        return None
    given = request.given
    if isinstance(given, Graph) and not only_ours(given):
        return None
    graph = given.key if isinstance(given, UnreadGraph) else graph_key(given)
    settings = repr(sorted(request.settings))
    return digest_of(VERSION, sources(), host_name(), request.options, settings, graph)


def sizes_key(graph: UnreadGraph, dims: Dims) -> str:
    """The key under which is kept that every node takes these sizes of the symbols."""
    return digest_of(VERSION, modules(), "sizes", graph.key, repr(sorted(dims.items())))


def only_ours(graph: Graph) -> bool:
    """Whether a graph has no op but cauce's own, which :func:`sources` speaks for."""
    return all(map(is_ours, _ops(graph)))


def is_ours(made: type[Op] | Callable[..., object]) -> bool:
    """Whether a class or a function stands in a file of cauce's."""
    return made.__module__.startswith(__name__.partition(".")[0] + ".")


def _ops(graph: Graph) -> Iterator[type[Op]]:
    """The ops of a graph and of its regions."""
    for node in graph.nodes:
        yield type(node.op)
        for region in node.op.regions():
            yield from _ops(region)


def sources(library: str = "llvmlite") -> str:
    """What tells the modules of cauce from all others, and the time of a library that what is kept
    depends on too: a version number alone misses edits."""
    origin = origin_of(library)
    changed = ""
    if origin:
        with suppress(OSError):
            changed = str(os.stat(origin).st_mtime_ns)
    return f"{changed} {modules()}"


@cache
def modules() -> str:
    """A digest of the sizes and times of all modules, as they are when this is first asked for:
    what is edited later is another process's code."""
    found = []
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
    return digest_of("\n".join(sorted(found)))
