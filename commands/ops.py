"""Print the table of ops: what each means, whether it has a gradient, what runs and exports it.
With the name of an op, print all about it, its gradient as the text of a graph among that."""

from __future__ import annotations

import argparse

from ..support import COLUMNS, support_rows
from . import output


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("op", nargs="?", metavar="OP", help="the name of an op, such as conv2d")
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    if options.op is None:
        rows = support_rows()
        if options.json:
            output.emit([dict(zip(COLUMNS, row.cells)) for row in rows])
        else:
            output.show_table(COLUMNS, [row.cells for row in rows], names=len(COLUMNS))
        return
    from ..op_help import op_help

    found = op_help(options.op)
    if not options.json:
        output.say(str(found))
        return
    output.emit(
        {
            **dict(zip(COLUMNS, found.support.cells)),
            "doc": found.doc,
            "operands": found.operands,
            "results": found.results,
            "attributes": found.attributes,
            "gradient_text": found.gradient,
        }
    )
