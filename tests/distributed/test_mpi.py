"""Ranks of MPI: sums, training, and deaths; skipped where there is no ``mpiexec``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce.ir import Array
from cauce.training import Checkpoints

from .mpiexec import MPI, NO_MPI, mpiexec

ROOT = Path(__file__).resolve().parents[2]
STEPS = 24  # 4 epochs of 6 batches

pytestmark = pytest.mark.skipif(not MPI, reason=NO_MPI)


def start(ranks: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``mpi_run`` on some ranks."""
    return python(ranks, "-m", "tests.distributed.mpi_run", *map(str, arguments))


def python(ranks: int, *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python on some ranks."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [*mpiexec(), "-n", str(ranks), sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "CAUCE_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_sums_are_those_in_the_order_of_the_ranks() -> None:
    done = start(3, "sums")
    assert done.returncode == 0, done.stderr
    assert all(f"rank {rank} is done" in done.stdout for rank in range(3))


def test_an_error_of_one_rank_ends_all() -> None:
    done = start(3, "fails", 1)
    assert done.returncode != 0
    assert done.stderr.count("ends all ranks") == 1
    assert "rank 1 of 3 ends all ranks:" in done.stderr
    assert "ValueError: a file is missing here" in done.stderr


@pytest.mark.parametrize(
    ("rank", "how"),
    [
        (1, "0"),
        *(
            pytest.param(rank, how, marks=pytest.mark.slow)
            for rank, how in ((0, "0"), (1, "3"), (2, "caught"), (1, "hook"), (0, "now"))
        ),
    ],
)
def test_a_rank_that_comes_to_its_end_is_not_waited_for(rank: int, how: str) -> None:
    done = start(3, "leaves", rank, how)  # for ever, it would be
    if how == "now":  # mpiexec itself has ended them, and MPICH's returns what that rank did
        assert done.returncode != 0 or len(mpiexec()) == 1
        return
    assert done.returncode != 0
    assert done.stderr.count("ends all ranks") == 1
    assert done.stderr.count(f"what rank {rank} will not do any more") == 1
    assert "sys.exit()" in done.stderr
    assert ("told by another hook" in done.stderr) == (how == "hook")


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 3])
def test_ranks_that_all_end_are_left_in_peace(code: int) -> None:
    done = start(3, "leave", code)
    assert (done.returncode == 0) == (code == 0)
    assert "ends all ranks" not in done.stderr
    assert code or not done.stderr


@pytest.mark.slow
def test_the_child_of_a_rank_is_no_rank() -> None:
    done = start(2, "forks")
    assert done.returncode == 0, done.stderr
    assert "ends all ranks" not in done.stderr and "ValueError: of a child" in done.stderr
    assert all(f"rank {rank} is done" in done.stdout for rank in range(2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("checkpoints", "rank 0 does rank 1, where checkpoints was Checkpoints"),
        ("validate", "rank 0 does rank 1, where validate was 'Dataset"),
        ("resume", "rank 1 is to train, and rank 0 to resume"),
        ("evaluate", "waits for what rank 1 will not do any more"),
    ],
)
def test_what_rank_0_alone_does_is_said_and_not_waited_for(
    call: str, says: str, tmp_path: Path
) -> None:
    done = start(2, "alone", call, tmp_path)
    assert done.returncode != 0
    assert says in done.stderr, done.stderr
    assert "ends all ranks" in done.stderr


@pytest.mark.slow
def test_an_error_of_all_ranks_is_told_once() -> None:
    done = start(3, "diverges")
    assert done.returncode != 0
    assert done.stderr.count("the loss is nan in epoch 1, batch 1") == 1
    assert "rank 0 of 3 ends all ranks:" in done.stderr


def final(folder: Path) -> dict[str, Array]:
    return cauce.load(folder / "final.safetensors").state_dict()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = start(2, "run", folder, -1, 0, "none")
    assert done.returncode == 0, done.stderr
    return final(folder)


def death(seed: int) -> tuple[int, int, str]:
    """The rank that dies, the step and the place: five times in a step, five in a checkpoint."""
    rng = np.random.default_rng(seed)
    step = int(rng.integers(4, STEPS))
    if seed % 2:
        return int(rng.integers(2)), step, "sum"
    return 0, step, str(rng.choice(["write", "sync", "prune"]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_rank_that_dies_ends_all_and_the_run_goes_on_bit_for_bit(
    seed: int, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    rank, step, place = death(seed)
    done = start(2, "run", tmp_path, rank, step, place)
    # Both read the clock of the machine. Ten seconds are a hang: it is a matter of milliseconds.
    assert time.monotonic() - float((tmp_path / "died").read_text()) < 10
    assert done.returncode != 0, (rank, step, place)
    assert not (tmp_path / "final.safetensors").exists()
    said = done.stdout + done.stderr  # by Open MPI's mpiexec, or by MPICH's
    assert re.search(rf"signal:? {signal.SIGKILL.value}\b", said, re.IGNORECASE), said
    latest = Checkpoints(tmp_path).latest()  # which is whole
    assert latest is not None and latest.progress["position"]["step"] >= step - 3
    done = start(2, "run", tmp_path, -1, 0, "none")
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stdout
    arrays = final(tmp_path)
    assert arrays.keys() == undisturbed.keys()
    for name, array in undisturbed.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


@pytest.mark.slow
def test_the_digits_are_learnt_as_well_on_two_and_four_ranks() -> None:
    accuracies = []
    for ranks in (1, 2, 4):
        done = start(ranks, "digits")
        assert done.returncode == 0, done.stderr
        accuracies.append(float(done.stdout.split()[-1]))
    one, *others = accuracies
    assert one > 0.93
    assert all(abs(accuracy - one) < 0.01 for accuracy in others), accuracies


@pytest.mark.slow
def test_the_page_of_the_documentation_runs_on_two_ranks(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    # A file for each rank: mpiexec mixes what ranks print at the same time.
    tell = 'open(f"loss-of-{ranks.rank}", "w").write(repr(float(state.loss)))'
    script = tmp_path / "train.py"
    script.write_text("\n".join([*blocks, tell]), encoding="utf-8")
    done = python(2, str(script), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (float((tmp_path / f"loss-of-{rank}").read_text()) for rank in range(2))
    assert first == second and 0 < first < 1
    assert cauce.load(tmp_path / "digits.safetensors").state_dict()
