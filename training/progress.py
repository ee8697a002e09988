"""A progress bar for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..ir.errors import MissingExtra

Advance = Callable[[str], None]
Say = Callable[[str], None]


@contextmanager
def progress_bar(show: bool, total: int) -> Iterator[tuple[Advance, Say]]:
    """A bar of ``total`` steps and a way to print lines above it; both silent without ``show``.

    Raises:
        MissingExtra: ``show`` without rich.
    """
    if not show:
        yield (lambda text: None, lambda line: None)
        return
    try:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        raise MissingExtra(
            "the progress bar needs rich, which is not installed",
            fix="pip install 'cauce[train]', or pass progress=False",
        ) from None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task("training", total=total)
        yield (
            lambda text: bar.update(task, advance=1, description=text),
            lambda line: bar.console.print(line, highlight=False),
        )
