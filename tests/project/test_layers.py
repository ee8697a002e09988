"""Who may import what: read from the sources, so that an import that never runs counts too."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from .house import FOLDERS, HEAVY, ROOT, sources

# What each folder may import of the project, itself included. ``cauce`` joins them all, and the
# command line calls what is joined.
LAYERS = {
    "ir": {"ir"},
    "passes": {"ir", "passes"},
    "frontends": {"ir", "frontends"},
    "backends": {"ir", "backends"},
    "training": {"ir", "training"},
    "pages": {"ir", "pages"},
    "clusters": {"ir", "clusters"},
    "cauce": {"cauce", *FOLDERS} - {"commands"},
    "commands": {"cauce", *FOLDERS},
}
MAIN = ROOT / "cauce" / "__main__.py"  # `python -m cauce`: the command line, not the layer

# What each folder may import inside functions, beside NumPy and the standard library.
NAMED_AT_RUN_TIME = "a module named at run time"
LAZY = dict.fromkeys(LAYERS, HEAVY) | {
    "ir": frozenset({"networkx", "safetensors"}),
    "cauce": HEAVY | {NAMED_AT_RUN_TIME},
    # A network that was pickled is found again by the name of its module.
    "frontends": HEAVY | {NAMED_AT_RUN_TIME},
    # A command is imported by its name, and so is a network of the user's.
    "commands": HEAVY | {NAMED_AT_RUN_TIME},
}

# "Some 400": a file that is one class may need a few more.
MOST_LINES = 480


@dataclass(frozen=True)
class Import:
    """An imported module (relative ones as below the package), its line, and whether it waits."""

    module: str
    line: int
    relative: bool
    lazy: bool


def imports(source: str, package: tuple[str, ...]) -> Iterator[Import]:
    """The imports of a module of ``package``; lazy: in a function, or for the type checker only."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(alias.name, node.lineno, False, lazy)
            case ast.ImportFrom(level=0, module=str(module)):
                yield Import(module, node.lineno, False, lazy)
            case ast.ImportFrom(level=level, module=module, names=names):
                base = ".".join((*package[: len(package) - level + 1], *filter(None, [module])))
                for alias in names:
                    yield Import(f"{base}.{alias.name}", node.lineno, True, lazy)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module")
            ):
                yield Import(NAMED_AT_RUN_TIME, node.lineno, False, lazy)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
                for child in body:
                    yield from visit(child, True)
                for child in orelse:
                    yield from visit(child, lazy)
                return
        waits = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, waits)

    return visit(ast.parse(source), False)


def offences(folder: str, source: str, package: tuple[str, ...]) -> list[str]:
    """What a module's imports do that the table forbids."""
    found = []
    for item in imports(source, package):
        parts = item.module.split(".")
        if item.relative:
            layer = parts[1] if len(parts) > 1 and parts[1] in FOLDERS else "cauce"
            if parts[0] != "cauce" or layer not in LAYERS[folder]:
                found.append(f"line {item.line}: {folder} must not import {item.module}")
        elif parts[0] in HEAVY and not item.lazy:
            found.append(f"line {item.line}: import {parts[0]} where it is used, in a function")
        elif parts[0] not in {"numpy"} | sys.stdlib_module_names | LAZY[folder]:
            found.append(f"line {item.line}: {folder} must not import {item.module}")
    return found


def package_of(path: Path) -> tuple[str, ...]:
    """The package a file belongs to: ``ir/ops/conv.py`` to ``cauce.ir.ops``."""
    parts = path.relative_to(ROOT).parent.parts
    return parts if parts[0] == "cauce" else ("cauce", *parts)


def hold(files: Sequence[Path], check: Callable[[str, tuple[str, ...]], list[str]]) -> None:
    """Modules, given by their text and their package, have no offences."""
    found = [
        f"{path.relative_to(ROOT)}, {offence}"
        for path in files
        for offence in check(path.read_text(encoding="utf-8"), package_of(path))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", LAYERS)
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    files = [path for path in sources(folder) if path != MAIN]
    assert files
    hold(files, partial(offences, folder))


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("ir", "from ..passes import fold"),
        ("ir", "from .. import passes"),
        ("ir", "from .. import __version__"),
        ("ir", "from cauce.ir import dims"),
        ("ir", "import ir.dims"),
        ("ir", "import scipy"),
        ("ir", "import networkx"),
        ("ir", "class A:\n    import networkx"),
        ("ir", "try:\n    import networkx\nexcept ImportError:\n    pass"),
        ("ir", "def f():\n    import onnx"),
        ("ir", "def f():\n    from ..passes import fold"),
        ("ir", "if TYPE_CHECKING:\n    from ..passes import fold"),
        ("ir", "if TYPE_CHECKING:\n    pass\nelse:\n    import networkx"),
        ("ir", "from ... import tests"),
        ("ir", "import importlib\nimportlib.import_module('networkx')"),
        ("ir", "from importlib import import_module\nimport_module('networkx')"),
        ("passes", "from ..backends import numpy"),
        ("frontends", "from ..passes.autodiff import gradients"),
        ("backends", "from ..frontends import nn"),
        ("backends", "import onnx.helper"),
        ("training", "from ..passes import pipelines"),
        ("pages", "from ..passes import pipelines"),
        ("cauce", "from .commands import main"),
        ("cauce", "from matplotlib import pyplot"),
        ("cauce", "from cauce.ir import dims"),
    ],
)
def test_a_forbidden_import_is_found(folder: str, source: str) -> None:
    package = ("cauce",) if folder == "cauce" else ("cauce", folder)
    assert len(offences(folder, source, package)) == 1


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("ir", "import numpy as np\nfrom numpy.lib import stride_tricks\nimport os.path"),
        ("ir", "from . import dims\nfrom .dims import Dim\nfrom .. import ir"),
        ("ir", "def f():\n    import networkx as nx"),
        ("ir", "if TYPE_CHECKING:\n    import networkx"),
        ("passes", "from ..ir import Graph\nfrom ..ir.ops import conv"),
        ("backends", "def f():\n    import onnx.helper\n    from llvmlite import binding"),
        ("cauce", "from .passes import fold\nfrom . import backends, compiler"),
    ],
)
def test_an_allowed_import_is_let_through(folder: str, source: str) -> None:
    package = ("cauce",) if folder == "cauce" else ("cauce", folder)
    assert offences(folder, source, package) == []


def test_tests_and_examples_reach_the_project_through_the_package() -> None:
    """``import ir`` in a test would load a second copy of a module that cauce.ir has already."""
    found = [
        f"{path.relative_to(ROOT)}, line {item.line}: import cauce.{item.module}"
        for folder in ("tests", "examples", "benchmarks")
        for path in sources(folder)
        for item in imports(path.read_text(encoding="utf-8"), path.relative_to(ROOT).parent.parts)
        if not item.relative and item.module.split(".")[0] in FOLDERS
    ]
    assert not found, "\n".join(found)


def test_files_stay_short() -> None:
    counts = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in (*LAYERS, "tests", "examples", "benchmarks")
        for path in sources(folder)
    }
    assert counts
    long = {file: count for file, count in counts.items() if count > MOST_LINES}
    assert not long, f"some 400 lines are enough for a file: {long}"


# ---- the rooms of the native backend -----------------------------------------------------------

NATIVE = "cauce.backends.llvm"
FLOOR = {"abi", "registry", "target"}
# What each room may import of the backend, beside itself and the floor. The runtime lowers and
# generates nothing: a program is handed what does. The LLVM text is codegen's alone.
ROOMS = {
    "runtime": set[str](),
    "schedule": set[str](),
    "lowering": {"schedule"},
    "codegen": {"schedule", "lowering"},
}


def room_offences(room: str, source: str, package: tuple[str, ...]) -> list[str]:
    """The imports of a module of a room that lead to a room above it."""
    found = []
    for item in imports(source, package):
        if item.relative and item.module.startswith(f"{NATIVE}."):
            part = item.module.removeprefix(f"{NATIVE}.").split(".")[0]
            if part not in {room, *FLOOR, *ROOMS[room]}:
                found.append(f"line {item.line}: {room} must not import {item.module}")
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    files = sorted((ROOT / "backends" / "llvm" / room).rglob("*.py"))
    assert files
    hold(files, partial(room_offences, room))


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("runtime", "def f():\n    from ..codegen import plan"),
        ("runtime", "from ..lowering.lower import lower"),
        ("runtime", "from ..build import build"),
        ("schedule", "from ..lowering import layouts"),
        ("lowering", "from ..codegen.builder import Module"),
        ("codegen", "from ..runtime.program import compile_program"),
        ("codegen", "from .. import driver"),
    ],
)
def test_an_import_of_a_room_above_is_found(room: str, source: str) -> None:
    assert len(room_offences(room, source, ("cauce", "backends", "llvm", room))) == 1


def asked_of_ops(source: str) -> list[int]:
    """The lines of a module of lowering in which it asks whether an op is of some class."""
    tree = ast.parse(source)
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ops = {
        alias.asname or alias.name
        for node in froms
        for alias in node.names
        if "ops" in (node.module or "").split(".")
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in ("isinstance", "issubclass")
        if any(isinstance(n, ast.Name) and n.id in ops for n in ast.walk(node.args[1]))
    ]


def test_lowering_asks_the_registry_for_what_an_op_is() -> None:
    """Tests of op classes that remain: regions, constants, and what only some ops can have."""
    found = [
        f"{path.name}, line {line}"
        for path in sorted((ROOT / "backends" / "llvm" / "lowering").rglob("*.py"))
        for line in asked_of_ops(path.read_text(encoding="utf-8"))
    ]
    assert 0 < len(found) <= 12, found


def test_a_test_of_an_op_is_found_whatever_the_op_is_called() -> None:
    lines = [
        "from ....ir.ops import shape",
        "from ....ir.ops.elementwise import Cast as To",
        "from ....ir.layout import Strided",
        "isinstance(op, To)",
        "isinstance(op, (int, shape.Reshape))",
        "isinstance(layout, Strided)",
    ]
    assert asked_of_ops("\n".join(lines)) == [4, 5]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_package_links_to_its_folders(folder: str) -> None:
    link = ROOT / "cauce" / folder
    assert link.is_symlink()
    assert os.readlink(link) == f"../{folder}"
    assert (ROOT / folder / "__init__.py").is_file()


def test_the_root_is_no_package() -> None:
    assert not (ROOT / "__init__.py").exists()


def test_every_folder_of_tests_is_a_package() -> None:
    """Else two files of one name clash, and ``tests/ir/__init__.py`` could become ``ir``."""
    folders = {path.parent for path in sources("tests")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
