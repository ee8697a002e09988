"""What ``test_mpi.py`` starts by ``mpiexec``: ``python -m tests.distributed.mpi_run WHAT ...``.

``sums``: sums of many sizes and dtypes, against the sum in the order of the ranks.
``fails RANK``: that rank raises an error while the others wait for it.
``leaves RANK HOW``: that rank comes to its end without an error, while the others wait for it.
``leave CODE``: all ranks end by ``sys.exit`` at once.
``forks``: each rank has a child that ends by an exception, and then one that does by ``sys.exit``.
``alone CALL``: rank 0 makes a call that all must make; ``checkpoints`` that it alone is given.
``diverges``: all ranks meet a loss that is not finite.
``run FOLDER RANK STEP PLACE``: trains, or goes on; that rank (-1 for none) kills itself by SIGKILL
in step STEP: in the middle of it (``sum``), or where ``tests.api.resumable_run`` does.
``digits``: trains on the digits, and prints the accuracy.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import cauce
from cauce import nn
from cauce.frontends.tensor import Tensor
from cauce.training import Checkpoints, Dataset, RandomCrop
from cauce.training.fit_loop import FitLoop
from tests.api import resumable_run
from tests.api.nets import shapes, small


def sums() -> None:
    ranks = cauce.distributed.mpi()
    for dtype in ("float32", "float64", "int64", "uint8"):
        for size in (0, 1, 5, 2047, 2049, 100_003):
            arrays = [
                (np.random.default_rng(rank).standard_normal(size) * 9).astype(dtype)
                for rank in range(ranks.size)
            ]
            wanted = arrays[0].copy()
            for array in arrays[1:]:
                wanted += array
            own = arrays[ranks.rank].copy()
            ranks.all_reduce(own)
            np.testing.assert_array_equal(own, wanted)
    assert ranks.broadcast({"from": ranks.rank}) == {"from": 0}
    assert ranks.neighbours == ranks.size
    print(f"rank {ranks.rank} is done")


def fails(rank: str) -> None:
    ranks = cauce.distributed.mpi()
    if ranks.rank == int(rank):
        raise ValueError("a file is missing here")
    ranks.all_reduce(np.zeros(3))


def leaves(rank: str, how: str) -> None:
    ranks = cauce.distributed.mpi()
    ranks.all_reduce(np.zeros(3))
    if ranks.rank == int(rank):
        if how == "caught":
            try:
                raise ValueError("nobody hears of this")
            except ValueError:
                return
        if how == "hook":  # as other libraries replace it
            sys.excepthook = sys.__excepthook__
            raise ValueError("told by another hook")
        if how == "now":
            os._exit(0)
        sys.exit(int(how))
    for place in range(3):
        ranks.all_reduce(np.zeros((3, 10**5)[place % 2]))
        ranks.broadcast("on")


def leave(code: str) -> None:
    ranks = cauce.distributed.mpi()
    ranks.all_reduce(np.zeros(3))
    time.sleep(ranks.rank / 2)  # not at the same time, but nobody is waited for
    sys.exit(int(code))


def forks() -> None:
    ranks = cauce.distributed.mpi()
    for error in (ValueError("of a child"), SystemExit(0)):
        child = os.fork()
        if not child:
            try:
                raise error
            except ValueError:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                os._exit(1)
            except SystemExit:
                atexit._run_exitfuncs()
                os._exit(0)
        os.waitpid(child, 0)
    ranks.all_reduce(np.zeros(3))
    print(f"rank {ranks.rank} is done")


def alone(call: str, folder: str) -> None:
    ranks = cauce.distributed.mpi()
    model = small.init(image=("N", 1, 6, 6), seed=1)
    trainer = cauce.Trainer(model, distributed=ranks)
    first = ranks.rank == 0
    if call == "checkpoints":
        trainer.fit(shapes(16), 1, checkpoints=Checkpoints(folder) if first else None)
    if call == "validate":
        trainer.fit(shapes(16), 1, validate=shapes(16) if first else None)
    if call == "resume":
        if first:
            trainer.resume(folder)
        trainer.fit(shapes(16), 1)
    trainer.fit(shapes(16), 1, progress=False)
    if call == "evaluate" and first:
        trainer.evaluate(shapes(16))


def diverges() -> None:
    data = shapes(16)
    bad = Dataset(data.images * np.float32(np.nan), data.labels, data.classes)
    model = small.init(image=("N", 1, 6, 6), seed=1)
    cauce.Trainer(model, distributed=cauce.distributed.mpi()).fit(bad, 1)


def run(folder: str, rank: str, step: str, place: str) -> None:
    ranks = cauce.distributed.mpi()
    if ranks.rank == int(rank):
        die = resumable_run.die

        def noted() -> None:
            Path(folder, "died").write_text(str(time.monotonic()))
            die()

        resumable_run.die = noted
        arm = partial(arm_sum, ranks) if place == "sum" else resumable_run.arm
        arm(int(step), place)
    model = small.init(image=("N", 1, 6, 6), seed=1)
    trainer = cauce.Trainer(model, optimizer=cauce.Adam(), seed=7, distributed=ranks)
    checkpoints = Checkpoints(folder, every=2, keep=2, best="accuracy")
    if trainer.resume(checkpoints):
        print(f"resumed at step {trainer._at.step}")
    trainer.fit(
        shapes(44),
        4,
        batch_size=8,
        validate=shapes(12, seed=5),
        augment=[RandomCrop(6, padding=1)],
        checkpoints=checkpoints,
        progress=False,
    )
    if ranks.rank == 0:
        model.save(Path(folder) / "final.safetensors")


def arm_sum(ranks: Any, step: int, place: str) -> None:
    """Let this rank die where the others wait for its part of a sum."""
    reduce, train_on = ranks.all_reduce, FitLoop._train_on
    due = False

    def reduced(array: Any) -> None:
        if due:
            resumable_run.die()
        reduce(array)

    def trained(self: FitLoop, *args: Any) -> None:
        nonlocal due
        due = self._at.step >= step
        train_on(self, *args)

    ranks.all_reduce = reduced
    FitLoop._train_on = trained  # type: ignore[method-assign]


@cauce.network
def classifier(image: Tensor) -> Tensor:
    x = nn.max_pool2d(nn.relu(nn.batch_norm(nn.conv2d(image, 16, 3, padding=1))), 2)
    return nn.linear(nn.dropout(nn.flatten(x), 0.1), 10)


def digits() -> None:
    ranks = cauce.distributed.mpi()
    train, test = cauce.load_digits()
    model = classifier.init(image=("N", 1, 8, 8), seed=0)
    optimizer = cauce.SGD(0.1, momentum=0.9)
    trainer = cauce.Trainer(model, optimizer=optimizer, distributed=ranks)
    trainer.fit(train, 8, batch_size=64, progress=False)
    accuracy = trainer.evaluate(test)["accuracy"]
    if ranks.rank == 0:
        print(f"accuracy {accuracy}")


CALLS = (sums, fails, leaves, leave, forks, alone, diverges, run, digits)

if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    {call.__name__: call for call in CALLS}[what](*arguments)
