"""Write the page of a model: one HTML file with its graph through all passes to the kernels, and
with source, formula, gradient, schedule, memory and code of each node. A browser opens it."""

from __future__ import annotations

import argparse
import os
from typing import Any

from . import output
from .inputs import add_inputs, feeds
from .model_argument import add_model, closed_model, count

_RUN = ("backend", "threads", "precision")


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    add_inputs(parser)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="ends in .html")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="run the model too, for colours by time and by the share of the machine's peak",
    )
    parser.add_argument(
        "--train",
        metavar="LOSS",
        help="the page of a training step instead, with SGD and momentum: cross_entropy, mse_loss",
    )
    parser.add_argument("--no-code", action="store_true", help="leave the generated code out")
    group = parser.add_argument_group("how it is compiled")
    group.add_argument("--backend", help="auto, llvm or numpy (auto)")
    group.add_argument("--threads", type=count, help="how many; all processors where not given")
    group.add_argument(
        "--precision",
        choices=("strict", "default", "fast"),
        help="of native code, as in cauce.compile",
    )
    group.add_argument(
        "--batch", type=count, default=1, help="of which costs and memory are shown (1)"
    )
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..ir import Role
    from ..ir.errors import AttributeMistake
    from ..viewing import view

    if not options.output.lower().endswith((".html", ".htm")):
        raise AttributeMistake(
            f"{options.output} is no name of a page, which browsers know by its ending",
            fix="end it in .html",
        )
    if options.inputs and not options.profile:
        raise AttributeMistake(
            "arrays are for running the model, which only a profile does",
            fix="add --profile, or leave the arrays out",
        )
    if options.profile and options.train:
        raise AttributeMistake(
            "--profile runs a model, not a training step, whose targets would have to be made up",
            fix="leave one of the two out, or call cauce.view(step, inputs=batch) in Python",
        )
    model = closed_model(options)
    given = {name: getattr(options, name) for name in _RUN}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    shared: dict[str, Any] = {"batch": options.batch, "code": not options.no_code}
    if options.train:
        from ..passes.optimizers import SGD
        from ..training_step import train_step

        step = train_step(model, options.train, SGD(0.1, momentum=0.9), **settings)
        page = view(step, options.output, **shared)
    else:
        arrays = None
        if options.profile:
            arrays = feeds(model.graph.inputs_with(Role.DATA), options, options.batch)
        peak = options.profile
        page = view(model, options.output, inputs=arrays, peak=peak, **shared, **settings)
    nbytes = os.path.getsize(options.output)
    if options.json:
        output.emit(
            {"model": model.name, "file": options.output, "bytes": nbytes, "stages": page.stages}
        )
    else:
        output.say(f"{options.output}: {output.nbytes_text(nbytes)}, {len(page.stages)} stages")
