"""What this machine has, as far as it matters here: processor, packages, backends, the cache."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata

import numpy as np

from .backends.llvm.runtime.cache import Store, default_store
from .backends.llvm.target import Target
from .compiler import choose_backend, compile
from .ir import Array, evaluate, parse
from .ir.errors import MissingExtra, install
from .ir.machine import processors
from .ir.record import Record
from .ir.validation import difference, random_feeds
from .ir.version import VERSION

# What each package is for, by its name in the package index.
PACKAGES = {
    "numpy": "everything",
    "networkx": "graphs of networkx",
    "llvmlite": "native code",
    "safetensors": "saving models and checkpoints",
    "onnx": "ONNX files",
    "rich": "tables and progress bars on a terminal",
    "pillow": "photographs",
    "matplotlib": "curves",
    "igraph": "pages of graphs",
    "scikit-learn": "the data set of digits",
    "onnxruntime": "comparing with ONNX Runtime",
    "mpi4py": "training on several ranks",
    "distributed": "images on the workers of Dask",
    "ray": "images on the workers of Ray",
}
# The same for programs, by what they are called.
PROGRAMS = {"mpiexec": "starting several ranks"}
# What brings MPI, its library and mpiexec, by the name of the system.
_MPI = {"Linux": "apt-get install openmpi-bin", "Darwin": "brew install open-mpi"}
_MPI_ELSEWHERE = "see https://mpi4py.readthedocs.io/en/stable/install.html"
# Loads the library of MPI, but begins nothing that would wait for other ranks.
_FIND_MPI = """\
import mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
print(MPI.Get_library_version().partition(",")[0].strip())"""
# What a backend is tried with: a kernel of sums, one of elements, and a size that stays open.
_TRIED = """\
graph tried(%x: f32[N,3,9,9]) -> f32[N,8,9,9] {
  @weight: f32[8,3,3,3] parameter
  %y = conv2d(%x, @weight) padding=1 : f32[N,8,9,9]
  %z = relu(%y) : f32[N,8,9,9]
  return %z
}"""
_TOLERANCE = 1e-5


class Package(Record):
    """A package that cauce needs or can use.

    Attributes:
        name: in the package index.
        purpose: what it is for.
        version: the one that is installed; None where none is.
    """

    name: str
    purpose: str
    version: str | None

    @property
    def command(self) -> str:
        """What installs it."""
        return install(self.name)


class Program(Record):
    """A program that cauce can use, which comes with no package of Python.

    Attributes:
        name: what it is called.
        purpose: what it is for.
        path: where it lies; None where it is not found.
    """

    name: str
    purpose: str
    path: str | None

    @property
    def command(self) -> str:
        """What installs it."""
        return _MPI.get(platform.system(), _MPI_ELSEWHERE)


class Tried(Record):
    """A backend, and how a small convolution fared on it.

    Attributes:
        name: of the backend.
        missing: whether what it needs is not installed.
        problem: why it does not work; None where it does.
    """

    name: str
    missing: bool
    problem: str | None


class Environment(Record):
    """What this machine has.

    Attributes:
        versions: of cauce, Python and the system.
        processor: its model, as the system names it.
        processors: how many this process may use.
        memory: bytes; None where the system does not tell.
        target: what native code is generated for; None where llvmlite is not installed.
        target_problem: why that is not known, where it is installed.
        packages: the ones that cauce needs or can use.
        programs: the ones that it can use.
        mpi: the library that mpi4py finds, or why it finds none; None without mpi4py.
        backends: each of cauce's own.
        cache: where compiled code is kept.
        variables: those of the environment that cauce reads, where they are set.
    """

    versions: Mapping[str, str]
    processor: str
    processors: int
    memory: int | None
    target: Target | None
    target_problem: str | None
    packages: tuple[Package, ...]
    programs: tuple[Program, ...]
    mpi: str | None
    backends: tuple[Tried, ...]
    cache: Store
    variables: Mapping[str, str]

    @property
    def works(self) -> bool:
        """Whether all that is installed does."""
        tried = [backend for backend in self.backends if not backend.missing]
        return self.target_problem is None and not any(backend.problem for backend in tried)


def environment() -> Environment:
    """Look at this machine, and try each backend on a small convolution."""
    target, problem = _target()
    return Environment(
        versions={
            "cauce": VERSION,
            "Python": f"{platform.python_implementation()} {platform.python_version()}",
            "system": f"{platform.system()} {platform.machine()}",
        },
        processor=_processor(),
        processors=processors(),
        memory=_memory(),
        target=target,
        target_problem=problem,
        packages=tuple(Package(name, use, _version(name)) for name, use in PACKAGES.items()),
        programs=tuple(Program(name, use, shutil.which(name)) for name, use in PROGRAMS.items()),
        mpi=_mpi(),
        backends=tuple(_tried(name) for name in ("numpy", "llvm")),
        cache=default_store(),
        variables={
            name: text for name, text in sorted(os.environ.items()) if name.startswith("CAUCE_")
        },
    )


def _target() -> tuple[Target | None, str | None]:
    try:
        return Target.host(), None
    except ImportError as error:
        missing = _version("llvmlite") is None
        return None, None if missing else f"llvmlite cannot be imported: {error}"
    except Exception as error:  # of LLVM, or a CAUCE_TARGET that this machine has not
        return None, str(error)


def _mpi() -> str | None:
    """What mpi4py says in a process of its own: a library of MPI may end the one that loads it."""
    if _version("mpi4py") is None:
        return None
    command = [sys.executable, "-c", _FIND_MPI]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return f"not known: {error}"
    lines = (told.stderr if told.returncode else told.stdout).strip().splitlines()
    shown = lines[-1] if lines else f"exit code {told.returncode}"
    return f"mpi4py finds none: {shown}" if told.returncode else shown


def _tried(backend: str) -> Tried:
    """Run a small convolution on a backend, and hold it against the reference."""
    graph = parse(_TRIED)
    feeds = random_feeds(graph)
    try:
        choose_backend(backend)
    except MissingExtra as error:
        return Tried(backend, True, str(error))
    try:
        executable = compile(graph, backend)
        executable.load_state_dict({"weight": feeds["weight"]})
        found: Array = executable(feeds["x"])
    except Exception as error:  # whatever it is, it is what the user wants to know
        return Tried(backend, False, f"{type(error).__name__}: {error}")
    gap = difference(found, np.asarray(evaluate(graph, feeds).outputs["z"]))
    wrong = f"a convolution differs from the reference by {gap:.1e}" if gap > _TOLERANCE else None
    return Tried(backend, False, wrong)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The model of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                name, _, text = line.partition(":")
                if name.strip() == "model name":
                    return text.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    """The bytes of memory of this machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; macOS before 13
        return None
