"""Where in the user's own source a node was written."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from functools import cache
from types import FrameType

from .record import Record

_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# The folders of the package itself: in a checkout they lie side by side below the root, in an
# installed wheel they are all below cauce/. Frames from there are library frames and are cut.
_LIBRARY = tuple(
    os.path.join(_ROOT, folder, "")
    for folder in (
        *("cauce", "ir", "passes", "frontends", "backends", "training"),
        *("pages", "clusters", "commands"),
    )
)


class Frame(Record):
    """One line of the user's source.

    Attributes:
        file: as Python knows it.
        line: its number, from 1.

    Examples:
        >>> str(cauce.ir.Frame("/home/me/net.py", 14))
        'net.py:14'
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


class Location(Record):
    """The user's lines that led to a node.

    Attributes:
        frames: outermost first and innermost last.

    Examples:
        >>> from cauce.ir import Frame, Location
        >>> place = Location((Frame("net.py", 31), Frame("blocks.py", 14)))
        >>> print(place)
        blocks.py:14 < net.py:31
        >>> print(place.describe())
        at blocks.py:14
        from net.py:31
    """

    frames: tuple[Frame, ...]

    def __str__(self) -> str:
        """Innermost first, as the text form prints it: ``net.py:14 < net.py:31``."""
        return " < ".join(str(frame) for frame in reversed(self.frames))

    def describe(self, indent: str = "") -> str:
        """The innermost line with its text, then the lines it was called from."""
        lines = []
        for depth, frame in enumerate(reversed(self.frames)):
            text = linecache.getline(frame.file, frame.line).strip()
            word = "at" if depth == 0 else "from"
            lines.append(
                f"{indent}{word} {frame.file}:{frame.line}" + (f": {text}" if text else "")
            )
        return "\n".join(lines)


@cache
def is_library(file: str) -> bool:
    """Whether ``file`` belongs to cauce, to Python or to an installed package."""
    real = os.path.realpath(file)
    return real.startswith(_LIBRARY + _python()) or file.startswith("<frozen")


@cache
def _python() -> tuple[str, ...]:
    """The folders of Python's own modules and of installed packages."""
    import sysconfig

    # "scripts" holds the commands that packages install: pytest, cauce.
    keys = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    paths = sysconfig.get_paths()
    return tuple({os.path.join(paths[key], "") for key in keys})


def is_user_frame(frame: FrameType) -> bool:
    """Whether a frame runs the user's code; code that a module has generated is nobody's.

    (``dataclass`` writes ``__init__`` as a string; ``python -c`` runs one too, but in no file.)
    """
    file = frame.f_code.co_filename
    generated = file == "<string>" and "__file__" in frame.f_globals
    return not generated and not is_library(file)


def definition(function: Callable[..., object]) -> Location | None:
    """Where a function of the user's stands: its ``def``, below the decorators."""
    code = getattr(function, "__code__", None)
    if code is None or is_library(code.co_filename):
        return None
    file, first = code.co_filename, code.co_firstlineno
    lines = (line for line in range(first, first + 9) if "def " in linecache.getline(file, line))
    return Location((Frame(file, next(lines, first)),))


def here() -> Location | None:
    """The user's frames on the call stack now; None where there is none."""
    frames: list[Frame] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_user_frame(frame):
            frames.append(Frame(frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return Location(tuple(reversed(frames))) if frames else None
