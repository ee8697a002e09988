"""The best epoch: NaN is never best, its weights come back, and a checkpoint is a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Array
from cauce.ir.errors import GraphError
from cauce.ir.tensors_file import load_tensors, save_tensors
from cauce.training import Checkpoints, EarlyStopping, Epoch, History
from cauce.training import checkpoints as module
from cauce.training.fit_loop import FitLoop

from .nets import shapes, small

NAN = math.nan


def make(**options) -> cauce.Trainer:
    model = small.init(image=("N", 1, 6, 6))
    return cauce.Trainer(model, optimizer=cauce.SGD(0.1, 0.9), backend="numpy", **options)


class Script:
    """Lets validation give these values, and keeps the weights that were measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, values: Sequence[float]) -> None:
        self.values = list(values)
        self.seen: list[dict[str, Array]] = []

        def evaluate(loop: FitLoop, *args: object, **options: object) -> dict[str, float]:
            self.seen.append(loop.model.state_dict())
            value = self.values.pop(0)
            return {"loss": value, "accuracy": -value}

        monkeypatch.setattr(FitLoop, "evaluate", evaluate)


def fit(trainer: cauce.Trainer, epochs: int, **options) -> History:
    return trainer.fit(
        shapes(16), epochs, batch_size=8, validate=shapes(6), progress=False, **options
    )


def assert_weights(found: cauce.Model, wanted: dict[str, Array]) -> None:
    """But for the random key, which goes on."""
    assert found.values.keys() == wanted.keys()
    for name in wanted.keys() - {"random.key"}:
        np.testing.assert_array_equal(found.values[name], wanted[name], err_msg=name)


# ---- the best checkpoint -----------------------------------------------------------------------


@pytest.mark.parametrize("best", ["loss", "accuracy"])
@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([NAN, 3, 2, NAN, 2.5], 2),
        ([3, NAN, 2], 2),
        ([NAN, NAN, NAN], None),
        ([math.inf, 3], 1),
        ([2, 3, 2], 0),
    ],
)
def test_nan_is_never_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[float], place: int, best: str
) -> None:
    script, checkpoints = Script(monkeypatch, values), Checkpoints(tmp_path, best=best)
    fit(make(), len(values), checkpoints=checkpoints)
    assert checkpoints.best_path.exists() == (place is not None)
    if place is not None:
        assert_weights(cauce.load(checkpoints.best_path), script.seen[place])


def test_a_best_checkpoint_of_nan_gives_way(tmp_path: Path, monkeypatch) -> None:
    """As earlier versions have left it."""
    script, checkpoints = Script(monkeypatch, [NAN, 5]), Checkpoints(tmp_path, best="loss")
    trainer = make()
    fit(trainer, 1, checkpoints=checkpoints)
    checkpoints.save_best(trainer._checkpoint())
    again = make()
    assert again.resume(checkpoints)
    fit(again, 2, checkpoints=checkpoints)
    assert_weights(cauce.load(checkpoints.best_path), script.seen[1])


@pytest.mark.parametrize(
    ("value", "than", "wanted"),
    [(1, None, True), (NAN, None, False), (NAN, 1, False), (1, NAN, True), (NAN, NAN, False)],
)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_better_than_nothing(value: float, than: float, wanted: bool, mode: str) -> None:
    assert Checkpoints("runs", best="loss", mode=mode).better(value, than) is wanted


def test_the_best_of_a_run_is_one_of_its_folder_and_measure(tmp_path: Path, monkeypatch) -> None:
    """Another measure or another folder begins anew; the same ones go on, also after resuming."""
    script = Script(monkeypatch, [0.2, 0.1, 0.3, 0.15, 0.05])
    by_loss, by_accuracy = (Checkpoints(tmp_path / n, best=n) for n in ("loss", "accuracy"))
    trainer = make()
    fit(trainer, 2, checkpoints=by_loss)
    fit(trainer, 1, checkpoints=by_accuracy)
    assert_weights(cauce.load(by_accuracy.best_path), script.seen[2])
    fit(trainer, 1, checkpoints=by_loss)
    assert_weights(cauce.load(by_loss.best_path), script.seen[1])
    again = make()
    assert again.resume(by_loss)
    fit(again, 1, checkpoints=by_loss)  # what is left: nothing
    fit(again, 1, checkpoints=by_loss)
    assert_weights(cauce.load(by_loss.best_path), script.seen[4])


def test_the_best_of_another_run_is_replaced(tmp_path: Path, monkeypatch) -> None:
    script, checkpoints = Script(monkeypatch, [0.1, 0.2]), Checkpoints(tmp_path, best="loss")
    fit(make(), 1, checkpoints=checkpoints)
    for path in checkpoints.paths():
        path.unlink()
    fit(make(seed=1), 1, checkpoints=checkpoints)
    assert_weights(cauce.load(checkpoints.best_path), script.seen[1])


def test_a_run_that_dies_at_its_best_epoch_makes_it_again(tmp_path: Path, monkeypatch) -> None:
    """Between the two checkpoints of that epoch: none of them may tell of it without the other."""
    script, checkpoints = Script(monkeypatch, [3, 1]), Checkpoints(tmp_path, best="loss")
    write, written = module.write, []
    with monkeypatch.context() as patch:

        def dies(path: Path, checkpoint: module.Checkpoint) -> None:
            if len(written) == 3:
                raise KeyboardInterrupt
            written.append(path.name)
            write(path, checkpoint)

        patch.setattr(module, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            fit(make(), 3, checkpoints=checkpoints)
    again = make()
    assert again.resume(checkpoints)
    script.values = [1, 2][len(again.history) - 1 :]
    fit(again, 3, checkpoints=checkpoints)
    assert_weights(cauce.load(checkpoints.best_path), script.seen[1])


# ---- early stopping ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([3, 1, 2, 2], 1),  # it stops
        ([3, 2, 1], 2),  # the last is the best
        ([3, 1, 2], 1),  # the epochs are over
        ([NAN, 3, NAN], 1),
        ([NAN, NAN], 1),  # none: those of the last epoch stay
        ([2, 2, 2], 0),
    ],
)
@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_the_weights_of_the_best_epoch_come_back(
    monkeypatch: pytest.MonkeyPatch, values: list[float], place: int, monitor: str
) -> None:
    script, trainer = Script(monkeypatch, values), make()
    predict = cauce.compile(trainer.model, "numpy")
    rule = EarlyStopping(2, monitor, restore_best=True)
    assert len(fit(trainer, len(values), early_stopping=rule)) == len(values)
    assert_weights(trainer.model, script.seen[place])
    again = make()
    again.model.load_state_dict(script.seen[place])
    np.testing.assert_array_equal(
        predict(shapes(6).images), cauce.compile(again.model, "numpy")(shapes(6).images)
    )


def test_without_it_the_last_weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    script, trainer = Script(monkeypatch, [1, 2, 3]), make()
    fit(trainer, 5, early_stopping=EarlyStopping(2))
    assert_weights(trainer.model, script.seen[2])


def test_the_best_is_one_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    script, trainer = Script(monkeypatch, [1, 3, 2, 4]), make()
    rule = EarlyStopping(5, restore_best=True)
    fit(trainer, 1, early_stopping=rule)
    fit(trainer, 3, early_stopping=rule)
    assert_weights(trainer.model, script.seen[2])


@pytest.mark.parametrize("died", [1, 2, 3, 4])
def test_a_resumed_run_restores_the_best_epoch_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died: int
) -> None:
    """Also where it was best before the run died, and where the run had come to its end."""
    values = [3, 1, 2, 2]
    rule, checkpoints = EarlyStopping(2, restore_best=True), Checkpoints(tmp_path)
    script = Script(monkeypatch, values)
    undisturbed = make()
    fit(undisturbed, 9, early_stopping=rule)
    script.values = values[:died]
    with pytest.raises(IndexError) if died < 4 else pytest.MonkeyPatch.context():
        fit(make(), 9, early_stopping=rule, checkpoints=checkpoints)
    again = make()
    assert again.resume(checkpoints)
    script.values = values[died:]
    assert len(fit(again, 9, early_stopping=rule, checkpoints=checkpoints)) == 4
    assert_weights(again.model, undisturbed.model.state_dict())
    assert_weights(again.model, script.seen[1])


def test_the_best_place_is_the_first_of_equals() -> None:
    def best(rule: EarlyStopping, values: Sequence[float]) -> int | None:
        return rule.best([Epoch(i, 1.0, 0.1, {}, {rule.monitor: v}) for i, v in enumerate(values)])

    assert best(EarlyStopping(1), [NAN, 2, 1, 1]) == 2
    assert best(EarlyStopping(1, "accuracy"), [0.5, NAN, 0.9, 0.9]) == 2
    assert best(EarlyStopping(1, min_delta=5), [3, 2]) == 1
    assert best(EarlyStopping(1), [NAN]) is best(EarlyStopping(1), []) is None


# ---- a checkpoint is a model -------------------------------------------------------------------


@cauce.network
def with_a_table(image):
    """A constant large enough to stand beside the graph's text, and a frozen first layer."""
    table = np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6) / 36
    x = nn.relu(nn.batch_norm(nn.conv2d(image * table, 2, 3)))
    return nn.linear(nn.dropout(nn.flatten(x)), 3)


def test_a_checkpoint_loads_as_the_model_of_its_step(tmp_path: Path) -> None:
    """Within an epoch too, with what is frozen; it trains and resumes as the model did."""
    model = with_a_table.init(image=("N", 1, 6, 6), seed=5)
    model.freeze("conv1.*")
    trainer = cauce.Trainer(model, optimizer=cauce.Adam(), backend="numpy")
    checkpoints = Checkpoints(tmp_path, every=1, keep=9)
    trainer.fit(shapes(16), 2, batch_size=8, checkpoints=checkpoints, progress=False)
    assert len(checkpoints.paths()) == 4
    last = cauce.load(checkpoints.paths()[-1])
    assert_weights(last, model.state_dict())
    assert last.frozen == model.frozen == {"conv1.weight", "conv1.bias"}
    assert last.graph.same_as(model.graph) and last.training_graph.same_as(model.training_graph)
    x = shapes(6).images
    np.testing.assert_array_equal(cauce.compile(last, "numpy")(x), cauce.compile(model, "numpy")(x))
    last.save(tmp_path / "model.safetensors")
    assert_weights(cauce.load(tmp_path / "model.safetensors"), model.state_dict())
    # The third is within the second epoch: what was after one step of it.
    within = cauce.load(checkpoints.paths()[2]).state_dict()
    assert not np.array_equal(within["linear1.weight"], model.values["linear1.weight"])
    # A resumed run gets what is frozen too, whatever it was made with.
    other = with_a_table.init(image=("N", 1, 6, 6), seed=6)
    other.freeze("conv1.*")
    again = cauce.Trainer(other, optimizer=cauce.Adam(), backend="numpy")
    assert again.resume(checkpoints.paths()[2])
    assert_weights(other, within)
    again.fit(shapes(16), 2, batch_size=8, progress=False)
    assert_weights(other, model.state_dict())


def test_files_of_earlier_versions_load(tmp_path: Path) -> None:
    """Checkpoints without a model are resumed, and refused as a model; models name no values."""
    checkpoints = Checkpoints(tmp_path)
    trainer = make()
    fit(trainer, 1, checkpoints=checkpoints)
    (path,) = checkpoints.paths()
    arrays, metadata = load_tensors(path)
    metadata["progress"] = metadata["progress"].replace('"updated": [', '"unknown": [')
    held = {name: arrays[name] for name in trainer._state.read()}
    save_tensors(path, held, {name: metadata[name] for name in ("format", "progress")})
    again = make()
    assert again.resume(path)
    assert_weights(again.model, trainer.model.state_dict())
    with pytest.raises(GraphError, match="holds no cauce model"):
        cauce.load(path)
    trainer.model.save(path)
    arrays, metadata = load_tensors(path)
    del metadata["values"], metadata["model"]
    save_tensors(path, arrays, metadata)
    assert_weights(cauce.load(path), trainer.model.state_dict())
