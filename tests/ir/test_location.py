"""Source locations: the user's lines are recorded, the library's are cut."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from pathlib import Path

import pytest

import cauce.ir.location as location
from cauce.ir import Builder, Frame, Graph, Location, TensorType
from cauce.ir.errors import ShapeError
from cauce.ir.location import here, is_library
from cauce.ir.ops.elementwise import Add

from ..project.house import FOLDERS

NETWORK = """\
from cauce.ir.location import here

def block():
    return here()

def network():
    a = block()
    b = block()
    return a, b
"""


def run(source: str, file: str) -> dict[str, object]:
    """What a user's file defines; its text is known to tracebacks."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, object] = {}
    exec(compile(source, file, "exec"), scope)
    return scope


def test_lines_of_the_user_outermost_first() -> None:
    network = run(NETWORK, "/home/user/net.py")["network"]
    assert callable(network)
    a, b = network()
    assert a.frames[-2:] == (Frame("/home/user/net.py", 7), Frame("/home/user/net.py", 4))
    assert b.frames[-2:] == (Frame("/home/user/net.py", 8), Frame("/home/user/net.py", 4))
    assert a.frames[-3].file == __file__
    # The frames of pytest and of Python around this test are cut.
    packages = sysconfig.get_paths()["purelib"], sysconfig.get_paths()["stdlib"]
    assert not any(frame.file.startswith(packages) for frame in a.frames)
    assert str(a).startswith("net.py:4 < net.py:7 < test_location.py:")


def test_describe_shows_the_text_innermost_first() -> None:
    network = run(NETWORK, "/home/user/net.py")["network"]
    assert callable(network)
    lines = network()[1].describe(indent="  ").splitlines()
    assert lines[:2] == [
        "  at /home/user/net.py:4: return here()",
        "  from /home/user/net.py:8: b = block()",
    ]
    gone = Location((Frame("/nowhere/gone.py", 3),))
    assert gone.describe() == "at /nowhere/gone.py:3"


def test_here_takes_this_line() -> None:
    loc, line = here(), sys._getframe().f_lineno
    assert loc is not None and loc.frames[-1] == Frame(__file__, line)


def test_library_frames_between_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of the library that calls back into the user's code: only the user's lines stay."""
    file = "/opt/library/nn.py"
    helper = run("def call(function):\n    return function()\n", file)["call"]
    assert callable(helper)
    monkeypatch.setattr(location, "_LIBRARY", (*location._LIBRARY, "/opt/library/"))
    loc = helper(here)
    assert loc is not None
    assert loc.frames[-1].file == __file__
    assert file not in [frame.file for frame in loc.frames]


@pytest.mark.parametrize("folder", ["cauce", *FOLDERS])
def test_files_of_the_project_are_library(folder: str) -> None:
    root = Path(location.__file__).resolve().parent.parent
    assert is_library(str(root / folder / "module.py"))
    if folder != "cauce":
        assert is_library(str(root / "cauce" / folder / "module.py"))


def test_python_and_packages_are_library_and_the_rest_is_not(tmp_path: Path) -> None:
    root = Path(location.__file__).resolve().parent.parent
    assert is_library(linecache.__file__)
    assert is_library(pytest.__file__)
    assert is_library("<frozen importlib._bootstrap>")
    assert is_library(str(Path(sysconfig.get_paths()["purelib"]) / "torch" / "nn.py"))
    assert is_library(str(Path(sysconfig.get_paths()["scripts"]) / "pytest"))
    assert not is_library(str(tmp_path / "net.py"))
    assert not is_library(str(root / "examples" / "demo.py"))
    assert not is_library(str(root / "tests" / "test_net.py"))
    assert not is_library("<stdin>")
    assert not is_library("<ipython-input-1>")
    assert not is_library(str(root / "irrelevant" / "net.py"))


def test_errors_show_where_and_what_to_do() -> None:
    network = run(NETWORK, "/home/user/net.py")["network"]
    assert callable(network)
    loc = network()[0]
    graph = Graph()
    x = graph.add_input("x", TensorType.make("f32", ("N", 3)))
    y = graph.add_input("y", TensorType.make("f32", ("N", 4)))
    with pytest.raises(ShapeError) as caught:
        Builder(graph, path="stage2.block1.sum", loc=loc)(Add(), x, y)
    lines = str(caught.value).splitlines()
    assert lines[0] == "shapes [N,3] and [N,4] do not broadcast: dimension 1 is 3 and 4"
    assert lines[1] == "  in layer: stage2.block1.sum"
    assert lines[2] == "  at /home/user/net.py:4: return here()"
    assert lines[-1].startswith("  fix: sizes must be equal")
    assert isinstance(caught.value, ValueError)
