"""The command line: ``cauce show``, ``cauce export``, ``cauce ops``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..compiler import export_onnx
from ..frontends.stored import load
from ..ir.errors import CauceError
from ..ir.version import VERSION
from ..support import support_table

_SIGPIPE = 128 + 13  # how a shell shows the end of other tools by this signal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="cauce", description="A graph compiler for CNNs.")
    parser.add_argument("--version", action="version", version=f"cauce {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print the layers of a saved model")
    show.add_argument("model", help="a file that Model.save wrote")
    show.add_argument("--graph", action="store_true", help="print the graph's text instead")
    export = commands.add_parser("export", help="write a saved model as an ONNX file")
    export.add_argument("model", help="a file that Model.save wrote")
    export.add_argument("onnx", help="the file to write")
    commands.add_parser("ops", help="print the table of ops and what supports them")
    options = parser.parse_args(arguments)
    try:
        if options.command == "show":
            model = load(options.model)
            print(model.graph if options.graph else model.summary(print_fn=None))
        elif options.command == "export":
            export_onnx(load(options.model), options.onnx)
        else:
            print(support_table())
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. What is left goes nowhere: Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE
    except (CauceError, OSError) as error:
        print(f"cauce: {error}", file=sys.stderr)
        return 1
    return 0
