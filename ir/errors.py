"""The errors cauce raises: one small hierarchy, each also a built-in a user would catch.

A message has three parts: what is wrong (with the numbers in it), where (the layer path and the
user's own line, with its text), and what to do about it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .location import Location, here


class CauceError(Exception):
    """Base of every error cauce raises on purpose.

    Args:
        what: the problem, with the numbers put in.
        fix: a likely remedy, or None.
        path: the layer path of the node concerned (``stage2.block1.conv1``), if known.
        loc: where the user wrote that node, if known.

    Examples:
        >>> try:
        ...     cauce.network(lambda x: nn.linear(x, 2)).init(x=(3,))
        ... except cauce.CauceError as error:
        ...     print(error.what, "in", error.path)
        ...     print(error.fix)
        linear takes [N, features], got f32[3] in linear1
        keep the batch: flatten(x, 1), or reshape to two dimensions
        >>> print(cauce.CauceError("no room", fix="make some").at("conv1", None))
        no room
          in layer: conv1
          fix: make some
    """

    def __init__(
        self,
        what: str,
        *,
        fix: str | None = None,
        path: str | None = None,
        loc: Location | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.path = path
        self.loc = loc

    def at(self, path: str | None, loc: Location | None) -> CauceError:
        """Say where the error happened, unless that is known already; returns the error itself."""
        self.path = self.path or path
        self.loc = self.loc or loc
        return self

    def _first_lines(self) -> list[str]:
        return [self.what, *([f"  in layer: {self.path}"] if self.path else [])]

    def __str__(self) -> str:
        lines = self._first_lines()
        if self.loc:
            lines.append(self.loc.describe(indent="  "))
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


@contextmanager
def located(path: str | None) -> Iterator[None]:
    """What goes wrong within is said to be at layer ``path``, written where the user is now."""
    try:
        yield
    except CauceError as error:
        error.at(path, here())
        raise


class ShapeError(CauceError, ValueError):
    """Shapes that do not fit one another.

    Attributes:
        unequal: the sizes that would have to be equal, where that is all that is wrong.
    """

    unequal: tuple[Any, ...] = ()

    def between(self, *sizes: Any) -> ShapeError:
        """Say which sizes would have to be equal; returns the error itself."""
        self.unequal = sizes
        return self


class TypeMismatch(CauceError, TypeError):
    """A value of the wrong dtype or kind."""


class AttributeMistake(CauceError, ValueError):
    """An attribute of an op, or an argument of a function, with a value it cannot have."""


class GraphError(CauceError, ValueError):
    """A graph that is not well formed, or a request that names what the graph does not have."""


class VerifyError(GraphError):
    """What :func:`verify` found wrong in a graph."""


class ParseError(CauceError, ValueError):
    """Text that is not a graph; ``line`` and ``column`` count from 1."""

    def __init__(self, what: str, line: int, column: int, text: str, fix: str | None = None):
        super().__init__(what, fix=fix)
        self.args = (what, line, column, text)  # with which a copy is made, in another process say
        self.line = line
        self.column = column
        self.text = text

    def _first_lines(self) -> list[str]:
        where = f"line {self.line}, column {self.column}"
        return [f"{where}: {self.what}", f"  {self.text}", " " * (self.column + 1) + "^"]


class DataError(CauceError, ValueError):
    """A data set, or a file of data, that is not what it should be."""


class MissingFile(CauceError, FileNotFoundError):
    """A file, or the folder to write one in, that is not there."""


class OutOfRange(CauceError, IndexError):
    """An index beyond what there is."""


class UnknownAttribute(CauceError, AttributeError):
    """An attribute or a method of another library's tensors that a symbolic tensor has not."""


class UnsupportedOp(CauceError, NotImplementedError):
    """An op for which a backend, or autodiff, has no rule."""


class CompileError(CauceError, RuntimeError):
    """A backend could not compile a graph."""


class WorkerLost(CauceError, RuntimeError):
    """Work on other processes or machines that did not come back."""


class ExportFailure(CauceError, RuntimeError):
    """A graph could not be exported."""


class MissingExtra(CauceError, ImportError):
    """An optional dependency that is not installed; ``fix`` is the install command."""


class CauceWarning(UserWarning):
    """What is done as asked, but may not be what was meant.

    Examples:
        >>> import warnings
        >>> warnings.simplefilter("error", cauce.CauceWarning)  # let it be an error
        >>> warnings.simplefilter("default", cauce.CauceWarning)
    """


def install(package: str) -> str:
    """The command that installs an optional package, in a version that cauce works with.

    The version is the one that the metadata of this installation asks for. The package itself is
    named, never ``cauce[...]``: that works for an installation from a checkout, an archive or an
    index alike, in any folder.
    """
    import re
    import shlex
    from importlib import metadata

    try:
        stated = metadata.requires("cauce") or []
    except metadata.PackageNotFoundError:  # a checkout on the module path, not installed
        stated = []
    for requirement in stated:
        wanted = requirement.partition(";")[0].strip()
        if re.fullmatch(rf"{re.escape(package)}(?![\w.-]).*", wanted, re.IGNORECASE):
            return f"pip install {shlex.quote(wanted)}"
    return f"pip install {package}"


def shown(value: object) -> str:
    """``value`` in a message: as it is written where that is short, else what it is."""
    text = repr(value)
    if len(text) <= 70 and "\n" not in text:
        return text
    if isinstance(value, (tuple, list)) and len(value) <= 3:
        items = ", ".join(map(shown, value))
        return f"[{items}]" if isinstance(value, list) else f"({items})"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"an array of {value.dtype} with shape {tuple(value.shape)}"
    return reprlib.repr(value).replace("\n", " ")


_COMPARED = 1000  # characters of a name, and how many names


def did_you_mean(name: object, known: Iterable[str], otherwise: str) -> str:
    """A remedy for a name that is not known: those that are written nearly alike, if any."""
    import difflib

    # What is longer is no slip of the pen, and takes long to compare.
    alike = [other for other in known if len(other) <= _COMPARED]
    near = difflib.get_close_matches(str(name)[:_COMPARED], alike[:_COMPARED])
    return f"did you mean {', '.join(near)}?" if near else otherwise


def need(value: object, kind: type | tuple[type, ...], what: str, fix: str) -> None:
    """Raise TypeMismatch unless ``value`` is of a kind; ``what`` says who takes what."""
    if not isinstance(value, kind):
        raise TypeMismatch(f"{what}, got {shown(value)}", fix=fix)
