"""How values look in notebooks.

What draws them stands in the layers above, which nothing here may import. So ``cauce`` registers a
maker of HTML for each kind of value, and values ask for it by kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_makers: dict[str, Callable[[Any], str]] = {}


def draw_by(kind: str, maker: Callable[[Any], str]) -> None:
    """Let values of a kind be drawn by ``maker``."""
    _makers[kind] = maker


def html_of(kind: str, value: object) -> str | None:
    """A value as HTML, for ``_repr_html_``; None, which is plain text, where nothing draws it."""
    maker = _makers.get(kind)
    return None if maker is None else maker(value)
