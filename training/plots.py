"""Pictures of a run, drawn by matplotlib without a window."""

from __future__ import annotations

import os
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..ir.errors import AttributeMistake, MissingExtra, install
from ..ir.files import replacing
from ..ir.tracebacks import user_facing
from .history import TRAIN, VALIDATION, History
from .metrics import ConfusionMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any colour vision tell apart.
BLUE, VERMILION = "#0072B2", "#D55E00"
GREY = "#666666"


@user_facing
def plot_history(history: History, path: str | os.PathLike[str] | None = None) -> Figure:
    """Curves of a run: a panel for the loss and for each metric, and one for the learning rate.

    Args:
        history: at least one epoch.
        path: a file to write, .png, .svg or .pdf; none where None.

    Returns:
        The figure, to be changed or saved; a notebook shows it.

    Raises:
        MissingExtra: matplotlib is not installed.
        AttributeMistake: a history without epochs; a file ending that matplotlib does not know.

    Examples:
        >>> epochs = [training.Epoch(i, 1.0, 0.1, {"loss": 1 / i}, {}) for i in (1, 2, 3)]
        >>> history = training.History(epochs)
        >>> figure = training.plot_history(history, "run.png")
        >>> len(figure.axes)
        2
    """
    if not len(history):
        raise AttributeMistake("there is no epoch to draw", fix="train for an epoch first")
    names = [name.removeprefix(TRAIN) for name in history.columns() if name.startswith(TRAIN)]
    figure = _figure(3.6 * (len(names) + 1), 3.0)
    axes = figure.subplots(1, len(names) + 1, squeeze=False)[0]
    for panel, name in zip(axes, names):
        _draw_curves(panel, history, name)
    _draw_rate(axes[-1], history)
    axes[0].legend(frameon=False)
    _save(figure, path)
    return figure


@user_facing
def plot_confusion(matrix: ConfusionMatrix, path: str | os.PathLike[str] | None = None) -> Figure:
    """The confusion matrix as a map: a row for each true class, shaded by its share of the row.

    Args, results and errors are those of :func:`plot_history`.

    Raises:
        MissingExtra, AttributeMistake: as there.

    Examples:
        >>> matrix = training.ConfusionMatrix.of([0, 1, 1], [0, 0, 1], ("cat", "dog"))
        >>> figure = training.plot_confusion(matrix)
        >>> figure.axes[0].get_title()
        'accuracy 0.6667'
    """
    counts, classes = matrix.counts, matrix.classes
    side = 2.0 + 0.4 * len(classes)
    figure = _figure(side, side)
    panel = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            panel.text(column, row, f"{count}", ha="center", va="center", color=colour, size=8)
    places = range(len(classes))
    panel.set_xticks(places, classes, rotation=90)
    panel.set_yticks(places, classes)
    panel.set_xlabel("predicted")
    panel.set_ylabel("true")
    panel.set_title(f"accuracy {matrix.accuracy:.4f}")
    _save(figure, path)
    return figure


def _draw_curves(panel: Axes, history: History, name: str) -> None:
    epochs = history.column("epoch")
    panel.plot(epochs, history.column(TRAIN + name), ".-", color=BLUE, label="training")
    if VALIDATION + name in history.columns():
        values = history.column(VALIDATION + name)
        panel.plot(epochs, values, ".-", color=VERMILION, label="validation")
    panel.set_title(name)
    _finish(panel, epochs)


def _draw_rate(panel: Axes, history: History) -> None:
    epochs, rates = history.column("epoch"), history.column("lr")
    panel.step(epochs, rates, ".-", color=GREY, where="mid")
    if min(rates) > 0 and max(rates) / min(rates) > 20:
        panel.set_yscale("log")
    panel.set_title("learning rate")
    _finish(panel, epochs)


def _finish(panel: Axes, epochs: list[float]) -> None:
    panel.set_xlabel("epoch")
    panel.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    panel.locator_params(axis="x", integer=True, min_n_ticks=1)
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _figure(width: float, height: float) -> Figure:
    """A figure of its own: pyplot, with its windows and its list of figures, is left alone."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra(
            "pictures need matplotlib, which is not installed", fix=install("matplotlib")
        ) from None
    figure = Figure(figsize=(width, height), layout="constrained")
    # A notebook asks for it: what it knows of figures of its own it knows through pyplot.
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def _png(figure: Figure) -> bytes:
    """The picture as a notebook shows it."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _save(figure: Figure, path: str | os.PathLike[str] | None) -> None:
    if path is None:
        return
    known = figure.canvas.get_supported_filetypes()
    ending = Path(path).suffix.removeprefix(".").lower()
    if ending not in known:
        raise AttributeMistake(
            f"a picture cannot be written as {os.fspath(path)!r}",
            fix=f"end the name with one of {', '.join('.' + name for name in known)}",
        )
    with replacing(path) as temporary:
        figure.savefig(temporary, format=ending, dpi=150)
