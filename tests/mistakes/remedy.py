"""The code in a remedy: what a user would copy from the text of a message."""

from __future__ import annotations

import ast
import re

_START = re.compile(r"(?<![\w.'\"])(?:\w+(?:, \w+)* = )?@?[A-Za-z_][\w.]*")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# A value behind "=", an operator and its operand, an attribute.
_MORE = re.compile(
    r"=(?:-?[\w.]+|'[^']*'|\"[^\"]*\"|(?=[(\[{]))" r"| [-+*/] [\w.]+" r"|\.[A-Za-z_]\w*"
)


# The types of values in messages look like indices.
_TYPE = re.compile(r"(?:bool|bf16|[iuf]\d+)\[.*\]")


def remedies_in(text: str) -> list[str]:
    """What a remedy gives to copy: its code, and the first name that it proposes."""
    proposed = re.match(r"did you mean %?([^,?]+)", text)
    return [proposed[1]] if proposed else code_in(text)


def stands_in(piece: str, code: str) -> bool:
    """Whether code holds a piece as it is, with anything for ``...`` and either quotes."""
    pattern = re.escape(piece.replace("'", '"')).replace(re.escape("..."), ".*")
    return re.search(pattern, code.replace("'", '"'), re.DOTALL) is not None


def code_in(text: str) -> list[str]:
    """The pieces of a remedy that are code: calls, indices, arguments with values, statements.

    >>> code_in("use 'same' or numbers: padding=1, or x.reshape(len(x), -1) / 255 (see below)")
    ['padding=1', 'x.reshape(len(x), -1) / 255']
    >>> code_in("number them: classes, labels = np.unique(labels, return_inverse=True)")
    ['classes, labels = np.unique(labels, return_inverse=True)']
    >>> code_in("write a network (or two) of your own")
    []
    """
    found, place = [], 0
    while match := _START.search(text, place):
        place = _end(text, match.end())
        piece = text[match.start() : place].rstrip(".:")
        if set("([{=") & set(piece) and not _TYPE.fullmatch(piece) and _is_code(piece):
            found.append(piece)
    return found


def _end(text: str, place: int) -> int:
    """Where the code ends that goes on at ``place``."""
    while place < len(text):
        if text[place] in _CLOSING:
            place = _closed(text, place)
        elif match := _MORE.match(text, place):
            place = match.end()
        else:
            break
    return place


def _closed(text: str, place: int) -> int:
    """Behind the bracket that closes the one at ``place``; brackets in text do not count."""
    expected, quote = [], ""
    for at in range(place, len(text)):
        character = text[at]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _CLOSING:
            expected.append(_CLOSING[character])
        elif expected and character == expected[-1]:
            expected.pop()
            if not expected:
                return at + 1
    return len(text)


def _is_code(piece: str) -> bool:
    for whole in (piece, f"f({piece})"):
        try:
            ast.parse(whole.removeprefix("@"))
            return True
        except SyntaxError:
            pass
    return False
