"""The weights of an executable: its own, or those of the model that it follows."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..ir import Array


class Holder(Protocol):
    """What holds weights: a model."""

    def snapshot(self) -> tuple[int, Mapping[str, Array]]:
        """The number of the weights, which no other weights have, and the weights by name."""


class PackedWeights:
    """Weights of an executable's own."""

    def __init__(self, weights: Any) -> None:
        self._held = weights

    def packed(self) -> Any:
        """What each call computes with."""
        return self._held


class Following:
    """The weights of a model as the backend packs them; others are packed when they are met.

    There is no lock (see :class:`Recent`): where two threads meet new weights both pack them, and
    what a thread puts down too late is put right by the next call, which compares the numbers.
    """

    def __init__(self, model: Holder, prepare: Callable[[Mapping[str, object]], Any]) -> None:
        self.model = weakref.ref(model)
        self._prepare = prepare
        number, values = model.snapshot()
        self._held = (number, prepare(values))

    def packed(self) -> Any:
        """What a call that begins now computes with."""
        held, model = self._held, self.model()
        if model is not None:
            number, values = model.snapshot()
            if held[0] != number:
                held = self._held = (number, self._prepare(values))
        return held[1]
