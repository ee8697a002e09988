"""Calls of public things that take numbers: the table, and what makes their results comparable."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import cauce


class Call(NamedTuple):
    """A call of something public.

    Attributes:
        covers: the parameters of the public thing that it gives numbers to, by name.
        numbers: the numbers, as Python's.
        result: calls it with them; what it gives is compared.
    """

    covers: str
    numbers: dict[str, Any]
    result: Callable[..., object]


TABLE: list[Call] = []


def call(result: Callable[..., object], covers: str, **numbers: Any) -> None:
    """Add a call to the table; ``covers`` is a path below cauce."""
    TABLE.append(Call(covers, numbers, result))


def made(kind: type) -> Callable[..., object]:
    """What is made, in all that can be seen of it: its fields are Python's own numbers."""

    def make(**numbers: Any) -> object:
        found = kind(**numbers)
        fields = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
        return repr(found), json.dumps(fields, default=repr)

    return make


def traced(layer: Callable[..., object], *shape: object) -> Callable[..., str]:
    """The graph of a network of one layer, whose input has a shape."""

    def trace(**numbers: Any) -> str:
        @cauce.network
        def net(x):
            return layer(x, **numbers)

        graph = net.graph(x=shape or ("N", 4, 8, 8), training=True)
        return graph.to_text(locations=False)

    return trace


def method(name: str) -> Callable[..., object]:
    """A method of a tensor whose numbers have names."""
    return lambda x, **numbers: getattr(x, name)(**numbers)


def spread(name: str) -> Callable[..., object]:
    """A method of a tensor that takes its numbers one by one."""
    return lambda x, dims: getattr(x, name)(*dims)
