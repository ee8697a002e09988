"""Calls of fit one after the other: each begins an epoch, with what the model holds then.

The weights that are wanted come from steps by hand, or from a run that was not disturbed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Array
from cauce.ir.errors import GraphError
from cauce.training import Checkpoints, Dataset, batches
from cauce.training.fit_loop import FitLoop

from .nets import shapes, small

OPTIMIZER = cauce.SGD(0.1, momentum=0.9)


def make(seed: int = 0, optimizer: cauce.passes.optimizers.Optimizer = OPTIMIZER) -> cauce.Trainer:
    model = small.init(image=("N", 1, 6, 6))
    return cauce.Trainer(model, optimizer=optimizer, seed=seed, backend="numpy")


def fit(trainer: cauce.Trainer, epochs: int = 1, size: int = 16, count: int = 48, **options) -> int:
    """Train; returns how many steps that took."""
    first = trainer._at.step
    trainer.fit(shapes(count), epochs, batch_size=size, progress=False, **options)
    return trainer._at.step - first


def interrupt(trainer: cauce.Trainer, step: int, **options) -> None:
    """Press Ctrl-C before a step, counted from 0."""

    def rate(number: int) -> float:
        if number == step:
            raise KeyboardInterrupt
        return 0.1

    with pytest.raises(KeyboardInterrupt):
        fit(trainer, 3, lr=rate, **options)


def by_hand(parts: list[Iterator[tuple[Array, Array]]]) -> dict[str, Array]:
    """The state after these batches, at a rate of 0.1."""
    step = make().step
    state = step.init(0)
    for part in parts:
        for images, labels in part:
            state = step(state, (images, labels), lr=0.1)
    return state.read()


def part(epoch: int, first: int, last: int, size: int = 16, count: int = 48) -> Iterator:
    """The batches from ``first`` to ``last`` of an epoch, as fit draws them."""
    for number, drawn in enumerate(batches(shapes(count), size, seed=0, epoch=epoch)):
        if first <= number < last:
            yield drawn


def assert_same(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    assert len(found.keys() & wanted.keys()) > 4
    for name in found.keys() & wanted.keys():
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


# ---- after an interrupt ------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 2, 3, 4])
def test_fit_after_an_interrupt_trains_all_its_epochs(step: int) -> None:
    trainer = make()
    interrupt(trainer, step)
    done = step // 3
    assert len(trainer.history) == done
    assert_same(trainer.model.values, by_hand([part(0, 0, step), part(1, 0, step - 3)]))
    assert fit(trainer, 2) == 6
    assert [epoch.number for epoch in trainer.history] == list(range(1, done + 3))
    wanted = [part(0, 0, step), part(1, 0, step - 3), part(done, 0, 3), part(done + 1, 0, 3)]
    assert_same(trainer.model.values, by_hand(wanted))


@pytest.mark.parametrize(("size", "count"), [(8, 48), (24, 48), (48, 48), (16, 96), (16, 7)])
def test_fit_after_an_interrupt_takes_other_batches_and_data(size: int, count: int) -> None:
    trainer = make()
    interrupt(trainer, 2)
    assert fit(trainer, 2, size, count) == 2 * -(-count // size)
    epochs = [part(0, 0, 2), *(part(epoch, 0, 99, size, count) for epoch in (0, 1))]
    assert_same(trainer.model.values, by_hand(epochs))


def test_the_means_of_an_epoch_are_of_its_own_samples() -> None:
    """Those of the epoch that was given up do not count."""
    trainer = make()
    interrupt(trainer, 2)
    step = make().step
    state, losses = step.init(0), []
    for drawn in [*part(0, 0, 2), *part(0, 0, 3)]:
        state = step(state, drawn, lr=0.1)
        losses.append(state.loss)
    fit(trainer)
    np.testing.assert_allclose(trainer.history[0].train["loss"], np.mean(losses[2:]), rtol=1e-12)


def test_an_interrupt_in_validation_gives_the_epoch_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make()
    with monkeypatch.context() as patch:

        def evaluate(self: FitLoop, *args: object, **options: object) -> dict[str, float]:
            raise KeyboardInterrupt

        patch.setattr(FitLoop, "evaluate", evaluate)
        with pytest.raises(KeyboardInterrupt):
            fit(trainer, validate=shapes(9))
    assert fit(trainer, 2, validate=shapes(9)) == 6
    assert len(trainer.history) == 2


def test_only_resume_continues_a_call(tmp_path) -> None:
    undisturbed = make()
    fit(undisturbed, 3, lr=0.1)
    checkpoints = Checkpoints(tmp_path, every=1)
    interrupt(make(), 4, checkpoints=checkpoints)
    again = make()
    assert again.resume(checkpoints)
    with pytest.raises(GraphError, match="batch_size was 16, is 8"):
        fit(again, 3, 8, lr=0.1)
    assert fit(again, 3, lr=0.1, checkpoints=checkpoints) == 5  # after the mistake, as before it
    assert_same(again.model.values, undisturbed.model.values)
    assert fit(again, 1, 8, checkpoints=checkpoints) == 6
    interrupt(again, again._at.step + 2)
    assert fit(again, 1, 8) == 6


def test_a_folder_with_later_checkpoints_of_another_run_is_refused(tmp_path) -> None:
    """Beside them its own would be the oldest, and be removed as soon as they are written."""
    checkpoints = Checkpoints(tmp_path)
    fit(make(), 2, checkpoints=checkpoints)
    before = checkpoints.paths()
    trainer = make()
    with pytest.raises(GraphError, match=r"up to step-00000006.safetensors, this run is at step 0"):
        fit(trainer, 1, checkpoints=checkpoints)
    assert checkpoints.paths() == before and not trainer.history
    assert trainer.resume(checkpoints)
    assert fit(trainer, 3, checkpoints=checkpoints) == 3


# ---- after numbers that are not finite ---------------------------------------------------------


def test_fit_goes_on_at_a_lower_rate_after_a_loss_that_is_not_finite() -> None:
    """The weights, the statistics and the optimizer are as if the failed call had not been."""
    trainer = make()
    with pytest.raises(GraphError, match=r"the loss is .* in epoch 1, batch \d.*\n(.*\n)*.*lower"):
        fit(trainer, 5, lr=1e30)
    assert_same(trainer.model.values, make().model.values)
    assert fit(trainer, 2, lr=0.1) == 6
    fresh = make()
    fit(fresh, 2, lr=0.1)
    assert_same(trainer.model.values, fresh.model.values)
    assert [epoch.train for epoch in trainer.history] == [epoch.train for epoch in fresh.history]


def test_the_last_finite_epoch_is_kept() -> None:
    trainer = make()
    fit(trainer)
    before = trainer.model.state_dict()
    with pytest.raises(GraphError, match=r"the loss is .* in epoch 2"):
        fit(trainer, 5, lr=1e30)
    assert_same(trainer.model.values, before)
    fit(trainer)
    assert [epoch.number for epoch in trainer.history] == [1, 2]
    assert all(np.isfinite(array).all() for array in trainer.model.values.values())


@cauce.network
def line(image):
    return nn.linear(nn.flatten(image), 1)


def test_weights_that_are_not_finite_after_a_finite_loss_are_not_taken(tmp_path) -> None:
    """The last step of an epoch of mse: the loss is finite, the rate makes the weights infinite.

    The loss is (w x)**2 with w = x = 1, its gradient 2, and 2 * 3e38 is beyond float32.
    """
    model = line.init(image=("N", 1, 1, 1))
    model.load_state_dict({"linear1.weight": np.ones((1, 1)), "linear1.bias": np.zeros(1)})
    data = Dataset(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, int), ("zero",))

    def square(output, target):
        return (output**2).mean()

    trainer = cauce.Trainer(model, square, cauce.SGD(3e38), backend="numpy")
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(GraphError, match=r"1 of 1 values of linear1\.\w+ are no longer finite"):
        trainer.fit(data, 1, checkpoints=checkpoints, progress=False)
    assert model.values["linear1.weight"] == 1
    assert not checkpoints.paths() and not trainer.history
    trainer.fit(data, 1, lr=0.125, checkpoints=checkpoints, progress=False)
    assert model.values["linear1.weight"] == 0.75 and trainer.history[0].train["loss"] == 1


def test_a_parameter_that_holds_an_infinity_trains() -> None:
    """A mask of -inf, say: only what training makes infinite is refused."""

    @cauce.network
    def masked(image):
        mask = nn.parameter((3,), name="mask")
        return nn.linear(nn.global_avg_pool(image), 3) + mask

    model = masked.init(image=("N", 1, 6, 6))
    model.load_state_dict({"mask": np.array([0, 0, -np.inf])}, strict=False)
    data = Dataset(shapes(8).images, np.arange(8) % 2, ("a", "b", "c"))
    cauce.Trainer(model, backend="numpy").fit(data, 1, progress=False)
    assert model.values["mask"][2] == -np.inf and np.isfinite(model.values["mask"][:2]).all()


# ---- what the model holds ----------------------------------------------------------------------


def test_fit_begins_with_the_weights_that_the_model_holds() -> None:
    trainer = make(optimizer=cauce.SGD(0.1))  # without a momentum from before
    first = trainer.model.state_dict()
    fit(trainer)
    trainer.model.load_state_dict(first)
    trainer._at.epoch = 0  # for the same order of batches
    fit(trainer)
    wanted = trainer.model.state_dict()
    other = make(optimizer=cauce.SGD(0.1))
    fit(other)
    key = trainer.step.init(0).read()["random.key"]
    assert not np.array_equal(key, wanted["random.key"])  # the draws of dropout go on
    step, values = make(optimizer=cauce.SGD(0.1)).step, other.step.init(0).read()
    state = step.init(0)
    state.write({**values, **first, "random.key": other.model.values["random.key"]})
    for drawn in part(0, 0, 3):
        state = step(state, drawn, lr=0.1)
    assert_same(wanted, state.read())


def test_fit_after_another_trainer_begins_where_that_one_ended() -> None:
    first = make()
    fit(first)
    second = cauce.Trainer(first.model, optimizer=cauce.SGD(0.0), backend="numpy")
    fit(first)
    before = first.model.state_dict()
    fit(second)  # at a rate of 0: parameters stay
    for name in first.step.init().read().keys() & before.keys():
        if name.endswith((".weight", ".bias")):
            np.testing.assert_array_equal(second.model.values[name], before[name], err_msg=name)


@pytest.mark.parametrize("fits", [0, 1])
def test_freeze_after_the_trainer_was_made(fits: int) -> None:
    trainer = make()
    for _ in range(fits):
        fit(trainer)
    model = trainer.model
    model.freeze("conv*")
    before = model.state_dict()
    fit(trainer)
    moved = {
        name for name, array in model.values.items() if not np.array_equal(array, before[name])
    }
    assert not {name for name in moved if name.startswith("conv")}
    assert {"linear1.weight", "bn1.weight", "bn1.running_mean"} <= moved
    model.unfreeze("conv1.*")
    fit(trainer)
    assert not np.array_equal(model.values["conv1.weight"], before["conv1.weight"])
    np.testing.assert_array_equal(model.values["conv2.weight"], before["conv2.weight"])
    model.freeze("*")
    now = model.state_dict()
    with pytest.raises(GraphError, match="none of the 8 parameters"):
        fit(trainer)
    assert_same(model.values, now)


def test_a_step_begins_afresh_where_others_are_trained() -> None:
    trainer = make()
    fit(trainer)
    state = trainer._state
    again = trainer.step.init(0, after=state).read()
    assert any(again[name].any() for name in again if name.endswith(".velocity"))
    assert again["random.key"].tolist() == state.read()["random.key"].tolist() == [0, 3]
    assert trainer.step.current() is trainer.step
    trainer.model.freeze("conv1.*")
    other = trainer.step.current()
    assert other is not trainer.step
    again = other.init(0, after=state).read()
    assert again["random.key"].tolist() == [0, 3] and "conv1.weight" not in again
    assert not any(again[name].any() for name in again if name.endswith(".velocity"))
