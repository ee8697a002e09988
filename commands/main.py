"""The command line: ``cauce COMMAND ...``.

A command is a module of this folder with two functions: ``add(parser)`` adds its arguments, and
``run(options)`` does what it says and returns the exit code, 0 where it returns none. Only the
module of the command that is asked for is imported: a command starts as quickly as what it needs.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

# Each command: its module and what it does, in the order of ``cauce --help``.
COMMANDS = {
    "show": ("show", "print the layers of a model, or its graph"),
    "run": ("run", "run a model on arrays"),
    "compile": ("compile", "compile a model, so that its code is in the cache"),
    "bench": ("bench", "measure how long a call takes, also against ONNX Runtime"),
    "profile": ("profile", "print the time of each node"),
    "compare": ("compare", "find where the results of backends begin to differ"),
    "convert": ("convert", "write a model as an ONNX, safetensors or text file"),
    "export": ("convert", "the same as convert"),
    "passes": ("passes", "print the graph after each pass of the compiler"),
    "plan": ("plan", "print how a model runs: kernels, schedules, memory, generated code"),
    "view": ("view", "write a page on which a model can be looked at"),
    "train": ("train", "train a network on labelled images"),
    "cache": ("cache", "list or clear what is kept on disk from run to run"),
    "doctor": ("doctor", "print what this machine has, and what is missing"),
    "ops": ("ops", "print the table of ops, or all about one of them"),
}

MISTAKE = 1
DIFFERENT = 3  # ``compare``: argparse has 2
INTERRUPTED = 128 + 2  # as a shell shows the end by these signals
PIPE_CLOSED = 128 + 13

_EPILOG = f"""\
exit codes:
  0    done
  {MISTAKE}    it could not be done; the reason is on stderr
  2    the command line is not understood
  {DIFFERENT}    compare: the results differ
  {INTERRUPTED}  interrupted
  {PIPE_CLOSED}  the reader of the output has closed its pipe
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: those behind the name of the program; the ones of this process where None.

    Returns:
        The exit code; ``cauce --help`` lists them.

    Raises:
        SystemExit: arguments that are not understood (code 2), or ``--help`` and ``--version``.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name may have what an encoding does not
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                options = _parser(given).parse_args(given)
                return options.run(options) or 0
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED  # the reader (`| head`) has seen enough
    except KeyboardInterrupt:
        print("cauce: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        from ..ir.errors import CauceError
        from .output import clean

        if not isinstance(error, (CauceError, OSError)):
            raise
        if isinstance(error, OSError):
            _drop_output()
        print(f"cauce: {clean(str(error))}", file=sys.stderr)
        return MISTAKE


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the arguments of the command that is asked for."""
    parser = argparse.ArgumentParser(
        prog="cauce",
        description="A graph compiler for convolutional networks. `cauce COMMAND --help` says more "
        "of each command.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = next((argument for argument in given if not argument.startswith("-")), None)
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, allow_abbrev=False)
        if name == asked:
            found = import_module(f".{module}", __package__)
            command.description = found.__doc__
            command.formatter_class = argparse.RawDescriptionHelpFormatter
            found.add(command)
            command.set_defaults(run=found.run)
    return parser


class _Version(argparse.Action):
    """``--version``; only then the version is imported."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..ir.version import VERSION

        print(f"cauce {VERSION}")
        parser.exit()


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as a line of this program's."""
    from .output import note

    note(f"cauce: warning: {message}")


def _drop_output() -> None:
    """Let what stdout still holds go nowhere if it cannot be written: Python flushes at exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
