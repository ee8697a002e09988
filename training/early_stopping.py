"""Early stopping: when a run is given up because it no longer gets better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.attributes import flag, integer, number, set_canonical
from ..ir.errors import AttributeMistake
from ..ir.tracebacks import user_facing
from .history import Epoch, check_mode


@user_facing
@dataclass(frozen=True)
class EarlyStopping:
    """Stop when ``patience`` epochs in a row bring nothing better than the best before them.

    It keeps no state: the answer follows from the epochs, so a resumed run stops where the first
    one would have. Prechelt 1998, "Early stopping, but when?", section 2.

    Attributes:
        patience: how many epochs without an improvement.
        monitor: the validation value that is watched.
        mode: whether less is better, ``"min"``, or more, ``"max"``. Known for the loss and for
            accuracies, to be given for other values.
        min_delta: an improvement is greater than that; NaN is none.
        restore_best: whether the model gets the weights of the best epoch of this call of ``fit``
            when the call has come to its end, early or not; else it keeps those of the last one.
            Where every value is NaN, there is no best epoch.

    Raises:
        AttributeMistake: an option that cannot be.

    Examples:
        >>> losses = [1.0, 0.8, 0.7, 0.9, 0.75]
        >>> epochs = [training.Epoch(i, 0.0, 0.1, {}, {"loss": x}) for i, x in enumerate(losses)]
        >>> training.EarlyStopping(patience=2).should_stop(epochs)
        True
        >>> training.EarlyStopping(patience=3).should_stop(epochs)
        False
        >>> training.EarlyStopping(patience=3).best(epochs)
        2
    """

    patience: int
    monitor: str = "loss"
    mode: str | None = None
    min_delta: float = 0.0
    restore_best: bool = False

    def __post_init__(self) -> None:
        set_canonical(self, patience=integer, min_delta=number, restore_best=flag)
        if self.patience < 1:
            raise AttributeMistake(
                f"EarlyStopping: patience must be at least 1 epoch, got {self.patience}",
                fix="pass for example patience=5",
            )
        if not self.min_delta >= 0:
            raise AttributeMistake(
                f"EarlyStopping: min_delta must not be negative, got {self.min_delta}",
                fix="choose the direction with mode",
            )
        object.__setattr__(self, "mode", check_mode(self.monitor, self.mode))

    def should_stop(self, epochs: Sequence[Epoch]) -> bool:
        """Whether to stop after these epochs.

        Raises:
            AttributeMistake: an epoch without the value that is watched.
        """
        best, waited = float("inf"), 0
        for value in self._costs(epochs):
            if value < best - self.min_delta:
                best, waited = value, 0
            else:
                waited += 1
        return waited >= self.patience

    def best(self, epochs: Sequence[Epoch]) -> int | None:
        """The place of the best of these epochs, the first of equals; NaN is never best.

        Raises:
            AttributeMistake: an epoch without the value that is watched.
        """
        places = [(cost, place) for place, cost in enumerate(self._costs(epochs)) if cost == cost]
        return min(places)[1] if places else None

    def _costs(self, epochs: Sequence[Epoch]) -> list[float]:
        """The values watched, turned round where more is better."""
        sign = 1 if self.mode == "min" else -1
        costs = []
        for epoch in epochs:
            if self.monitor not in epoch.validation:
                raise AttributeMistake(
                    f"epoch {epoch.number} has no validation value {self.monitor!r}",
                    fix=f"use one of {', '.join(epoch.validation)}"
                    if epoch.validation
                    else "pass a validation set: fit(..., validate=...)",
                )
            costs.append(sign * epoch.validation[self.monitor])
        return costs
