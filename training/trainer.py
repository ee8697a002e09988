"""The fit loop. It knows data sets and epochs; how a step is compiled is handed to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from ..ir.errors import GraphError, MissingExtra
from ..ir.types import Array
from .data import Dataset, batch_count, batches
from .history import Epoch, History


class State(Protocol):
    """What a step carries on: see ``cauce.train_step.TrainState``."""

    loss: float
    metrics: dict[str, float]

    def read(self) -> dict[str, Array]: ...


class Step(Protocol):
    """One step of training: see ``cauce.train_step.TrainStep``."""

    def init(self, seed: int = 0) -> Any: ...

    def __call__(self, state: Any, batch: Any, lr: float | None = None) -> Any: ...


class Evaluation(Protocol):
    """Loss and metrics of a batch under given weights: an executable."""

    def load_state_dict(self, parameters: Mapping[str, Any]) -> None: ...

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]: ...


class Trainable(Protocol):
    """What a trainer needs of a model."""

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> None: ...

    def state_dict(self) -> dict[str, Array]: ...


class FitLoop:
    """Trains a model on a data set, epoch by epoch.

    Args:
        model: gets the trained parameters after every epoch.
        step: the compiled training step.
        evaluation: the compiled loss and metrics in inference form, with inputs ``data_input``
            and ``target``.
        data_input: the name of the network's input.
        lr: the learning rate that is used unless ``fit`` is given another.
        seed: of the order of the batches and of dropout.
    """

    def __init__(
        self,
        model: Trainable,
        step: Step,
        evaluation: Evaluation,
        data_input: str,
        lr: float,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.step = step
        self.history = History()
        self._evaluation = evaluation
        self._data_input = data_input
        self._lr = lr
        self._seed = seed
        self._state: Any = None

    def fit(
        self,
        train: Dataset,
        epochs: int,
        *,
        batch_size: int = 64,
        validate: Dataset | None = None,
        lr: float | Callable[[int], float] | None = None,
        drop_last: bool = False,
        progress: bool = True,
    ) -> History:
        """Train for some epochs more; a second call goes on where the first one ended.

        Args:
            train: images and labels.
            epochs: how many.
            batch_size: images in a step; the last batch of an epoch may be smaller.
            validate: a data set to measure after each epoch.
            lr: the learning rate, or a function from the step (from 0) to it.
            drop_last: leave out a last batch that is smaller.
            progress: whether to show a progress bar (rich) and a line for each epoch.

        Returns:
            The history of all epochs of this trainer.

        Raises:
            GraphError: the loss is no longer finite; the model keeps the last finite epoch.
            MissingExtra: ``progress`` without rich.
        """
        per_epoch = batch_count(train, batch_size, drop_last=drop_last)
        if self._state is None:
            self._state = self.step.init(self._seed)
        first = len(self.history)
        with _progress(progress, epochs * per_epoch) as (advance, say):
            for epoch in range(first, first + epochs):
                start = time.perf_counter()
                means = _Means()
                rate = self._lr
                order = batches(
                    train, batch_size, seed=self._seed, epoch=epoch, drop_last=drop_last
                )
                for i, (images, labels) in enumerate(order):
                    number = epoch * per_epoch + i
                    rate = self._rate(lr, number)
                    self._state = self.step(self._state, (images, labels), lr=rate)
                    self._check_loss(self._state.loss, epoch, i, rate)
                    means.add(len(images), {"loss": self._state.loss, **self._state.metrics})
                    advance(f"epoch {epoch + 1} loss {self._state.loss:.4f}")
                self.model.load_state_dict(self._state.read(), strict=False)
                measured = self.evaluate(validate) if validate is not None else {}
                seconds = time.perf_counter() - start
                record = Epoch(epoch + 1, seconds, rate, means.result(), measured)
                self.history.epochs.append(record)
                say(str(record))
        return self.history

    def evaluate(self, dataset: Dataset, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics of the model on a data set, in inference form."""
        self._evaluation.load_state_dict(self.model.state_dict())
        means = _Means()
        for images, labels in batches(dataset, batch_size, seed=0, epoch=0, shuffle=False):
            results = self._evaluation.run({self._data_input: images, "target": labels})
            means.add(len(images), {name: float(array) for name, array in results.items()})
        return means.result()

    def _rate(self, lr: float | Callable[[int], float] | None, number: int) -> float:
        if lr is None:
            return self._lr
        return float(lr(number)) if callable(lr) else float(lr)

    def _check_loss(self, loss: float, epoch: int, batch: int, rate: float) -> None:
        if not np.isfinite(loss):
            raise GraphError(
                f"the loss is {loss} in epoch {epoch + 1}, batch {batch + 1}, "
                f"at learning rate {rate:g}",
                fix="lower the learning rate, and check that the images are scaled and finite",
            )


class _Means:
    """Means over samples of values that are means over batches."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}

    def add(self, count: int, values: Mapping[str, float]) -> None:
        self.count += count
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + count * value

    def result(self) -> dict[str, float]:
        return {name: total / self.count for name, total in self.sums.items()}


Advance = Callable[[str], None]
Say = Callable[[str], None]


@contextmanager
def _progress(show: bool, total: int) -> Iterator[tuple[Advance, Say]]:
    """A bar of ``total`` steps and a way to print lines above it; both silent without ``show``."""
    if not show:
        yield (lambda text: None, lambda line: None)
        return
    try:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        raise MissingExtra(
            "the progress bar needs rich, which is not installed",
            fix="pip install 'cauce[train]', or pass progress=False",
        ) from None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task("training", total=total)
        yield (
            lambda text: bar.update(task, advance=1, description=text),
            lambda line: bar.console.print(line, highlight=False),
        )
