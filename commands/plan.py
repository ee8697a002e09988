"""Print how a model runs: its kernels with their schedules, the launches in order, the buffers and
where they lie; or the code that was generated for it."""

from __future__ import annotations

import argparse

from . import output
from .model_argument import add_model, add_run, closed_model, run_settings, size


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    add_run(parser)
    parser.add_argument(
        "--size",
        metavar="NAME=NUMBER",
        type=size,
        action="append",
        default=[],
        help="of a symbol, such as N=1: where all have one, the places of the buffers are shown",
    )
    parser.add_argument(
        "--code", choices=("llvm", "assembly"), help="print the generated code instead"
    )
    parser.add_argument("--layer", help="with --code, of this layer alone, by its path")
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..compiler import compile

    if options.layer and not options.code:
        from ..ir.errors import AttributeMistake

        raise AttributeMistake(
            "--layer chooses what code is printed", fix="add --code llvm or --code assembly"
        )
    model = closed_model(options)
    executable = compile(model, **run_settings(options))
    if options.code:
        text = executable.code(options.code, options.layer)
    else:
        text = executable.plan(**dict(options.size))
    if options.json:
        what = {"code": text, "form": options.code} if options.code else {"plan": text}
        output.emit({"model": model.name, "backend": executable.backend, **what})
    else:
        output.say(text)
