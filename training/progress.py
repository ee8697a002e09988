"""What ``fit`` shows: a bar and a line for each epoch in a terminal, the lines alone elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[str], None]
Say = Callable[[str], None]


@contextmanager
def progress_bar(show: bool, total: int) -> Iterator[tuple[Advance, Say]]:
    """A bar of ``total`` steps and a way to print lines above it; both silent without ``show``.

    The bar needs rich, and a terminal or a notebook. Where either is missing, lines are printed as
    they are, whole and at once: a log file can be followed and searched.
    """
    if not show:
        yield (lambda text: None, lambda line: None)
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        yield (lambda text: None, _print)
        return
    console = Console()
    if not (console.is_terminal or console.is_jupyter):
        yield (lambda text: None, _print)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("training", total=total)
        yield (
            lambda text: bar.update(task, advance=1, description=text),
            lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
        )


def _print(line: str) -> None:
    print(line, flush=True)
