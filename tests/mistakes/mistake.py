"""A mistake that users make, and what its message must say.

The files beside this one list them as functions: the body is the user's code, the docstring its
title. :func:`mistake` adds one to :data:`TABLE`. The code finds the names of ``common.py``, and
runs in an empty folder of its own.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from cauce.backends.onnx.rules import RULES
from cauce.ir.errors import CauceError
from cauce.ir.op import _REGISTRY

# The files of the table in the order of the page.
CHAPTERS = (
    "shapes",
    "arguments",
    "habits",
    "networks",
    "running",
    "training",
    "runs",
    "data",
    "files",
    "graphs",
    "text",
)


@dataclass(frozen=True)
class Mistake:
    """One row of the table.

    Attributes:
        code: the user's code.
        kind: the class of the error.
        builtin: what a user would catch who does not know that class.
        says: parts of the first line of the message, numbers among them.
        fix: a part of the remedy.
        line: the text of the user's line that the message shows.
        ends: the text of the last line of the traceback; the same line where None.
        mended: what stands in the place of a line when the remedy is followed, which is then
            code: one text, or several where it names several ways.
        mends: the line in whose place; the one that the message shows where None.
        without: a package that is not installed.
    """

    code: Callable[[], object]
    kind: type[CauceError]
    builtin: type[Exception]
    says: tuple[str, ...]
    fix: str
    line: str
    ends: str | None
    mended: tuple[str, ...]
    mends: str | None
    without: str | None

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.code.__name__

    @property
    def chapter(self) -> ModuleType:
        """The file that lists it."""
        return sys.modules[self.code.__module__]

    @property
    def title(self) -> str:
        """What went wrong, in a few words."""
        return inspect.cleandoc(self.code.__doc__ or "")

    def text(self) -> tuple[str, int]:
        """The user's code with its imports, and the line of the file that its first line would be.

        (The imports stand at the top of that file: their line is reckoned back from the code.)
        """
        source = Path(self.code.__code__.co_filename).read_text(encoding="utf-8")
        tree = ast.parse(source)
        (function,) = (
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == self.name
        )
        first, last = function.body[0].end_lineno, function.end_lineno
        assert first is not None and last is not None
        lines = source.splitlines()[first:last]
        blank = next(place for place, line in enumerate(lines) if line)
        imports = _imports(tree, function)
        code = textwrap.dedent("\n".join(lines[blank:]))
        return "\n".join([*imports, code]), first + blank + 1 - len(imports)

    def follow(self, way: str, folder: Path, names: dict[str, object]) -> None:
        """Run the code with the remedy in it, in a folder."""
        code, _ = self.text()
        old = self.mends or self.line
        lines = code.splitlines()
        place = next(number for number, line in enumerate(lines) if line.strip() == old)
        indent = lines[place].removesuffix(lines[place].lstrip())
        lines[place : place + 1] = textwrap.indent(way, indent).splitlines()
        with contextlib.chdir(folder), patch.dict(_REGISTRY), patch.dict(RULES):
            exec(compile("\n".join(lines), f"{self.name}, mended", "exec"), names)

    def message(self, error: CauceError) -> str:
        """The message as a user sees it whose file ``example.py`` holds this code alone."""
        _, first = self.text()
        file = self.code.__code__.co_filename
        lines = []
        for line in f"{type(error).__name__}: {error}".splitlines():
            if line.startswith("  from ") and file not in line:
                continue  # who runs the table
            lines.append(
                re.sub(
                    re.escape(file) + r":(\d+)",
                    lambda match: f"example.py:{int(match.group(1)) - first + 1}",
                    line,
                )
            )
        return "\n".join(lines)

    def run(self, folder: Path, code: Callable[[], object] | None = None) -> CauceError:
        """Run the code, or another one, in a folder; the error that it raises."""
        with contextlib.chdir(folder), _without(self.without), patch.dict(_REGISTRY):
            try:
                (code or self.code)()
            except CauceError as error:
                return error
        raise AssertionError(f"{self.name} raised nothing")


TABLE: list[Mistake] = []


def mistake(
    kind: type[CauceError],
    builtin: type[Exception],
    *,
    says: str | tuple[str, ...],
    fix: str,
    line: str,
    ends: str | None = None,
    mended: str | tuple[str, ...] = (),
    mends: str | None = None,
    without: str | None = None,
) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Decorator: add a function to the table."""

    def add(code: Callable[[], object]) -> Callable[[], object]:
        parts = (says,) if isinstance(says, str) else says
        ways = (mended,) if isinstance(mended, str) else mended
        row = Mistake(code, kind, builtin, parts, fix, line, ends, ways, mends, without)
        TABLE.append(row)
        return code

    return add


def table() -> list[Mistake]:
    """All mistakes, chapter by chapter."""
    for chapter in CHAPTERS:
        importlib.import_module(f"{__package__}.{chapter}")
    order = {f"{__package__}.{chapter}": place for place, chapter in enumerate(CHAPTERS)}
    return sorted(TABLE, key=lambda row: order[row.code.__module__])


def _imports(tree: ast.Module, function: ast.FunctionDef) -> list[str]:
    """The imports of a file that a function uses, less those of the table itself; a blank line."""
    used = {node.id for line in function.body for node in ast.walk(line) if type(node) is ast.Name}
    lines = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [alias.name for alias in node.names if alias.name in used]
            if names:
                lines.append(f"from {node.module} import {', '.join(names)}")
    return [*lines, ""] if lines else []


@contextlib.contextmanager
def _without(package: str | None) -> Iterator[None]:
    """Within the block, a package is as if it were not installed."""
    if package is None:
        yield
        return
    hidden = {
        name: module for name, module in sys.modules.items() if name.partition(".")[0] == package
    }
    for name in hidden:
        del sys.modules[name]
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        sys.modules.update(hidden)
