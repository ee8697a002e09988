"""Run a model and print the time of each node: the median of several runs."""

from __future__ import annotations

import argparse

from . import output
from .inputs import add_inputs, feeds
from .model_argument import add_model, add_run, count, read_model, run_settings


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    add_inputs(parser)
    add_run(parser)
    parser.add_argument("--repeat", type=count, default=10, help="how many runs (10)")
    parser.add_argument("--sort", action="store_true", help="the slowest first, not as they run")
    parser.add_argument("--top", type=count, help="print so many rows")
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..backends.profile import COLUMNS
    from ..compiler import compile

    model = read_model(options)
    executable = compile(model, **run_settings(options))
    arrays = feeds(executable.inputs, options, options.batch or 1)
    in_order = [arrays[value.name] for value in executable.inputs]
    found = executable.profile(*in_order, repeat=options.repeat)
    rows = sorted(found, key=lambda row: -row.seconds) if options.sort else list(found)
    shown = rows[: options.top]
    if options.json:
        output.emit(
            {
                "model": model.name,
                "backend": executable.backend,
                "repeat": options.repeat,
                "inputs": {name: list(array.shape) for name, array in arrays.items()},
                "seconds": found.seconds,
                "nodes": [
                    {
                        "path": row.path,
                        "op": row.op,
                        "seconds": row.seconds,
                        "flops": row.flops,
                        "bytes": row.bytes,
                        "share": row.share,
                    }
                    for row in shown
                ],
            }
        )
        return
    output.show_table(COLUMNS, [row.cells for row in shown], names=2)
    total = found.total
    output.say(
        f"{model.name} on {executable.backend}: {1e3 * total.seconds:.3f} ms, "
        f"{total.flops / 1e9:.3f} GFLOP, {total.gflops_per_second:.1f} GFLOP/s"
        + (f"; {len(shown)} of {len(rows)} nodes" if len(shown) < len(rows) else "")
    )
