"""Run every node of a model on several backends and print where their results begin to differ. The
exit code is 3 where they do. The first backend is what the others are held against: `reference` is
the plain evaluator (slow), `onnxruntime` runs what `cauce export` writes."""

from __future__ import annotations

import argparse

from . import output
from .inputs import add_inputs, feeds
from .main import DIFFERENT
from .model_argument import add_model, amount, closed_model, count


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    add_inputs(parser)
    parser.add_argument(
        "--backends",
        default="reference,auto",
        help="two or more of reference, numpy, llvm, auto, onnxruntime, by commas (reference,auto)",
    )
    parser.add_argument("--batch", type=count, default=1, help="of random inputs (1)")
    parser.add_argument(
        "--tolerance", type=amount, default=1e-4, help="the largest max|a-b|/max|b| (1e-4)"
    )
    parser.add_argument("--all", action="store_true", help="print every value, not the first alone")
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Do so."""
    from ..comparison import NodeDifference, compare
    from ..compiler import choose_backend
    from ..ir import Role
    from ..ir.errors import AttributeMistake

    given = [name.strip() for name in options.backends.split(",")]
    if len(given) < 2 or not all(given):
        raise AttributeMistake(
            f"comparing takes two backends or more, got {options.backends!r}",
            fix="write for example --backends reference,llvm",
        )
    backends = [choose_backend(name) if name == "auto" else name for name in given]
    model = closed_model(options)
    arrays = feeds(model.graph.inputs_with(Role.DATA), options, options.batch)
    found = compare(model, arrays, backends, options.tolerance)

    def as_json(row: NodeDifference) -> dict[str, object]:
        return {
            "value": row.value,
            "op": row.op,
            "backend": row.backend,
            "difference": row.difference,
            "location": str(row.loc) if row.loc else None,
        }

    if options.json:
        output.emit(
            {
                "model": model.name,
                "backends": backends,
                "tolerance": found.tolerance,
                "equal": found.first is None,
                "largest": found.largest,
                "first": as_json(found.first) if found.first else None,
                "values": [as_json(row) for row in found.rows],
            }
        )
    else:
        if options.all:
            rows = [
                (f"%{row.value}", row.op, row.backend, f"{row.difference:.1e}")
                for row in found.rows
            ]
            output.show_table(("value", "op", "backend", "difference"), rows, names=3)
        output.say(str(found))
    return 0 if found.first is None else DIFFERENT
