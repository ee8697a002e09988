"""Docstrings on the site: roles such as ``:func:`relu` `` become code, powers stay powers."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:func|class|meth|attr|mod|data):`~?([\w.]+)`")
_CODE = re.compile(r"(`[^`]*`)")


def as_markdown(docstring: str) -> str:
    """A docstring whose prose is Markdown; its examples are left as they are."""
    prose, title, examples = docstring.partition("Examples:")
    parts = _CODE.split(_ROLE.sub(r"`\1`", prose).replace("``", "`"))
    shown = (part if part.startswith("`") else part.replace("*", r"\*") for part in parts)
    return "".join(shown) + title + examples


class Roles(Extension):
    """Rewrites the docstring of every object that is read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
