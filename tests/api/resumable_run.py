"""A training run that kills itself: what ``test_resume.py`` starts as a process of its own.

Usage: python -m tests.api.resumable_run FOLDER BACKEND KILL_STEP KILL_PLACE

It takes up the run in FOLDER where there is one. At step KILL_STEP (-1 for never) it ends itself by
SIGKILL at KILL_PLACE: ``step`` (between two steps), ``write`` (half of the checkpoint's bytes are
written), ``sync`` (all bytes, not renamed), ``prune`` (renamed, the old one not yet removed). The
weights of a run that comes to its end are written to FOLDER/final.safetensors.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import cauce
from cauce.ir import files, tensors_file
from cauce.training import Checkpoints, Mixup, OneCycle, OneHot, RandomCrop, RandomHorizontalFlip
from cauce.training.fit_loop import FitLoop

from .nets import shapes, small

EPOCHS, BATCH, EVERY = 4, 8, 2


def die() -> None:
    """End at once, as a power failure would."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(step: int, place: str) -> None:
    """Make the run kill itself at a place."""
    train_on, write_bytes, rename = FitLoop._train_on, Path.write_bytes, Path.replace
    unlink = Path.unlink
    due = False

    def trained(self: FitLoop, *args: object) -> None:
        nonlocal due
        train_on(self, *args)  # type: ignore[arg-type]
        due = self._at.step >= step
        if due and place == "step":
            die()

    def written(self: Path, data: bytes) -> int:
        if due and place == "write":
            write_bytes(self, data[: len(data) // 2])
            die()
        return write_bytes(self, data)

    def renamed(self: Path, target: Path) -> Path:
        if due and place == "sync":
            die()
        return rename(self, target)

    def unlinked(self: Path, missing_ok: bool = False) -> None:
        if due and place == "prune" and self.name.startswith("step-"):
            die()
        unlink(self, missing_ok)

    FitLoop._train_on = trained  # type: ignore[method-assign,assignment]
    Path.write_bytes = written  # type: ignore[method-assign,assignment]
    Path.replace = renamed  # type: ignore[method-assign,assignment]
    Path.unlink = unlinked  # type: ignore[method-assign]
    assert files.replacing is tensors_file.replacing


def main(folder: str, backend: str, step: int, place: str) -> None:
    """Run, or go on with a run, to its end or its death."""
    if step >= 0:
        arm(step, place)
    model = small.init(image=("N", 1, 6, 6), seed=1)
    trainer = cauce.Trainer(
        model, optimizer=cauce.Adam(), target="probabilities", seed=7, backend=backend
    )
    checkpoints = Checkpoints(folder, every=EVERY, keep=2, best="accuracy")
    if trainer.resume(checkpoints):
        print(f"resumed at step {trainer._at.step}")
    data = shapes(44)
    trainer.fit(
        data,
        EPOCHS,
        batch_size=BATCH,
        validate=shapes(12, seed=5),
        lr=OneCycle(0.05, EPOCHS * 6),
        augment=[OneHot(3), RandomCrop(6, padding=1), RandomHorizontalFlip(), Mixup(0.2)],
        checkpoints=checkpoints,
        progress=False,
    )
    model.save(Path(folder) / "final.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
