"""Where a training run is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Position:
    """Where a run is: the next step is batch ``batch`` of epoch ``epoch``, both from 0.

    ``step`` counts all steps, those of epochs that were given up too; ``fit_from`` is the epoch in
    which the last call of ``fit`` began; the sums are of the samples of this epoch so far; ``best``
    is the value of the best checkpoint so far.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    fit_from: int = 0
    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    best: float | None = None

    def add(self, count: int, values: Mapping[str, float]) -> None:
        """Take in one batch of ``count`` samples."""
        self.count += count
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + count * value
        self.batch += 1
        self.step += 1

    def means(self) -> dict[str, float]:
        """The means over the samples of this epoch so far."""
        return {name: total / self.count for name, total in self.sums.items()}

    def begin_epoch(self, epoch: int) -> None:
        """Go to the first batch of an epoch."""
        self.epoch, self.batch, self.count, self.sums, self.seconds = epoch, 0, 0, {}, 0.0
