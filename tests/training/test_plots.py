"""Pictures: what is drawn, and how they are written. That they read well was seen by eye."""

from __future__ import annotations

import copy
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cauce.ir.errors import AttributeMistake, MissingExtra
from cauce.training.history import Epoch, History
from cauce.training.metrics import ConfusionMatrix
from cauce.training.plots import plot_confusion, plot_history


def history(length: int, rate: float = 1.0, validate: bool = True) -> History:
    epochs = []
    for i in range(length):
        train = {"loss": 1 / (i + 1), "accuracy": i / length}
        validation = {"loss": 2 / (i + 1), "accuracy": i / length / 2} if validate else {}
        epochs.append(Epoch(i + 1, 1.0, 0.1 * rate**i, train, validation))
    return History(epochs)


def _pickled(figure: Any) -> Any:
    return pickle.loads(pickle.dumps(figure))


def test_each_value_has_its_panel_with_both_curves() -> None:
    run = history(5)
    loss, accuracy, rate = plot_history(run).axes
    assert [panel.get_title() for panel in (loss, accuracy, rate)] == [
        *("loss", "accuracy", "learning rate")
    ]
    for panel, name in ((loss, "loss"), (accuracy, "accuracy")):
        train, validation = panel.get_lines()
        assert list(train.get_ydata()) == run.column(f"train_{name}")
        assert list(validation.get_ydata()) == run.column(f"validation_{name}")
        assert list(train.get_xdata()) == [1, 2, 3, 4, 5]
    assert list(rate.get_lines()[0].get_ydata()) == run.column("lr")
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]


def test_without_validation_there_is_one_curve() -> None:
    loss, accuracy, _ = plot_history(history(3, validate=False)).axes
    assert len(loss.get_lines()) == len(accuracy.get_lines()) == 1


@pytest.mark.parametrize(("rate", "scale"), [(1.0, "linear"), (0.5, "linear"), (0.1, "log")])
def test_a_rate_that_falls_far_has_a_logarithmic_scale(rate: float, scale: str) -> None:
    assert plot_history(history(4, rate)).axes[-1].get_yscale() == scale
    assert plot_history(history(4, 0.0)).axes[-1].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("name", "magic"), [("run.png", b"\x89PNG"), ("run.svg", b"<?xml"), ("run.pdf", b"%PDF")]
)
def test_a_picture_is_written_by_the_ending_of_its_name(
    tmp_path: Path, name: str, magic: bytes
) -> None:
    plot_history(history(1), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(magic)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_confusion_matrix_shows_its_counts() -> None:
    matrix = ConfusionMatrix.of([0, 1, 1, 1], [0, 0, 1, 1], ("cat", "dog"))
    (panel,) = plot_confusion(matrix).axes
    shown = {text.get_position(): text.get_text() for text in panel.texts}
    assert shown == {(0, 0): "1", (1, 0): "1", (1, 1): "2"}
    assert panel.get_ylabel() == "true"
    (image,) = panel.get_images()
    assert np.asarray(image.get_array()).tolist() == [[0.5, 0.5], [0, 1]]


def test_drawing_needs_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyplot, which opens windows and keeps figures, is not used."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    plot_history(history(2))


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, _pickled], ids=["copy", "deepcopy", "pickle"]
)
def test_a_notebook_shows_a_picture(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython asks an object for a picture by this method, where pyplot has told it no other."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    matrix = ConfusionMatrix.of([0, 1], [0, 1], ("cat", "dog"))
    for figure in (plot_history(history(2)), plot_confusion(matrix)):
        picture = copied(figure)._repr_png_()
        width, height = struct.unpack(">II", picture[16:24])
        assert picture.startswith(b"\x89PNG")
        assert (width, height) == tuple(np.round(figure.get_size_inches() * 100).astype(int))


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(AttributeMistake, match="no epoch to draw"):
        plot_history(History())
    with pytest.raises(AttributeMistake, match=r"run\.txt") as caught:
        plot_history(history(1), tmp_path / "run.txt")
    assert ".png" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="matplotlib") as caught:
        plot_history(history(1))
    assert "pip install 'matplotlib>=" in str(caught.value)
