"""One HTML file that stands alone: its styles and scripts are in it, and it asks nobody for more.

Names come from files of strangers, so nothing that is shown is ever read as HTML. Data goes in as
JSON that no tag can end, and scripts of ours put it on the page as text alone. The policy of the
page (Content Security Policy, level 3) lets run the scripts of ours, by their hashes, and nothing
else: no request leaves it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from ..ir.files import replacing

# What could end a script element, begin a comment in it, or end a line of JavaScript.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class Markup(str):
    """HTML that was written here; every other string is text, to be escaped."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Text as HTML that shows it, within an element or a quoted attribute."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_valid(str(text))))


def _valid(text: str) -> str:
    """Text that UTF-8 can hold: halves of surrogate pairs, which JSON may bring, are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """An element; children that are no :class:`Markup` are text.

    Args:
        tag: its name.
        children: what is in it, in order.
        attributes: ``class_`` is ``class``, other underscores are hyphens; those that are None are
            left out, those that are True have no value.

    >>> element("b", "a < b", title='say "x"')
    '<b title="say &quot;x&quot;">a &lt; b</b>'
    """
    parts = []
    for name, value in attributes.items():
        key = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(f" {key}")
        elif value is not None:
            parts.append(f' {key}="{escape(value)}"')
    return Markup(f"<{tag}{''.join(parts)}>{''.join(map(escape, children))}</{tag}>")


def json_text(value: object) -> str:
    """``value`` as JSON in ASCII in which no ``<``, ``>`` or ``&`` stands: safe in any element.

    Numbers that JSON has not, NaN and the infinities, become null.
    """
    text = json.dumps(_finite(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return "".join(_UNSAFE.get(letter, letter) for letter in text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def packed_text(value: object) -> str:
    """``value`` as JSON, deflated (RFC 1951), in base64: ``unpack`` of ``dom.js`` reads it."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    squeezed = squeeze.compress(json_text(value).encode()) + squeeze.flush()
    return base64.b64encode(squeezed).decode()


@cache
def static(name: str) -> str:
    """A style sheet or a script of ours, from the folder ``static``."""
    return (resources.files(__package__) / "static" / name).read_text(encoding="utf-8")


EMPTY = Markup("")


@dataclass(frozen=True, repr=False)
class Page:
    """A page, to be shown in a notebook or saved.

    Attributes:
        title: of the page; text.
        body: what is in it before a script runs.
        styles: names of style sheets in ``static``, after ``base.css``.
        scripts: names of scripts in ``static``, after ``dom.js``; they run in this order, in one
            scope.
        data: by name, what ``page.data(name)`` gives the scripts.
        packed: by name, what ``await page.unpack(name)`` gives them: large things, kept deflated.
        height: of the frame in a notebook, in CSS pixels.
    """

    title: str
    body: Markup = EMPTY
    styles: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    packed: Mapping[str, object] = field(default_factory=dict)
    height: int = 620

    def html(self) -> str:
        """The whole page."""
        style = "\n".join(map(static, ("base.css", *self.styles)))
        lines = "\n".join(map(static, ("dom.js", *self.scripts))) if self.scripts else ""
        script = f'"use strict";\n(() => {{\n{lines}\n}})();\n' if lines else ""
        policy = (
            "default-src 'none'; base-uri 'none'; form-action 'none'; "
            f"style-src {_hash(style)}; script-src {_hash(script)}"
        )
        blocks = [
            *(
                _block(name, json_text(value), "application/json")
                for name, value in self.data.items()
            ),
            *(
                _block(name, packed_text(value), "text/plain")
                for name, value in self.packed.items()
            ),
        ]
        parts = [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            element_alone("meta", http_equiv="Content-Security-Policy", content=policy),
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            element("title", self.title),
            f"<style>{style}</style></head><body>",
            self.body,
            *blocks,
            f"<script>{script}</script>" if script else "",
            "</body></html>\n",
        ]
        return "\n".join(part for part in parts if part)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page as a file, all of it or nothing: an earlier file is replaced by a whole
        one.

        Raises:
            MissingFile: there is no such folder, or ``path`` is one.
            OSError: the file cannot be written.
        """
        text = self.html().encode("utf-8")
        with replacing(path) as temporary:
            temporary.write_bytes(text)

    def _repr_html_(self) -> str:
        """The page in a frame of a notebook, apart from the notebook's own scripts and styles."""
        frame = element(
            "iframe",
            srcdoc=self.html(),
            sandbox="allow-scripts",
            title=self.title,
            width="100%",
            height=self.height,
            frameborder=0,
        )
        return str(frame)

    def __repr__(self) -> str:
        """Short: a page is for a browser."""
        return f"<page {self.title!r}>"


def _block(name: str, text: str, kind: str) -> Markup:
    """A block of data, which no browser runs."""
    return Markup(f'<script type="{kind}" id="data-{escape(name)}">{text}</script>')


def element_alone(tag: str, **attributes: object) -> Markup:
    """An element that has no end: ``meta``, ``input``, ``br``."""
    return Markup(element(tag, **attributes).removesuffix(f"</{tag}>"))


def _hash(text: str) -> str:
    """How a policy names an inline script or style: by the SHA-256 of its text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
