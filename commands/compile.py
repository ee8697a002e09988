"""Compile a model, so that its code is in the cache when a program asks for it, and say what was
made. A program finds it that compiles the same model with the same batch and
precision."""

from __future__ import annotations

import argparse
import time

from . import output
from .model_argument import add_model, add_run, read_model, run_settings


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    add_run(parser)
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..backends.llvm.runtime.cache import default_store
    from ..backends.specialized import SpecializedExecutable
    from ..compiler import compile
    from ..frontends.open_model import OpenModel
    from ..ir.errors import GraphError

    model = read_model(options)
    store = default_store()
    before = {file.key for file in store.files()}
    start = time.perf_counter()
    executable = compile(model, **run_settings(options))
    if isinstance(executable, SpecializedExecutable) and not executable.compile_ahead():
        assert isinstance(model, OpenModel)
        raise GraphError(
            f"{model.name} has one graph for each {model.needs}: it is compiled when it is called",
            fix="fix these by --shape, to compile it for them now",
        )
    seconds = time.perf_counter() - start
    made = [file for file in store.files() if file.key not in before]
    problem = store.problem() if executable.backend == "llvm" else None
    found = {
        "model": model.name,
        "backend": executable.backend,
        "inputs": {value.name: str(value.type) for value in executable.inputs},
        "outputs": {name: str(type_) for name, type_ in executable.outputs.items()},
        "seconds": seconds,
        "compiled": executable.backend != "llvm" or bool(made) or problem is not None,
        "kept": sum(file.nbytes for file in made),
        "folder": store.folder,
        "problem": problem,
    }
    if options.json:
        output.emit(found)
        return
    output.say(repr(executable))
    took = f"{1e3 * seconds:.0f} ms"
    if executable.backend != "llvm":
        output.say(f"made in {took}; the {executable.backend} backend keeps no code")
    elif problem is not None:
        output.say(f"compiled in {took}; nothing is kept: {problem}")
    elif made:
        kept = output.nbytes_text(sum(file.nbytes for file in made))
        output.say(f"compiled in {took}; {kept} kept in {store.folder}")
    else:
        output.say(f"its code was in the cache: {took}")
