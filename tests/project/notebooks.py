"""Makes notebooks of some examples, which stay the source: ``python -m tests.project.notebooks``.

A cell ends where the program has an empty line; the docstring, and what ``title`` prints, become
text. Arguments of the command line have their defaults.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .house import ROOT

EXAMPLES = ROOT / "examples"
NAMES = ("01_define_and_inspect", "02_train_digits", "07_vanishing_gradients")


def path_of(name: str) -> Path:
    """Where the notebook of an example lies."""
    return EXAMPLES / "notebooks" / f"{name}.ipynb"


def notebook(name: str) -> str:
    """An example as a notebook, without outputs: JSON of nbformat 4.5."""
    cells = [
        {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": _lines(text)}
        | ({"execution_count": None, "outputs": []} if kind == "code" else {})
        for number, (kind, text) in enumerate(_cells((EXAMPLES / f"{name}.py").read_text("utf-8")))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document: dict[str, Any] = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _cells(source: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each cell."""
    source = source.replace("parser.parse_args()", "parser.parse_args([])")  # not the kernel's own
    tree, lines = ast.parse(source), source.splitlines()
    yield "markdown", _prose(ast.get_docstring(tree) or "")
    pending: list[str] = []
    end = tree.body[0].end_lineno or 0
    for statement in tree.body[1:]:
        decorated = getattr(statement, "decorator_list", [])
        start = min([statement.lineno, *(one.lineno for one in decorated)])
        gap = lines[end : start - 1]
        if any(not line.strip() for line in gap) and pending:
            yield "code", "\n".join(pending)
            pending = []
        comments = [line for line in gap if line.startswith("#")]
        heading = _title(statement)
        if heading is not None:
            if pending:
                yield "code", "\n".join(pending)
                pending = []
            yield "markdown", f"## {heading[0].upper()}{heading[1:]}"
        elif not (isinstance(statement, ast.FunctionDef) and statement.name == "title"):
            pending += [*comments, *lines[start - 1 : statement.end_lineno]]
        end = statement.end_lineno or end
    if pending:
        yield "code", "\n".join(pending)


def _title(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Expr(
            value=ast.Call(func=ast.Name(id="title"), args=[ast.Constant(value=str(text))])
        ):
            return text
    return None


def _prose(doc: str) -> str:
    """The docstring as Markdown: its first sentence as the heading, without the command line."""
    first, _, rest = doc.partition("\n\n")
    kept = [part for part in rest.split("\n\n") if not part.startswith("    python ")]
    return "\n\n".join([f"# {' '.join(first.split())}", *kept])


if __name__ == "__main__":
    for name in NAMES:
        path_of(name).parent.mkdir(exist_ok=True)
        path_of(name).write_text(notebook(name), encoding="utf-8")
