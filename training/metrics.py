"""What a classifier confuses with what, counted from its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ir.errors import DataError
from ..ir.tracebacks import user_facing
from ..ir.types import Array


@user_facing
@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """How many images of each class were taken for which.

    Attributes:
        counts: i64[K, K]; ``counts[i, j]`` images of class i were predicted to be of class j.
        classes: the names of the K classes.

    Examples:
        >>> names = ("cat", "dog")
        >>> found = training.ConfusionMatrix.of([0, 1, 1, 1], [0, 0, 1, 1], names)
        >>> print(found)
        true \\ predicted    cat    dog  recall
        cat                   1      1   0.500
        dog                   0      2   1.000
        precision         1.000  0.667
        accuracy 0.7500 of 4 images
        >>> float(found.accuracy), found.recall, found.precision.round(2), found.f1.round(2)
        (0.75, array([0.5, 1. ]), array([1.  , 0.67]), array([0.67, 0.8 ]))
        >>> found.most_confused()
        [('cat', 'dog', 1)]
    """

    counts: Array
    classes: tuple[str, ...]

    @staticmethod
    def of(predictions: object, labels: object, classes: Sequence[str]) -> ConfusionMatrix:
        """Count predictions against labels.

        Args:
            predictions: classes [N] or [N, 1], bools for two classes; or logits or probabilities
                [N, K], whose greatest counts.
            labels: classes [N] or [N, 1].
            classes: the names of the classes.

        Raises:
            DataError: lengths that differ, a class without a name, or numbers [N, 1], which do not
                say from where on they mean the second class.
        """
        predicted, true = _column(predictions), _column(labels)
        if predicted.dtype.kind == "f" and predicted.shape[1:] in ((), (1,)) and len(classes) > 1:
            raise DataError(
                f"predictions of shape {predicted.shape} are one number for each image, "
                f"not one of {len(classes)} classes",
                fix="give predictions > 0 for logits, predictions > 0.5 for probabilities",
            )
        if predicted.ndim == 2:
            if predicted.shape[1] != len(classes):
                raise DataError(
                    f"there are {predicted.shape[1]} logits for {len(classes)} classes",
                    fix="name every class of the network's output",
                )
            predicted = predicted.argmax(axis=1)
        if predicted.ndim != 1 or predicted.shape != true.shape:
            raise DataError(
                f"predictions of shape {predicted.shape} for labels of shape {true.shape}",
                fix="give one prediction for each label",
            )
        for name, array in (("predictions", predicted), ("labels", true)):
            if array.dtype.kind not in "biu":
                raise DataError(
                    f"{name} are {array.dtype}, not classes",
                    fix="give integers, or logits [N, K] as predictions",
                )
            if array.size and not 0 <= array.min() <= array.max() < len(classes):
                raise DataError(
                    f"{name} run from {array.min()} to {array.max()}, "
                    f"but there are {len(classes)} classes",
                    fix="name every class, and count from 0",
                )
        size = len(classes)
        places = true.astype(np.int64) * size + predicted.astype(np.int64)
        counts = np.bincount(places, minlength=size * size).reshape(size, size)
        return ConfusionMatrix(counts, tuple(classes))

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The counts of two batches together."""
        if other.classes != self.classes:
            raise DataError(
                f"these are counts of other classes: {', '.join(other.classes)} "
                f"are not {', '.join(self.classes)}"
            )
        return ConfusionMatrix(self.counts + other.counts, self.classes)

    @property
    def accuracy(self) -> float:
        """The share of images that were predicted right; NaN without images."""
        return float(_share(np.trace(self.counts), self.counts.sum()))

    @property
    def recall(self) -> Array:
        """For each class the share of its images that were predicted right; NaN without any."""
        return _share(np.diagonal(self.counts), self.counts.sum(axis=1))

    @property
    def precision(self) -> Array:
        """For each class the share of its predictions that were right; NaN without any."""
        return _share(np.diagonal(self.counts), self.counts.sum(axis=0))

    @property
    def f1(self) -> Array:
        """For each class 2 * right/(images + predictions), between recall and precision."""
        both = self.counts.sum(axis=0) + self.counts.sum(axis=1)
        return _share(2 * np.diagonal(self.counts), both)

    def most_confused(self, count: int = 5) -> list[tuple[str, str, int]]:
        """The commonest mistakes, as (true class, predicted class, how many)."""
        wrong = self.counts - np.diag(np.diagonal(self.counts))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [
            (self.classes[i], self.classes[j], int(wrong[i, j]))
            for i, j in zip(rows, columns)
            if wrong[i, j]
        ]

    def __str__(self) -> str:
        """A table: a row for each true class, and precision and recall at its borders."""
        size = len(self.classes)
        rows = [["true \\ predicted", *self.classes, "recall"]]
        for name, counts, recall in zip(self.classes, self.counts, self.recall):
            rows.append([name, *map(str, counts), _shown(recall)])
        rows.append(["precision", *map(_shown, self.precision), ""])
        widths = [max(len(row[i]) for row in rows) for i in range(size + 2)]
        lines = [
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, f"accuracy {self.accuracy:.4f} of {self.counts.sum()} images"])


def _column(given: object) -> Array:
    """An array; classes [N, 1] as [N]."""
    array = np.asarray(given)
    classes = array.dtype.kind in "biu" and array.ndim == 2 and array.shape[1] == 1
    return array[:, 0] if classes else array


def _share(part: Array, whole: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(part, whole)


def _shown(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.3f}"
