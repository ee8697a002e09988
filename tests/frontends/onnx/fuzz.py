"""Loads, compiles and runs hostile models, in a process that may not take much of anything.

``python -m tests.frontends.onnx.fuzz FIRST LAST FOLDER`` prints what came of each seed, before the
next one is begun: who reads it knows which one ended the process.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import cauce
from cauce.ir import Graph, Role
from cauce.ir.dims import substitute
from cauce.ir.errors import CauceError

from .mutations import bases, mutated

SECONDS = 8
_MEMORY = 2**30  # bytes beside what the process has to begin with
_ELEMENTS = 2**18  # of a value that is computed
_NATIVE_EVERY = 40  # of the models that run: native code takes long to compile


class Slow(BaseException):
    """It takes too long."""


class Reads(Exception):
    """A file that is not the model's own was opened."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise Slow where the block takes longer."""

    def stop(number: int, frame: object) -> None:
        raise Slow

    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, stop)
    # Of the processor's time, which others do not take; and what waits takes none of it.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(30 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def watch_files(folder: Path) -> list[str]:
    """The files beside the folder that are opened from now on; those of Python do not count."""
    opened: list[str] = []
    homes = (cauce.__file__, np.__file__)
    known = (sys.base_prefix, sys.prefix, *(str(Path(home).resolve().parents[1]) for home in homes))
    own = (f"{folder.resolve()}/model", *known, os.environ["CAUCE_CACHE_DIR"], "/proc", "/sys")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith(own):
                opened.append(path)

    sys.addaudithook(hook)
    return opened


def try_one(path: Path, seed: int, native: bool) -> str:
    """What becomes of a file: the kind of the error, or that it ran.

    Raises:
        Anything but a CauceError: a mistake of cauce's.
    """
    given: Any = path if seed % 2 else path.read_bytes()
    try:
        loaded = cauce.load_onnx(given)
        if not isinstance(loaded, cauce.Model):
            return "open"
        graph = loaded.graph
        assert cauce.parse(graph.to_text(), graph.constants()).same_as(graph)
        feeds = small_feeds(graph, seed)
        if feeds is None:
            return "large"
        wanted = arrays(cauce.compile(loaded, backend="numpy")(**feeds))
        if native:
            got = arrays(cauce.compile(loaded, backend="llvm", threads=1)(**feeds))
            for one, other in zip(got, wanted, strict=True):
                assert one.shape == other.shape and one.dtype == other.dtype
                if one.dtype.kind == "f" and np.all(np.abs(other) < 1e6):
                    np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)
        return "ran"
    except CauceError as error:
        assert len(str(error)) < 20_000, "a message that nobody reads"
        return type(error).__name__


def arrays(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def small_feeds(graph: Graph, seed: int) -> dict[str, Any] | None:
    """Arrays for a graph; None where some value would be large."""
    rng = np.random.default_rng(seed)
    sizes = {name: int(rng.choice((1, 2, 4, 8))) for name in sorted(graph.symbols())}
    for value in graph.values:
        dims = [substitute(dim, sizes) for dim in value.type.shape]
        if any(not isinstance(d, int) or d < 0 for d in dims) or prod(dims) > _ELEMENTS:
            return None
    feeds = {}
    for value in graph.inputs_with(Role.DATA):
        shape = [substitute(dim, sizes) for dim in value.type.shape]
        drawn = rng.integers(-3, 4, shape)
        feeds[value.name] = drawn.astype(value.type.dtype.numpy)
    return feeds


def prepare(folder: Path) -> Path:
    """A folder for a model, with files that it may read, and some that it may not."""
    inside = folder / "model"
    (inside / "folder").mkdir(parents=True)
    (folder / "secret").write_bytes(bytes(4096))
    (inside / "weights").write_bytes(bytes(4096))
    (inside / "link").symlink_to(folder / "secret")
    os.mkfifo(inside / "pipe")
    return inside / "net.onnx"


def main(first: int, last: int, folder: Path) -> None:
    path, models = prepare(folder), bases()
    # What is imported on first use, natively too.
    for model in models[:2]:
        for backend in ("numpy", "llvm"):
            loaded = cauce.load_onnx(model)
            feeds = small_feeds(loaded.graph, 0)
            assert feeds is not None
            cauce.compile(loaded, backend=backend)(**feeds)
    opened = watch_files(folder)
    status = Path("/proc/self/statm")
    held = int(status.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + _MEMORY, held + _MEMORY))
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    ran = 0
    said: Counter[str] = Counter()
    for seed in range(first, last):
        print(f"seed {seed}", flush=True)
        path.write_bytes(mutated(models[seed % len(models)], seed))
        try:
            with within(SECONDS):
                came = try_one(path, seed, native=ran % _NATIVE_EVERY == 0)
            if opened:
                raise Reads(", ".join(opened))
            ran += came == "ran"
            said[came] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            opened.clear()
            lines = traceback.format_exception(error)
            print(f"failed {seed}: {''.join(lines[-4:])}".replace("\n", "\n  "), flush=True)
    print(f"done {dict(said)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
