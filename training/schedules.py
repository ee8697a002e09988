"""Learning rates that change: small functions of the step, counted from 0.

``Trainer.fit(lr=...)`` takes any of them. A schedule keeps no state: the rate follows from the
number of the step alone, so a resumed run goes on with the right one. The argument names are those
of ``torch.optim.lr_scheduler``, but everything is counted in steps: :func:`epochs_to_steps`
converts. After their last step, schedules keep its rate.

>>> schedule = WarmUp(Cosine(0.1, total_steps=1000), steps=100)
>>> [round(schedule(step), 3) for step in (0, 50, 100, 600, 1100)]
[0.001, 0.051, 0.1, 0.05, 0.0]
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

from ..ir.attributes import integer, not_negative, number, sequence, set_canonical
from ..ir.dims import is_int
from ..ir.errors import AttributeMistake, need, shown
from ..ir.tracebacks import user_facing
from .data import Dataset, batch_count

Schedule = Callable[[int], float]


@user_facing
@dataclass(frozen=True)
class Constant:
    """Always ``lr``.

    ``lr`` is a float of at least 0; a call takes a step, an int.

    Raises:
        AttributeMistake: a number that cannot be.

    Examples:
        >>> schedule = training.Constant(0.1)
        >>> [round(schedule(step), 4) for step in range(5)]
        [0.1, 0.1, 0.1, 0.1, 0.1]
    """

    lr: float

    def __post_init__(self) -> None:
        _not_negative(self, "lr")

    def __call__(self, step: int) -> float:
        return self.lr


@user_facing
@dataclass(frozen=True)
class Step:
    """lr * gamma**(step // step_size), as ``StepLR``.

    ``lr`` and ``gamma`` are floats of at least 0, ``step_size`` is an int.

    Raises:
        AttributeMistake: a number that cannot be.

    Examples:
        >>> schedule = training.Step(0.1, step_size=2)
        >>> [round(schedule(step), 4) for step in range(5)]
        [0.1, 0.1, 0.01, 0.01, 0.001]
    """

    lr: float
    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _not_negative(self, "lr", "gamma")
        _at_least_one(self, "step_size")

    def __call__(self, step: int) -> float:
        return self.lr * self.gamma ** (step // self.step_size)


@user_facing
@dataclass(frozen=True)
class MultiStep:
    """lr * gamma**(how many milestones are reached), as ``MultiStepLR``.

    He et al. 2016, section 4.2, divide by 10 at 32,000 and 48,000 of 64,000 steps:
    ``MultiStep(0.1, (32_000, 48_000))``.

    ``lr`` and ``gamma`` are floats of at least 0, ``milestones`` are ints.

    Raises:
        AttributeMistake: a number that cannot be.

    Examples:
        >>> schedule = training.MultiStep(0.1, milestones=(1, 3))
        >>> [round(schedule(step), 4) for step in range(5)]
        [0.1, 0.01, 0.01, 0.001, 0.001]
    """

    lr: float
    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _not_negative(self, "lr", "gamma")
        fix = "write for example milestones=(32_000, 48_000)"
        need(self.milestones, (list, tuple), "MultiStep: milestones are a list of steps", fix)
        set_canonical(self, milestones=sequence(integer))

    def __call__(self, step: int) -> float:
        return self.lr * self.gamma ** sum(step >= milestone for milestone in self.milestones)


@user_facing
@dataclass(frozen=True)
class Cosine:
    """Half a cosine from ``lr`` at step 0 to ``eta_min`` at ``total_steps``.

    eta_min + (lr - eta_min) * (1 + cos(pi * step/total_steps)) / 2, as ``CosineAnnealingLR``,
    which calls ``total_steps`` T_max. Loshchilov and Hutter 2016, "SGDR", eq. 5.

    All are numbers of at least 0.

    Raises:
        AttributeMistake: a number that cannot be.

    Examples:
        >>> schedule = training.Cosine(0.1, total_steps=4)
        >>> [round(schedule(step), 4) for step in range(5)]
        [0.1, 0.0854, 0.05, 0.0146, 0.0]
    """

    lr: float
    total_steps: int
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        _not_negative(self, "lr", "eta_min")
        _at_least_one(self, "total_steps")

    def __call__(self, step: int) -> float:
        return _cosine(self.lr, self.eta_min, step / self.total_steps)


@user_facing
@dataclass(frozen=True)
class OneCycle:
    """Up by half a cosine to ``max_lr`` during the first ``pct_start`` of the steps, then down.

    From max_lr/div_factor to max_lr, and on to max_lr/div_factor/final_div_factor at the last of
    ``total_steps`` steps, as ``OneCycleLR``; the momentum stays as it is. Smith and Topin 2017,
    "Super-convergence".

    All are numbers; ``pct_start`` is from 0 to 1, the factors are positive.

    Raises:
        AttributeMistake: a number that cannot be.

    Examples:
        >>> schedule = training.OneCycle(0.1, total_steps=4)
        >>> [round(schedule(step), 4) for step in range(5)]
        [0.004, 0.0812, 0.0283, 0.0, 0.0]
    """

    max_lr: float
    total_steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        _not_negative(self, "max_lr")
        _at_least_one(self, "total_steps")
        set_canonical(self, pct_start=number, div_factor=number, final_div_factor=number)
        if not 0 <= self.pct_start <= 1:
            raise AttributeMistake(
                f"OneCycle: pct_start is a share of the steps, got {self.pct_start}",
                fix="use 0 <= pct_start <= 1",
            )
        if not min(self.div_factor, self.final_div_factor) > 0:
            raise AttributeMistake(
                f"OneCycle divides by div_factor and final_div_factor, "
                f"got {self.div_factor} and {self.final_div_factor}",
                fix="use factors above 1",
            )

    def __call__(self, step: int) -> float:
        low = self.max_lr / self.div_factor
        peak, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        step = min(step, last)
        if step <= peak:
            return _cosine(low, self.max_lr, step / peak if peak > 0 else 1.0)
        start = max(peak, -1.0)
        return _cosine(self.max_lr, low / self.final_div_factor, (step - start) / (last - start))


@user_facing
@dataclass(frozen=True)
class WarmUp:
    """A straight line from start_factor * lr up to the first rate of ``schedule``, then that.

    The first ``steps`` steps warm up; the schedule begins after them, at its step 0. A number
    stands for a constant rate. ``LinearLR`` followed by another schedule in ``SequentialLR``;
    Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.

    ``start_factor`` is a number of at least 0.

    Raises:
        AttributeMistake: a number that cannot be.

    Examples:
        >>> schedule = training.WarmUp(0.1, steps=3)
        >>> [round(schedule(step), 4) for step in range(5)]
        [0.001, 0.034, 0.067, 0.1, 0.1]
    """

    schedule: Schedule | float
    steps: int
    start_factor: float = 0.01

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            object.__setattr__(self, "schedule", Constant(self.schedule))
        _at_least_one(self, "steps")
        _not_negative(self, "start_factor")

    def __call__(self, step: int) -> float:
        assert callable(self.schedule)
        if step >= self.steps:
            return self.schedule(step - self.steps)
        grown = self.start_factor + (1 - self.start_factor) * step / self.steps
        return self.schedule(0) * grown


@user_facing
def epochs_to_steps(
    epochs: float, train: Dataset, batch_size: int = 64, *, drop_last: bool = False
) -> int:
    """How many steps ``Trainer.fit`` makes in ``epochs`` epochs, with the same arguments.

    ``epochs`` may be a fraction; the result is an int.

    Args:
        epochs: how many.
        train: the data set.
        batch_size: images in a step.
        drop_last: whether a last batch that is smaller is left out.

    Raises:
        AttributeMistake: a batch size below 1, or one that no batch fills with ``drop_last``.

    Examples:
        >>> images = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
        >>> data = cauce.Dataset(images, [0, 1] * 4, ("even", "odd"))
        >>> training.epochs_to_steps(2, data, batch_size=3)
        6
    """
    return round(number(epochs, "epochs") * batch_count(train, batch_size, drop_last=drop_last))


def _cosine(start: float, end: float, part: float) -> float:
    """Half a cosine from ``start`` (part 0) to ``end`` (part 1), where it stays."""
    return end + (start - end) * (1 + math.cos(math.pi * min(part, 1.0))) / 2


def _not_negative(schedule: object, *names: str) -> None:
    for name in names:
        what, fix = f"{type(schedule).__name__}: {name}", "a learning rate is a number like 0.1"
        object.__setattr__(schedule, name, not_negative(getattr(schedule, name), what, fix))


def _at_least_one(schedule: object, *names: str) -> None:
    for name in names:
        value = getattr(schedule, name)
        if not is_int(value) or value < 1:
            raise AttributeMistake(
                f"{type(schedule).__name__}: {name} must be an int of at least 1, "
                f"got {shown(value)}",
                fix="count in steps, not in epochs: epochs_to_steps(epochs, train, batch_size)",
            )
        object.__setattr__(schedule, name, operator.index(value))
