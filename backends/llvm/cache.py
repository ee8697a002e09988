"""Compiled code, kept from one process to the next: a warm start runs no pass and no LLVM."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from ...ir.errors import CompileError
from ...ir.version import VERSION
from ..contract import Request
from .artifact import Artifact
from .program import LlvmProgram
from .store import default_store
from .target import Target, host_name


def load_or_compile(request: Request) -> LlvmProgram:
    """The program of a graph: from the cache, or compiled and put there.

    Raises:
        UnsupportedOp: an op or a dtype without native code.
    """
    if request.options is None:
        return LlvmProgram(request.optimize(), threads=request.threads)
    key, store = cache_key(request), default_store()
    known = store.get(key)
    if known is not None:
        # Where they cannot be read after all, they are made anew.
        with suppress(CompileError):
            return LlvmProgram.of(Artifact.from_bytes(known), request)
    from .build import compile_graph

    artifact = compile_graph(request.optimize(), Target.host())
    store.put(key, artifact.to_bytes())
    return LlvmProgram.of(artifact, request)


def cache_key(request: Request) -> str:
    """What the code depends on: the graph, the options, cauce itself and the processor."""
    text = request.source.to_text(locations=False)
    digest = hashlib.sha256()
    for part in (VERSION, _newest_source(), host_name(), str(request.options), text):
        digest.update(f"{len(part)} {part}".encode())
    return digest.hexdigest()


def _newest_source() -> str:
    """When the modules that compile were last changed: a version number alone misses edits."""
    root = Path(__file__).parents[2]
    folders = ("ir", "ir/ops", "passes", "backends", "backends/llvm")
    files = (file for folder in folders for file in (root / folder).glob("*.py"))
    return str(max(file.stat().st_mtime_ns for file in files))
