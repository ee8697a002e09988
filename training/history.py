"""What a training run reports: one record for each epoch, kept as CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ir.display import html_of
from ..ir.errors import AttributeMistake, DataError
from ..ir.files import existing, replacing
from ..ir.tracebacks import user_facing
from ..ir.version import newer

FORMAT = "cauce-history-1"
TRAIN, VALIDATION = "train_", "validation_"

# Whether less or more of a value is better, for those that the Trainer knows by name.
_MODES = {"loss": "min", "accuracy": "max", "top5": "max"}


def check_mode(value: str, mode: str | None) -> str:
    """``mode``, or the one known for the value: whether ``"min"`` or ``"max"`` is better.

    Raises:
        AttributeMistake: another mode, or none for a value that is not known.
    """
    mode = _MODES.get(value) if mode is None else mode
    if mode not in ("min", "max"):
        raise AttributeMistake(
            f"mode must be 'min' or 'max', got {mode!r} for {value!r}",
            fix=f"say whether less {value} is better, mode='min', or more, mode='max'",
        )
    return mode


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        number: from 1.
        seconds: of training and validation together.
        lr: the learning rate of its last step.
        train: loss and metrics, means over the training samples as they were seen.
        validation: loss and metrics on the validation set; empty without one.

    Examples:
        >>> epoch = training.Epoch(1, 2.5, 0.1, {"loss": 0.7}, {"loss": 0.8})
        >>> print(epoch)
        epoch 1  loss 0.7000  validation loss 0.8000  2.5 s
        >>> epoch.row()
        {'epoch': 1, 'seconds': 2.5, 'lr': 0.1, 'train_loss': 0.7, 'validation_loss': 0.8}
        >>> training.Epoch.of_row(epoch.row()) == epoch
        True
    """

    number: int
    seconds: float
    lr: float
    train: dict[str, float]
    validation: dict[str, float]

    def __str__(self) -> str:
        parts = [f"epoch {self.number}"]
        parts += [f"{name} {value:.4f}" for name, value in self.train.items()]
        parts += [f"validation {name} {value:.4f}" for name, value in self.validation.items()]
        return "  ".join([*parts, f"{self.seconds:.1f} s"])

    def row(self) -> dict[str, float]:
        """Everything by one name each: epoch, seconds, lr, train_loss, validation_loss, ..."""
        return {
            "epoch": self.number,
            "seconds": self.seconds,
            "lr": self.lr,
            **{TRAIN + name: value for name, value in self.train.items()},
            **{VALIDATION + name: value for name, value in self.validation.items()},
        }

    @staticmethod
    def of_row(row: Mapping[str, Any]) -> Epoch:
        """The epoch with this row; values may be text, those that are empty are left out.

        Raises:
            ValueError: a column is missing, unknown, or no number.
        """
        values = {name: value for name, value in row.items() if value not in ("", None)}
        missing = [name for name in ("epoch", "seconds", "lr") if name not in values]
        if missing:
            raise ValueError(f"an epoch without {', '.join(missing)}")
        number, seconds, lr = (values.pop(name) for name in ("epoch", "seconds", "lr"))
        parts: dict[str, dict[str, float]] = {TRAIN: {}, VALIDATION: {}}
        for name, value in values.items():
            prefix = next((prefix for prefix in parts if name.startswith(prefix)), None)
            if prefix is None:
                raise ValueError(f"a column called {name!r}")
            parts[prefix][name.removeprefix(prefix)] = float(value)
        return Epoch(int(number), float(seconds), float(lr), parts[TRAIN], parts[VALIDATION])


@user_facing
@dataclass(repr=False)
class History:
    """The epochs of a run, in order.

    Values are floats.

    Args:
        epochs: those to begin with.

    Examples:
        >>> history = training.History([training.Epoch(1, 2.5, 0.1, {"loss": 0.7}, {})])
        >>> len(history), history[0].train["loss"], history.column("train_loss")
        (1, 0.7, [0.7])
        >>> history.columns()
        ['epoch', 'seconds', 'lr', 'train_loss']
    """

    epochs: list[Epoch] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self.epochs[index]

    def __str__(self) -> str:
        return "\n".join(map(str, self.epochs))

    def __repr__(self) -> str:
        last = f", the last: {self.epochs[-1]}" if self.epochs else ""
        return f"<History of {len(self)} epoch{'s' * (len(self) != 1)}{last}>"

    def _repr_html_(self) -> str | None:
        """The curves for a notebook, and the numbers."""
        return html_of("history", self)

    def columns(self) -> list[str]:
        """The names in the rows of the epochs, each once; training before validation."""
        names = dict.fromkeys(name for epoch in self for name in epoch.row())
        return sorted(names, key=lambda name: name.startswith(VALIDATION))

    def column(self, name: str) -> list[float]:
        """One value of each epoch, by its name in the rows; NaN for epochs without it.

        Raises:
            AttributeMistake: no epoch has it.
        """
        if name not in self.columns():
            raise AttributeMistake(
                f"the history has no column {name!r}",
                fix=f"use one of {', '.join(self.columns())}",
            )
        return [epoch.row().get(name, float("nan")) for epoch in self]

    # ---- files ---------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file by its ending: ``.csv``, a line for each epoch, or ``.json``.

        Numbers are written in full, so that :meth:`load` gives the same history. An earlier file
        is replaced in one step.

        Raises:
            AttributeMistake: another ending.
            OSError: the file cannot be written; an earlier one is left whole.

        Examples:
            >>> history = training.History([training.Epoch(1, 2.5, 0.1, {"loss": 0.7}, {})])
            >>> history.save("run.csv")
            >>> print(training.History.load("run.csv"))
            epoch 1  loss 0.7000  2.5 s
        """
        text = self._to_csv() if _suffix(path) == ".csv" else self._to_json()
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")

    @staticmethod
    def load(path: str | os.PathLike[str]) -> History:
        """Read a file that :meth:`save` wrote.

        Raises:
            AttributeMistake: a file ending other than ``.csv`` and ``.json``.
            FileNotFoundError: there is no such file.
            DataError: the file is no history.

        Examples:
            >>> history = training.History([training.Epoch(1, 2.5, 0.1, {"loss": 0.7}, {})])
            >>> history.save("run.json")
            >>> training.History.load("run.json") == history
            True
        """
        read = _from_csv if _suffix(path) == ".csv" else _from_json
        try:
            text = Path(existing(path)).read_bytes().decode("utf-8")
            return History([Epoch.of_row(row) for row in read(text)])
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            raise DataError(
                f"{os.fspath(path)} is no history: {error}", fix="give a file of History.save"
            ) from error

    def _to_csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns() or list(Epoch(0, 0.0, 0.0, {}, {}).row()))
        writer.writeheader()
        writer.writerows(epoch.row() for epoch in self)
        return text.getvalue()

    def _to_json(self) -> str:
        rows = [
            # JSON has no NaN and no infinity: they are written as text, which float() reads.
            {name: value if abs(value) < float("inf") else str(value) for name, value in row}
            for row in (epoch.row().items() for epoch in self)
        ]
        return json.dumps({"format": FORMAT, "epochs": rows}, indent=1, allow_nan=False) + "\n"


def _from_csv(text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="beyond the header", strict=True)
    if not reader.fieldnames:
        raise ValueError("it is empty")
    return list(reader)


def _from_json(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    if isinstance(document, dict) and newer(document.get("format"), FORMAT):
        raise ValueError(f"{document['format']!r} is newer than {FORMAT!r}, which is read here")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"it does not say that its format is {FORMAT!r}")
    return list(document["epochs"])


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".json"):
        raise AttributeMistake(
            f"a history is kept as .csv or .json, not in {os.fspath(path)!r}",
            fix="give the file one of these endings",
        )
    return suffix
