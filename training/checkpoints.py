"""Checkpoints: all that a run needs to go on exactly where it was, in one file each.

A file is written beside its place and renamed into it, so that a full disk, a signal or a crash
leaves the earlier checkpoints whole.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..ir.attributes import integer, optional, set_canonical
from ..ir.errors import AttributeMistake, DataError, GraphError
from ..ir.tensors_file import load_tensors, save_tensors
from ..ir.tracebacks import user_facing
from ..ir.types import Array
from ..ir.version import refuse_newer
from .history import History, check_mode

FORMAT = "cauce-checkpoint-1"
BEST = "best "  # what the names of the best epoch's arrays start with in a file
_NAME = re.compile(r"step-(\d{8,})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        arrays: what training updates: parameters, statistics, optimiser slots and the random key,
            by name.
        progress: where the run was: epoch, batch, history, what it was made with.
        best: the parameters and statistics of the best epoch of the call, where early stopping is
            to restore them.
        weights: the arrays of the model that training does not update: what is frozen; in a
            checkpoint to be written, all that the model holds.
        texts: the graphs of the model and what else its file holds beside arrays.
    """

    arrays: Mapping[str, Array]
    progress: dict[str, Any]
    best: Mapping[str, Array] = field(default_factory=dict)
    weights: Mapping[str, Array] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@user_facing
@dataclass(frozen=True)
class Checkpoints:
    """A folder of checkpoints. ``cauce.load`` makes a model of each of them.

    Args:
        folder: made if missing.
        every: steps between checkpoints within an epoch; one is written after every epoch too.
            None writes after epochs only.
        keep: how many of the last ones are kept.
        best: the name of a validation value; the checkpoint of the epoch with the best one is kept
            as ``best.safetensors`` beside the others (:attr:`best_path`); NaN is never best. None
            keeps none.
        mode: whether the best is the ``"max"`` or the ``"min"``; known for the loss and for
            accuracies, to be given for other values.

    Raises:
        AttributeMistake: an option that cannot be.

    Examples:
        >>> checkpoints = training.Checkpoints("runs/first", every=100, best="accuracy")
        >>> checkpoints.paths(), checkpoints.best_path.name, checkpoints.mode
        ([], 'best.safetensors', 'max')
        >>> checkpoints.check_earlier(step=0)  # which raises where there are later ones
        >>> checkpoints.latest() is None, checkpoints.due(200, epoch_ends=False)
        (True, True)
        >>> checkpoints.best_value(training.History()), checkpoints.better(0.9, than=0.8)
        (None, True)
    """

    folder: str | os.PathLike[str]
    every: int | None = None
    keep: int = 2
    best: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        set_canonical(self, keep=integer, every=optional(integer))
        if self.keep < 1:
            raise AttributeMistake(
                f"Checkpoints: keep must be at least 1, got {self.keep}", fix="leave it out for 2"
            )
        if self.every is not None and self.every < 1:
            raise AttributeMistake(
                f"Checkpoints: every must be at least 1 step, got {self.every}",
                fix="leave it out to write one after each epoch alone",
            )
        if self.best is not None:
            object.__setattr__(self, "mode", check_mode(self.best, self.mode))

    def paths(self) -> list[Path]:
        """The numbered checkpoints, oldest first."""
        folder = Path(self.folder)
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))

    @property
    def best_path(self) -> Path:
        """Where the best checkpoint lies, once there is one."""
        return Path(self.folder) / "best.safetensors"

    def best_value(self, history: History) -> float | None:
        """The value of the best checkpoint in the folder, if there is one and it is of this run.

        Raises:
            DataError: the file is damaged.
        """
        if self.best is None or not self.best_path.is_file():
            return None
        epochs = read(self.best_path).progress["history"]
        own = [asdict(epoch) for epoch in history.epochs[: len(epochs)]]
        if json.dumps(epochs) != json.dumps(own):  # as text, where NaN equals NaN
            return None
        value: float | None = epochs[-1]["validation"].get(self.best)
        return value

    def check_earlier(self, step: int) -> None:
        """Whether the run that is to go on from a step may write here.

        Raises:
            AttributeMistake: the folder is a file.
            GraphError: there are later checkpoints, beside which its own would be the oldest, and
                be removed.
        """
        if Path(self.folder).is_file():
            raise AttributeMistake(
                f"{os.fspath(self.folder)} is a file, and checkpoints lie in a folder",
                fix="name a folder, which is made where there is none",
            )
        later = [path for path in self.paths() if int(path.stem.removeprefix("step-")) > step]
        if later:
            raise GraphError(
                f"{os.fspath(self.folder)} holds checkpoints of another run up to "
                f"{later[-1].name}, this run is at step {step}",
                fix="call resume(checkpoints) to go on with that run, or give another folder",
            )

    def due(self, step: int, epoch_ends: bool) -> bool:
        """Whether to write one after this step; the end of an epoch has one of its own."""
        return self.every is not None and step % self.every == 0 and not epoch_ends

    def save(self, step: int, checkpoint: Checkpoint) -> Path:
        """Write a numbered checkpoint, then remove those that are no longer kept.

        Raises:
            OSError: the folder or the disk cannot take it; the earlier ones are left whole.

        Examples:
            >>> from cauce.training.checkpoints import Checkpoint
            >>> checkpoints = training.Checkpoints("runs", keep=1)
            >>> held = Checkpoint({"w": np.ones(2, np.float32)}, {"epoch": 1})
            >>> checkpoints.save(10, held).name, checkpoints.save(20, held).name
            ('step-00000010.safetensors', 'step-00000020.safetensors')
            >>> [path.name for path in checkpoints.paths()]
            ['step-00000020.safetensors']
            >>> checkpoints.latest().progress
            {'epoch': 1}
        """
        path = Path(self.folder) / f"step-{step:08d}.safetensors"
        write(path, checkpoint)
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Write the best checkpoint in the place of an earlier one.

        Examples:
            >>> from cauce.training.checkpoints import Checkpoint
            >>> checkpoints = training.Checkpoints("runs", best="loss")
            >>> checkpoints.save_best(Checkpoint({"w": np.ones(2, np.float32)}, {"epoch": 1}))
            >>> checkpoints.best_path.is_file(), checkpoints.paths()
            (True, [])
        """
        write(self.best_path, checkpoint)

    def better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` is better than an earlier one; NaN never is, and anything than NaN."""
        if math.isnan(value):
            return False
        if than is None or math.isnan(than):
            return True
        return value > than if self.mode == "max" else value < than

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint; None where there is none.

        Raises:
            DataError: the file is damaged; remove it to go on from the one before.
        """
        paths = self.paths()
        return read(paths[-1]) if paths else None


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write one checkpoint, all or nothing; its folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    progress = {**checkpoint.progress, "updated": list(checkpoint.arrays)}
    metadata = {**checkpoint.texts, "format": FORMAT, "progress": json.dumps(progress)}
    best = {f"{BEST}{n}": a for n, a in checkpoint.best.items() if n in checkpoint.arrays}
    save_tensors(path, {**checkpoint.weights, **checkpoint.arrays, **best}, metadata)


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is damaged, no checkpoint, or one of a later version of cauce.
    """
    arrays, metadata = load_tensors(path)
    refuse_newer(os.fspath(path), metadata, "format", FORMAT)
    if metadata.get("format") != FORMAT:
        raise DataError(
            f"{os.fspath(path)} is not a checkpoint (format {metadata.get('format')!r})",
            fix="give a folder or a file that Trainer.fit(checkpoints=...) wrote",
        )
    with whole(os.fspath(path)):
        progress = dict(json.loads(metadata.pop("progress")))
        best = {
            name.removeprefix(BEST): arrays.pop(name)
            for name in list(arrays)
            if name.startswith(BEST)
        }
        # Files of earlier versions hold what is updated and nothing else.
        updated = {name: arrays.pop(name) for name in progress.pop("updated", list(arrays))}
        return Checkpoint(updated, progress, best, arrays, metadata)


@contextmanager
def whole(name: str = "the checkpoint") -> Iterator[None]:
    """Within the block, what is missing or of another kind is a damaged checkpoint.

    Raises:
        DataError: it is.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{name} is damaged, what it says of its run cannot be read: {error!r}",
            fix="resume from an earlier one, by the name of its file",
        ) from error


def describe_mismatch(made_with: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What differs between a checkpoint's run and this one, in words; None where nothing does."""
    differing = [
        f"{name} was {made_with.get(name)!r}, is {value!r}"
        for name, value in now.items()
        if made_with.get(name) != value
    ]
    return "; ".join(differing) or None


def describe_arrays(was: Mapping[str, Array], now: Mapping[str, Array]) -> str:
    """What differs between the arrays of a checkpoint's run and of this one, in words."""
    found = [
        f"{name} was {list(was[name].shape)}, is {list(now[name].shape)}"
        for name in was
        if name in now and was[name].shape != now[name].shape
    ]
    found += [f"there was {name}" for name in was if name not in now]
    found += [f"there was no {name}" for name in now if name not in was]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more or "its arrays are alike, but the graph of a step is another"
