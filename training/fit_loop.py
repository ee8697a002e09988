"""The fit loop. It knows data sets and epochs; how a step is compiled is handed to it."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from ..ir.attributes import flag, integer
from ..ir.communicator import Communicator
from ..ir.errors import GraphError, need
from ..ir.preprocessing import Preprocessing
from ..ir.tracebacks import user_facing
from ..ir.types import Array
from .augment import Transform, fixed
from .checkpoints import Checkpoint, Checkpoints, describe_arrays, describe_mismatch, read, whole
from .checks import check_augment, check_dataset, check_fit, checked_rate
from .data import Dataset, batch_count, batches
from .early_stopping import EarlyStopping
from .history import Epoch, History
from .position import Position
from .prepared import prepared
from .progress import progress_bar
from .shared import Shared, described

Rate = float | Callable[[int], float] | None


class Step(Protocol):
    """One step of training: see ``cauce.train_step.TrainStep``."""

    def init(self, seed: int = 0, after: Any = None) -> Any: ...

    def current(self) -> Step: ...

    def check_batch(self, counts: Sequence[int]) -> None: ...

    def __call__(
        self, state: Any, batch: Any, lr: float | None = None, *, counts: Any = None
    ) -> Any: ...

    @property
    def fingerprint(self) -> dict[str, str]: ...


class Evaluation(Protocol):
    """Loss and metrics of a batch under the weights of the model: an executable."""

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]: ...


class Trainable(Protocol):
    """What a trainer needs of a model."""

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> None: ...

    def snapshot(self) -> tuple[int, Mapping[str, Array]]: ...

    def contents(self) -> tuple[dict[str, Array], dict[str, str]]: ...

    def learn_preprocessing(self, found: Preprocessing) -> None: ...


@user_facing
class FitLoop:
    """Trains a model on a data set, epoch by epoch.

    Args:
        model: gets the trained parameters after every epoch.
        step: the compiled training step.
        evaluation: the compiled loss and metrics in inference form, with inputs ``data_input``
            and ``target``; it follows the model.
        data_input: the name of the network's input.
        lr: the learning rate that is used unless ``fit`` is given another.
        seed: of the order of the batches and of dropout.
        ranks: that train together, all of which make the same calls; None where there is one.
    """

    def __init__(
        self,
        model: Trainable,
        step: Step,
        evaluation: Evaluation,
        data_input: str,
        lr: float,
        seed: int = 0,
        ranks: Communicator | None = None,
    ) -> None:
        self.model = model
        self.step = step
        self.history = History()
        self._evaluation = evaluation
        self._data_input = data_input
        self._lr = lr
        self._seed = integer(seed, "seed")
        self._state: Any = None
        self._at = Position()
        self._call: dict[str, Any] = {}
        self._resumed: dict[str, Any] | None = None
        self._best: Mapping[str, Array] = {}
        self._shared = Shared(ranks)

    # ---- training ------------------------------------------------------------------------------

    def fit(
        self,
        train: Dataset,
        epochs: int,
        *,
        batch_size: int = 64,
        validate: Dataset | None = None,
        lr: Rate = None,
        drop_last: bool = False,
        augment: Sequence[Transform] = (),
        early_stopping: EarlyStopping | None = None,
        checkpoints: Checkpoints | None = None,
        progress: bool = True,
    ) -> History:
        """Train for some epochs more, from what the model holds now.

        Its weights are taken when the call begins, and which of them are frozen. The model gets the
        new ones, all at once, at the end of each epoch, and where the call ends otherwise: by
        Ctrl-C, say, those of the last step. The next call then begins an epoch. The optimizer's
        slots and the random draws go on from call to call, and steps are counted over all calls.

        After :meth:`resume`, the call that was under way is made again with the same arguments, and
        does what is left of it: nothing, where it had come to its end.

        Args:
            train: images and labels.
            epochs: how many.
            batch_size: images in a step; the last batch of an epoch may be smaller.
            validate: a data set to measure after each epoch.
            lr: the learning rate, or a function from the step (from 0) to it.
            drop_last: leave out a last batch that is smaller.
            augment: what is done to each batch, in order; in validation those that do not draw.
            early_stopping: when to end before the last epoch.
            checkpoints: where and how often the run is saved.
            progress: whether to show a line for each epoch, and in a terminal a bar (with rich).

        Returns:
            The history of all epochs of this trainer.

        Raises:
            ShapeError: a batch that would give a batch norm one value for each channel.
            GraphError: the loss or the weights are no longer finite; the model keeps those of the
                last finite epoch, and the next call begins with them and with a fresh optimizer.
                Or a resumed run is fitted with other data, batch size or augmentation. Or
                ``checkpoints`` holds later ones, of another run.
            MissingExtra: ``checkpoints`` without safetensors.
        """
        at = self._at
        check_dataset("fit", train)
        check_fit(epochs, validate, early_stopping, checkpoints)
        check_augment(augment)
        # Python's numbers: they go into checkpoints.
        epochs, batch_size = integer(epochs, "epochs"), integer(batch_size, "batch_size")
        drop_last = flag(drop_last, "drop_last")
        call = {
            "images": len(train),
            "batch_size": batch_size,
            "drop_last": drop_last,
            "augment": [repr(transform) for transform in augment],
        }
        per_epoch = batch_count(train, batch_size, drop_last=drop_last)
        self.step = self.step.current()
        self._shared.check_alike(
            "train",
            lambda: {
                **call,
                "train": described(train),
                "validate": described(validate),
                "epochs": epochs,
                "lr": self._rate(lr, at.step),
                "early_stopping": repr(early_stopping),
                "checkpoints": checkpoints and replace(checkpoints, folder=""),
                **self._made_with(),
            },
        )
        self._check_call(call, checkpoints)
        self._check_batches(len(train), batch_size, drop_last)
        self.model.learn_preprocessing(prepared(train, augment))
        left = epochs * per_epoch
        if self._resumed is not None:
            left -= (at.epoch - at.fit_from) * per_epoch + at.batch
        with (
            progress_bar(progress and self._shared.is_first, left) as (advance, say),
            self._under_way(call, checkpoints),
        ):
            while at.epoch < at.fit_from + epochs and not self._stops(early_stopping):
                order = batches(
                    train,
                    batch_size,
                    seed=self._seed,
                    epoch=at.epoch,
                    drop_last=drop_last,
                    start=at.batch,
                    augment=augment,
                    part=self._shared.part,
                )
                before = time.perf_counter() - at.seconds
                for images, labels in order:
                    size = min(batch_size, len(train) - at.batch * batch_size)
                    self._train_on(images, labels, size, lr)
                    advance(f"epoch {at.epoch + 1} loss {self._state.loss:.4f}")
                    at.seconds = time.perf_counter() - before
                    if checkpoints is not None and checkpoints.due(at.step, at.batch == per_epoch):
                        self._save(checkpoints)
                self._hand_over()
                self._shared.check_weights(self.model)
                measured = {} if validate is None else self.evaluate(validate, augment=augment)
                self._end_epoch(measured, self._rate(lr, at.step - 1), before, early_stopping)
                if checkpoints is not None:
                    # In this order: who is killed in between makes this epoch again.
                    self._save_best(checkpoints)
                    self._save(checkpoints)
                say(str(self.history[-1]))
        if early_stopping is not None and early_stopping.restore_best:
            self.model.load_state_dict(self._best, strict=False)
        return self.history

    def _check_call(self, call: Mapping[str, Any], checkpoints: Checkpoints | None) -> None:
        """Whether ``fit`` is called as the run was that is resumed, in what decides its batches."""
        mismatch = describe_mismatch(self._resumed, call) if self._resumed else None
        if mismatch is not None:
            raise GraphError(
                f"the run that is resumed was fitted otherwise: {mismatch}",
                fix="call fit with the same data, batch size and augmentation as then",
            )
        if checkpoints is not None:
            earlier = partial(checkpoints.check_earlier, self._at.step)
            self._shared.on_first(earlier, "look for checkpoints")

    def _check_batches(self, images: int, batch_size: int, drop_last: bool) -> None:
        """Whether all batches of an epoch can be steps: the last one would be met late."""
        batch_size = min(batch_size, images)
        for size in (batch_size, 0 if drop_last else images % batch_size):
            if size:
                self.step.check_batch(self._shared.counts(size) or (size,))

    @contextmanager
    def _under_way(self, call: dict[str, Any], checkpoints: Checkpoints | None) -> Iterator[None]:
        """A call of ``fit``: begins with what the model holds, and leaves it what was trained."""
        at = self._at
        self._shared.begin(self.model)
        self._state = self.step.init(self._seed, after=self._state)
        if self._resumed is None:
            at.begin_epoch(at.epoch)
            at.fit_from = at.epoch
            self._best = {}
        self._resumed = None
        self._call = call
        if checkpoints is not None:
            best = partial(checkpoints.best_value, self.history)
            at.best = self._shared.on_first(best, "read the best checkpoint")
        try:
            yield
        except BaseException:
            if self._state is not None:
                with suppress(GraphError):  # what is not finite the model does not get
                    self._hand_over()
            raise

    def _train_on(self, images: Array, labels: Array, size: int, lr: Rate) -> None:
        at, counts = self._at, self._shared.counts(size)
        rate = self._rate(lr, at.step)
        told = {} if counts is None else {"counts": counts}
        self._state = self.step(self._state, (images, labels), lr=rate, **told)
        loss = self._state.loss
        if not np.isfinite(loss):
            raise self._diverged(
                f"the loss is {loss} in epoch {at.epoch + 1}, batch {at.batch + 1}, "
                f"at learning rate {rate:g}"
            )
        at.add(size, {"loss": loss, **self._state.metrics})

    def _diverged(self, what: str) -> GraphError:
        """The error of a run that cannot go on; its state, with the optimizer's, is given up."""
        self._state = None
        return GraphError(
            what,
            fix="check that images and labels are finite and scaled"
            if self._at.step == 0  # the parameters are as they were
            else "lower the learning rate, clip the gradients (clip=ClipNorm(1.0)), and check "
            "that images and labels are finite and scaled; fit goes on from the last finite epoch",
        )

    def _read(self) -> dict[str, Array]:
        """The arrays of the state.

        Raises:
            GraphError: a weight that is no longer finite, after a loss that still was.
        """
        at, arrays, before = self._at, self._state.read(), self.model.snapshot()[1]
        for name in arrays.keys() & before.keys():
            lost = ~np.isfinite(arrays[name])
            if lost.any() and (lost := lost & np.isfinite(before[name])).any():
                raise self._diverged(
                    f"{lost.sum()} of {lost.size} values of {name} are no longer finite after "
                    f"epoch {at.epoch + 1}, batch {at.batch}"
                )
        return arrays

    def _hand_over(self) -> None:
        """Give the model the weights and statistics of the state."""
        self.model.load_state_dict(self._read(), strict=False)

    def _stops(self, early_stopping: EarlyStopping | None) -> bool:
        """Whether the epochs of this call of ``fit`` have brought nothing better for too long."""
        epochs = self.history.epochs[self._at.fit_from :]
        return early_stopping is not None and bool(epochs) and early_stopping.should_stop(epochs)

    def _end_epoch(
        self,
        measured: dict[str, float],
        rate: float,
        before: float,
        early_stopping: EarlyStopping | None,
    ) -> None:
        at = self._at
        seconds = time.perf_counter() - before
        self.history.epochs.append(Epoch(at.epoch + 1, seconds, rate, at.means(), measured))
        at.begin_epoch(at.epoch + 1)
        if early_stopping is not None and early_stopping.restore_best:
            epochs = self.history.epochs[at.fit_from :]
            if early_stopping.best(epochs) == len(epochs) - 1:
                self._best = self.model.snapshot()[1]

    def _rate(self, lr: Rate, number: int) -> float:
        if lr is None:
            return self._lr
        return checked_rate(lr(number) if callable(lr) else lr, number)

    def evaluate(
        self, dataset: Dataset, batch_size: int = 256, augment: Sequence[Transform] = ()
    ) -> dict[str, float]:
        """Loss and metrics of the model on a data set, in inference form.

        Of ``augment``, only the transforms that do not draw are applied (``Normalize``, say).
        """
        check_dataset("evaluate", dataset)
        check_augment(augment)
        self._shared.check_alike(
            "evaluate",
            lambda: {
                "dataset": described(dataset),
                "batch_size": batch_size,
                "augment": [repr(transform) for transform in augment],
            },
        )
        sums = Position()
        part, augment = self._shared.part, fixed(augment)
        order = batches(
            dataset, batch_size, seed=0, epoch=0, shuffle=False, augment=augment, part=part
        )
        for images, labels in order:
            results = self._evaluation.run({self._data_input: images, "target": labels})
            size = min(batch_size, len(dataset) - sums.batch * batch_size)
            counts = self._shared.counts(size)
            own = size if counts is None else counts[part[0]]
            sums.add(own, {name: float(array) for name, array in results.items()})
        self._shared.add_up(sums)
        return sums.means()

    # ---- checkpoints ---------------------------------------------------------------------------

    def _made_with(self) -> dict[str, Any]:
        return {"seed": self._seed, **self.step.fingerprint}

    def _checkpoint(self) -> Checkpoint:
        progress = {
            "position": asdict(self._at),
            "history": [asdict(epoch) for epoch in self.history],
            "made_with": self._made_with(),
            "call": self._call,
        }
        return Checkpoint(self._read(), progress, self._best, *self.model.contents())

    def _save(self, checkpoints: Checkpoints) -> None:
        checkpoint = self._checkpoint()
        save = partial(checkpoints.save, self._at.step, checkpoint)
        self._shared.on_first(save, "write a checkpoint")

    def _save_best(self, checkpoints: Checkpoints) -> None:
        if checkpoints.best is None:
            return
        measured = self.history[-1].validation
        if checkpoints.best not in measured:
            raise GraphError(
                f"there is no validation value {checkpoints.best!r} to choose the best by",
                fix=f"pass validate=, and one of {', '.join(measured) or 'its values'}",
            )
        value = measured[checkpoints.best]
        if checkpoints.better(value, self._at.best):
            self._at.best = value
            checkpoint = self._checkpoint()
            save = partial(checkpoints.save_best, checkpoint)
            self._shared.on_first(save, "write the best checkpoint")

    def resume(self, source: Checkpoints | str | os.PathLike[str]) -> bool:
        """Take up a run from its newest checkpoint, or from one file.

        Args:
            source: the checkpoints that ``fit`` was given, their folder, or a file of theirs.

        Returns:
            Whether there was a checkpoint; without one, nothing has changed.

        Raises:
            GraphError: a checkpoint of another network, optimiser or seed.
            DataError: the file is damaged.
        """
        fix = "give the Checkpoints that fit was given, their folder or one of their files"
        need(source, (Checkpoints, str, os.PathLike), "resume takes checkpoints", fix)
        found = self._shared.on_first(partial(_newest, source), "resume")
        if found is None:
            return False
        with whole():
            at = Position(**found.progress["position"])
            epochs = [Epoch(**epoch) for epoch in found.progress["history"]]
            made_with, call = dict(found.progress["made_with"]), dict(found.progress["call"])
        self.step = self.step.current()
        now = self._made_with()
        plan, made_plan = now.pop("plan", None), made_with.get("plan")
        fresh = self.step.init(self._seed)
        mismatch = describe_mismatch(made_with, now)
        if made_with.get("network") != now["network"]:  # more of it than two hashes
            mismatch = describe_arrays(found.arrays, fresh.read())
        if mismatch is not None:
            raise GraphError(
                f"this checkpoint is of another run: {mismatch}",
                fix="make the Trainer with the same network, optimizer and seed as then",
            )
        if plan != made_plan and self._shared.is_first:
            warnings.warn(
                f"the checkpoint was computed by {made_plan}, this run by {plan}: "
                "the run goes on, but not bit for bit as the first would have",
                stacklevel=3,  # the caller of the guarded method
            )
        fresh.write(found.arrays)
        self._state = fresh
        self._at, self._resumed = at, call
        self.history.epochs[:] = epochs
        self._best = found.best
        self.model.load_state_dict({**found.weights, **found.arrays}, strict=False)
        return True


def _newest(source: Checkpoints | str | os.PathLike[str]) -> Checkpoint | None:
    """The newest of several checkpoints, or that of a file."""
    if isinstance(source, Checkpoints):
        return source.latest()
    return read(source) if os.path.isfile(source) else Checkpoints(source).latest()
