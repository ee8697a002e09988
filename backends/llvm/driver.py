"""Joins the rooms: compiles on a miss of the cache, and shows what was compiled.

What lowers and generates code is imported when it is needed: a program that finds its code in the
cache runs no pass and no LLVM.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...ir import Graph
from ...ir.errors import AttributeMistake, CompileError
from ...ir.record import Record
from ..contract import Optimized, Request
from .abi import PRECISIONS, Artifact
from .runtime.cache import default_store
from .runtime.key import cache_key
from .runtime.loader import LoadError
from .runtime.program import LlvmProgram
from .stored import from_bytes, to_bytes
from .target import Target

if TYPE_CHECKING:
    from .show import BuildListing


def load_or_compile(request: Request) -> LlvmProgram:
    """The program of a graph: from the cache, or compiled and put there.

    Raises:
        UnsupportedOp: an op or a dtype without native code.
        CompileError: a schedule that its kernel cannot have, or a name that no kernel has.
    """
    key = cache_key(request)
    if key is None:
        return program_of(_compiled(request, Target.host()), request)
    store = default_store()
    known = store.get(key)
    if known is not None:
        # What is no artifact of this version, or for another machine, is made anew. The code in it
        # is taken as it is, for no check finds wrong instructions: the store gives out only what
        # this user wrote, undamaged.
        with suppress(CompileError, LoadError):
            return program_of(from_bytes(known), request)
    artifact = _compiled(request, Target.host())
    store.put(key, to_bytes(artifact))
    return program_of(artifact, request)


def compile_program(
    graph: Graph,
    target: Target | None = None,
    threads: int | None = None,
    **settings: Any,
) -> LlvmProgram:
    """The program of a graph as it stands, without the cache.

    Args:
        graph: what to compile; it is left as it is.
        target: the processor; this machine's where None.
        threads: how many share the work; ``CAUCE_NUM_THREADS``, or all processors, where None.
        settings: those of the llvm backend, as for ``compile``.

    Raises:
        UnsupportedOp: an op or a dtype without native code.
        CompileError: a schedule that its kernel cannot have, or a name that no kernel has.
        AttributeMistake: there is no such precision.
    """
    given = tuple(sorted(settings.items()))
    request = Request(graph, Optimized(graph), threads=threads, settings=given)
    return program_of(_compiled(request, target or Target.host()), request, target)


def _compiled(request: Request, target: Target) -> Artifact:
    from .build import compile_graph

    return compile_graph(request.optimize(), target, request.source, **_settings(request))


def program_of(artifact: Artifact, request: Request, chosen: Target | None = None) -> LlvmProgram:
    """The program of a request that was compiled before.

    Args:
        artifact: the code.
        request: what it was compiled for.
        chosen: the processor, where it was chosen; where None the machine decides, and may be
            another one where the program goes.
    """
    return LlvmProgram(artifact, request, _Maker(chosen))


class _Maker(Record):
    """Lowers and compiles what a program needs once more."""

    chosen: Target | None

    def listing(self, program: LlvmProgram, request: Request) -> BuildListing:
        from .build import build
        from .show import BuildListing

        made = build(program.graph, program.target, **_settings(request))
        return BuildListing(made, program.target, program.callers)

    def recipe(
        self, program: LlvmProgram, request: Request
    ) -> tuple[Callable[..., LlvmProgram], tuple[Any, ...]]:
        if self.chosen is not None:
            again = partial(compile_program, **_settings(request))
            return again, (program.graph, self.chosen, program.threads)
        return load_or_compile, (replace(request, threads=program.threads),)


def _settings(request: Request) -> dict[str, Any]:
    """What the user said that is for this backend.

    Raises:
        AttributeMistake: there is no such precision.
    """
    settings = dict(request.settings)
    precision = settings.get("precision", "default")
    if precision not in PRECISIONS:
        raise AttributeMistake(
            f"there is no precision {precision!r}", fix=f"use one of {', '.join(PRECISIONS)}"
        )
    return settings
