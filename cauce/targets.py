"""Targets as data sets and users have them, in the form that a training step takes."""

from __future__ import annotations

import numpy as np

from .frontends.losses import BINARY_LOSSES
from .ir import Array, TensorType
from .ir.errors import DataError
from .ir.record import Record


class TargetForm(Record):
    """What the targets of a loss are brought to.

    Attributes:
        type: of the target in the graph.
        binary: whether its integers are labels, 0 and 1.
    """

    type: TensorType
    binary: bool

    @staticmethod
    def of(type_: TensorType, loss: object) -> TargetForm:
        """The form that a loss, a name or a function, takes."""
        return TargetForm(type_, isinstance(loss, str) and loss in BINARY_LOSSES)

    def __call__(self, target: object) -> object:
        """The target in this form; what cannot be meant is left for the checks of all feeds.

        Labels [N] and [N, 1] stand for each other, numbers [N] for [N, 1]. Integers and bools
        become the dtype of the graph where it holds them all, or is floating-point.

        Raises:
            DataError: an integer other than 0 and 1 where labels are these.
        """
        if not isinstance(target, (np.ndarray, np.generic)):
            return target
        array = np.asarray(target)
        counts = array.dtype.kind in "biu"
        array = self._shaped(array, counts)
        if not counts or array.ndim != len(self.type.shape):
            return array
        wanted = self.type.dtype
        labels = self.binary and wanted.is_float and array.size
        if labels and not 0 <= array.min() <= array.max() <= 1:
            raise DataError(
                f"labels run from {array.min()} to {array.max()}, "
                "but an output of a binary loss says 0 or 1",
                fix="count labels from 0; for more than two classes give the network an output for "
                "each, and train it by loss='cross_entropy'",
            )
        fits = wanted.is_float or np.can_cast(array.dtype, wanted.numpy)
        return array.astype(wanted.numpy, copy=False) if fits else array

    def _shaped(self, array: Array, counts: bool) -> Array:
        """The array with dimension 1, of size 1, added or left out as the graph has it."""
        shape, labels = self.type.shape, counts or self.type.dtype.is_float
        if array.ndim == len(shape) + 1 and array.ndim > 1 and array.shape[1] == 1 and labels:
            return array[:, 0]
        if array.ndim == len(shape) - 1 and array.ndim and shape[1] == 1:
            return array[:, None]
        return array
