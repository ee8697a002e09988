"""What a training run reports: one record for each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        number: from 1.
        seconds: of training and validation together.
        lr: the learning rate of its last step.
        train: loss and metrics, means over the training samples as they were seen.
        validation: loss and metrics on the validation set; empty without one.
    """

    number: int
    seconds: float
    lr: float
    train: dict[str, float]
    validation: dict[str, float]

    def __str__(self) -> str:
        parts = [f"epoch {self.number}"]
        parts += [f"{name} {value:.4f}" for name, value in self.train.items()]
        parts += [f"validation {name} {value:.4f}" for name, value in self.validation.items()]
        return "  ".join([*parts, f"{self.seconds:.1f} s"])


@dataclass
class History:
    """The epochs of a run, in order."""

    epochs: list[Epoch] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self.epochs[index]

    def __str__(self) -> str:
        return "\n".join(map(str, self.epochs))
