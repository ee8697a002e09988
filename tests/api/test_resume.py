"""Runs that survive: killed at seeded places, resumed, and equal to the undisturbed run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce.ir import Array
from cauce.ir.errors import AttributeMistake, DataError, GraphError
from cauce.ir.tensors_file import load_tensors
from cauce.training import Checkpoints

from .nets import shapes, small

ROOT = Path(__file__).resolve().parents[2]
STEPS = 24  # 4 epochs of 6 batches
PLACES = ("step", "write", "sync", "prune")


def run(
    folder: Path, backend: str, step: int = -1, place: str = "step"
) -> subprocess.CompletedProcess[str]:
    """Run ``resumable_run`` in a process of its own."""
    arguments = (str(folder), backend, str(step), place)
    command = [sys.executable, "-m", "tests.api.resumable_run", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def final(folder: Path) -> dict[str, Array]:
    return cauce.load(folder / "final.safetensors").state_dict()


@pytest.fixture(scope="module", params=("numpy", "llvm"))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(backend: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(folder, backend)
    assert done.returncode == 0, done.stderr
    return final(folder)


def kills(seed: int) -> list[tuple[int, str]]:
    """Three deaths of one run: later each time, at places drawn by the seed."""
    rng = np.random.default_rng(seed)
    steps = np.sort(rng.choice(np.arange(4, STEPS), 3, replace=False))
    return [(int(step), PLACES[rng.integers(len(PLACES))]) for step in steps]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))]
)
def test_a_killed_run_ends_with_the_same_weights(
    seed: int, backend: str, tmp_path: Path, undisturbed: dict[str, Array]
) -> None:
    for step, place in kills(seed):
        died = run(tmp_path, backend, step, place)
        assert died.returncode == -signal.SIGKILL, (step, place, died.stderr)
        for path in tmp_path.glob("*.safetensors"):
            load_tensors(path)  # whole
    ended = run(tmp_path, backend)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split("resumed at step")[1]) > 0
    result = final(tmp_path)
    assert result.keys() == undisturbed.keys()
    for name, array in result.items():
        assert array.tobytes() == undisturbed[name].tobytes(), name


def test_the_seeds_kill_at_every_place() -> None:
    places = [place for seed in range(8) for _, place in kills(seed)]
    assert len(places) >= 20 and set(places) == set(PLACES)


def make(seed: int = 0, **options) -> cauce.Trainer:
    return cauce.Trainer(small.init(image=("N", 1, 6, 6), **options), seed=seed)


def test_history_and_position_survive(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every=2, keep=3)
    first = make()
    first.fit(shapes(), 2, batch_size=16, checkpoints=checkpoints, progress=False)
    second = make()
    assert second.resume(tmp_path)
    assert [e.train for e in second.history] == [e.train for e in first.history]
    second.fit(shapes(), 2, batch_size=16, progress=False)
    assert len(second.history) == 2  # the resumed call had done all its epochs
    second.fit(shapes(), 1, batch_size=16, progress=False)
    first.fit(shapes(), 1, batch_size=16, progress=False)
    for name, array in first.model.state_dict().items():
        np.testing.assert_array_equal(array, second.model.state_dict()[name])
    assert [path.name for path in checkpoints.paths()] == [
        "step-00000003.safetensors",
        "step-00000004.safetensors",
        "step-00000006.safetensors",
    ]


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1, best="loss", mode="min")
    trainer = make()
    history = trainer.fit(
        shapes(), 5, batch_size=16, validate=shapes(12, 3), checkpoints=checkpoints, progress=False
    )
    losses = [epoch.validation["loss"] for epoch in history]
    resumed = make()
    assert resumed.resume(checkpoints.best_path)
    np.testing.assert_allclose(resumed.evaluate(shapes(12, 3))["loss"], min(losses), rtol=1e-6)
    assert len(checkpoints.paths()) == 1
    with pytest.raises(AttributeMistake, match=r"best loss .* without a validation set"):
        make().fit(shapes(), 1, checkpoints=checkpoints, progress=False)


def test_without_a_checkpoint_nothing_changes(tmp_path: Path) -> None:
    trainer = make()
    before = trainer.model.state_dict()
    assert not trainer.resume(tmp_path)
    assert not trainer.resume(tmp_path / "missing")
    after = trainer.model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    make().fit(shapes(), 1, checkpoints=Checkpoints(tmp_path), progress=False)
    with pytest.raises(GraphError, match="seed was 0, is 1"):
        make(seed=1).resume(tmp_path)
    with pytest.raises(GraphError, match=r"of another run: .*linear1.bias was \[3\], is \[4\]"):
        make(classes=4).resume(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    make().fit(shapes(), 2, batch_size=16, checkpoints=checkpoints, progress=False)
    newest = checkpoints.paths()[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.raises(DataError, match=newest.name):
        make().resume(tmp_path)
    newest.unlink()
    assert make().resume(tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path, monkeypatch) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    trainer = make()
    trainer.fit(shapes(), 1, checkpoints=checkpoints, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        trainer.fit(shapes(), 1, checkpoints=checkpoints, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    assert make().resume(tmp_path)


def test_another_plan_is_a_warning(tmp_path: Path, monkeypatch) -> None:
    make().fit(shapes(), 1, checkpoints=Checkpoints(tmp_path), progress=False)
    trainer = make()
    monkeypatch.setitem(trainer.step.fingerprint, "plan", "another machine")
    with pytest.warns(UserWarning, match="not bit for bit") as caught:
        assert trainer.resume(tmp_path)
    assert caught[0].filename == __file__  # it is shown at the user's line


def test_a_folder_that_cannot_be_written_leaves_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    trainer = make()
    trainer.fit(shapes(), 1, checkpoints=checkpoints, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def read_only(**options: object) -> tuple[int, str]:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("tempfile.mkstemp", read_only)
    with pytest.raises(PermissionError, match="Permission denied"):
        trainer.fit(shapes(), 1, checkpoints=checkpoints, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
